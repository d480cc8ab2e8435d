"""The two builds of Open WebUI that can be installed, and their facts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ansambl.companions.open_webui.records import NAME, TITLE
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.text import Text, text
from ansambl.domain.units import MIB, Bytes
from ansambl.engines.install.data import LOCKS as ENGINE_LOCKS
from ansambl.engines.install.data import known_builds
from ansambl.engines.install.records import Build, Lock, Way

VERSION = "0.12.4"
FULL, SLIM = "full", "slim"
BUILDS = (FULL, SLIM)
LOCKS = Path(__file__).parent / "data" / "locks"
LICENCE = "Open WebUI License"
PYTHONS = ("3.12", "3.11")
"""What open-webui 0.12.4 asks for in its ``Requires-Python``: at least 3.11, below 3.13."""

_TORCH = "torch-cpu"
_PROGRAM = "env/bin/python"
_LINUX = ("linux-x86_64", "linux-aarch64")
_MAC = ("macos-aarch64", "macos-x86_64")
_SOURCES = ("open-webui 0.12.4 on the package index: its metadata and its LICENSE file, read 2026-11-22",)
_CHECK = (
    "import importlib.metadata as m, fastapi, sqlalchemy, uvicorn, open_webui; "
    "print('open-webui', m.version('open-webui'))"
)

LICENCE_WORDS: tuple[Text, ...] = (
    text("Open WebUI is a program of its own, by Open WebUI Inc.; Ansambl fetches it unchanged and only sets it up."),
    text("Its licence, the Open WebUI License, has the three conditions of the BSD licence and one more: its name and "
         "logo must stay as they are wherever it is used by more than 50 people within any 30 days, unless its makers "
         "have agreed in writing or sold a licence for it."),
    text("Ansambl changes nothing of its name and logo. The licence's own text lies with the program: {file}",
         file="open_webui-0.12.4.dist-info/licenses/LICENSE"),
)  # fmt: skip
"""What is shown before it is installed: facts in our own words, no advice of a lawyer."""

BUILD_WORDS: dict[str, Text] = {
    FULL: text("with all its own parts, as its makers install it; 2 to 10 minutes, by the network and the disk"),
    SLIM: text("without torch, chromadb, speech and office readers, as in its makers' slim container; installed so, it "
               "is not supported by its makers; 1 to 5 minutes"),
}  # fmt: skip


def build_of(name: str) -> Build:
    """The facts of a build.

    Raises:
        NotSupportedError: there is none of this name.
    """
    if name not in BUILDS:
        raise NotSupportedError(
            text("there is no build '{name}' of Open WebUI; choose one of: {builds}", name=name[:60],
                 builds=", ".join(BUILDS))
        )  # fmt: skip
    full = name == FULL
    locks = (Lock(f"{NAME}-{name}"), *((_torch(),) if full else ()))
    return Build(
        engine=NAME, title=TITLE, version=VERSION, build=name, way=Way.WHEELS,
        systems=_LINUX if full else _LINUX + _MAC,
        licence=LICENCE, sources=_SOURCES, program=_PROGRAM, pythons=PYTHONS,
        download=Bytes((930 if full else 290) * MIB), size=Bytes((2900 if full else 830) * MIB),
        scratch=Bytes((930 if full else 290) * MIB), locks=locks, check=_CHECK,
        verified="linux-x86_64, Python 3.11, 2026-11-22",
    )  # fmt: skip


def _torch() -> Lock:
    """Torch for processors, as the engines have it: what Open WebUI computes by itself is small, and GPUs are full.

    Its lock lies with those of the engines.
    """
    found = next(lock for build in known_builds() for lock in build.locks if lock.name == _TORCH)
    return Lock(str(ENGINE_LOCKS / found.name), found.index)


def check_python(pythons: Iterable[str]) -> None:
    """See that there is a Python that Open WebUI runs on; `pythons` are the versions that can make environments.

    Raises:
        NotSupportedError: there is none.
    """
    found = tuple(pythons)
    if not set(found) & set(PYTHONS):
        raise NotSupportedError(
            text("Open WebUI {version} needs Python 3.11 or 3.12 with its venv module; here is {found}; install one "
                 "(Debian and Ubuntu: sudo apt install python3.12-venv), or run Open WebUI in a container and connect "
                 "it", version=VERSION, found=", ".join(found) or "-")
        )  # fmt: skip


def check_system(build: Build, system: str) -> None:
    """See that a build is for this system (``"linux-x86_64"``).

    Raises:
        NotSupportedError: it is not.
    """
    if system not in build.systems:
        raise NotSupportedError(
            text("the build '{build}' of Open WebUI is for {systems}, and this machine is {system}; run Open WebUI in "
                 "a container and connect it", build=build.build, systems=", ".join(build.systems), system=system)
        )  # fmt: skip
