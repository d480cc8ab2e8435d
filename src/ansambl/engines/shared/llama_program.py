"""What a ``llama-server`` program says of itself: its version and what it was built for.

Recorded on the real program of build 11434 (both answers end with status 0):

* ``--version``, on standard error: ``version: 0.6.0-dev (build 11434, commit abc1234)``. Before August 2026:
  ``version: 10360 (90e6a9131)``. A build out of a source archive knows neither and says build 0.
* ``--list-devices``, on standard output: ``Available devices:`` and then one line for each, such as
  ``  CUDA0: NVIDIA H100 (81079 MiB, 80500 MiB free)``, or ``  (none)``.
"""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ansambl.domain.engine import NotUsable
from ansambl.domain.text import text
from ansambl.foundation.processes import hear

_PATIENCE = 20.0
"""Seconds. A build for CUDA asks the driver before it answers; the longest that was seen on any build is under 3."""

_NEW = re.compile(r"^version: (?P<version>\S+) \(build (?P<build>\d+), commit ", re.MULTILINE)
_OLD = re.compile(r"^version: (?P<build>\d+) \(", re.MULTILINE)
_DEVICE = re.compile(r"^ +(?P<kind>[A-Za-z]+)\d*: ", re.MULTILINE)
_BUILDS = {"cuda": "cuda", "rocm": "rocm", "hip": "rocm", "vulkan": "vulkan", "metal": "metal", "mtl": "metal",
           "sycl": "xpu"}  # fmt: skip
# A backend that finds no device lists none, but has said its name while it looked.
_LOOKED_FOR = re.compile(r"ggml_(?P<kind>cuda|vulkan|vk|metal|sycl)", re.IGNORECASE)
_LIBRARY = re.compile(r"error while loading shared libraries: (?P<name>[^\s:]+)")
_DRIVER = ("libcuda.", "libamdhip64.", "libhsa-runtime64.", "libvulkan.", "libze_loader.")
_WRONG_CPU = frozenset({-signal.SIGILL, 128 + signal.SIGILL})


@dataclass(frozen=True, slots=True)
class LlamaProgram:
    """`number` counts builds, None where the program does not know its own; `build` says what it computes on."""

    version: str
    number: int | None
    build: str


def ask_program(path: str) -> LlamaProgram | NotUsable:
    """Ask the program at `path`; a file that answered is asked once, one that did not may have been helped since."""
    try:
        found = Path(path).stat()
        return _answer(path, found.st_mtime_ns, found.st_size)
    except OSError as failure:
        return _cannot_run(path, failure)
    except _NoAnswerError as silent:
        return silent.why


class _NoAnswerError(Exception):
    def __init__(self, why: NotUsable) -> None:
        super().__init__(why)
        self.why = why


@lru_cache(maxsize=32)
def _answer(path: str, _modified: int, _size: int) -> LlamaProgram:
    found = _ask(path)
    if isinstance(found, NotUsable):
        # What is raised is not kept.
        raise _NoAnswerError(found)
    return found


def _ask(path: str) -> LlamaProgram | NotUsable:
    try:
        said = _run(path, "--version")
        if said.returncode != 0:
            return _failed(path, said)
        version = read_version(said.stderr + "\n" + said.stdout)
        if version is None:
            return NotUsable(
                text("{path} is no llama-server: it does not tell a version as one does", path=path),
                text('set engines."llama.cpp".program to the path of a llama-server'),
            )
        devices = _run(path, "--list-devices")
    except OSError as failure:
        return _cannot_run(path, failure)
    except subprocess.TimeoutExpired:
        return NotUsable(
            text("{path} did not tell its version within {seconds} s", path=path, seconds=round(_PATIENCE)),
            text("start it by hand with --version, and look at what it waits for"),
        )
    name, number = version
    return LlamaProgram(name, number, read_build(devices.stdout, devices.stderr))


def _run(path: str, word: str) -> subprocess.CompletedProcess[str]:
    said = hear([path, word], patience=_PATIENCE)
    out, complained = (one.decode("utf-8", "replace") for one in (said.stdout, said.stderr))
    return subprocess.CompletedProcess(said.args, said.returncode, out, complained)


def read_version(said: str) -> tuple[str, int | None] | None:
    """The version as we write it (``"b11434"`` where the number of the build is known) and that number."""
    new, old = _NEW.search(said), _OLD.search(said)
    found = new or old
    if found is None:
        return None
    number = int(found["build"][:9])
    if number:
        return f"b{number}", number
    return (new["version"] if new else "b0"), None


def read_build(listed: str, complained: str) -> str:
    """What the program was built for, from its list of devices and what it said while it looked for them."""
    kinds = [match["kind"].lower() for match in _DEVICE.finditer(listed)]
    known = [_BUILDS[kind] for kind in kinds if kind in _BUILDS]
    if known:
        return known[0]
    looked = _LOOKED_FOR.search(complained)
    if looked:
        return {"vk": "vulkan"}.get(looked["kind"].lower()) or _BUILDS[looked["kind"].lower()]
    return "cpu"


def _cannot_run(path: str, failure: OSError) -> NotUsable:
    return NotUsable(
        text("{path} cannot be started ({why})", path=path, why=failure.strerror or type(failure).__name__),
        text('set engines."llama.cpp".program to the path of a llama-server that this account may run'),
    )


def _failed(path: str, said: subprocess.CompletedProcess[str]) -> NotUsable:
    library = _LIBRARY.search(said.stderr)
    if said.returncode in _WRONG_CPU:
        return NotUsable(
            text("{path} was built for another processor (illegal instruction)", path=path),
            text("take a build for this processor: ansambl engines install llama.cpp"),
        )
    if library and library["name"].startswith(_DRIVER):
        return NotUsable(
            text("{path} needs {library}, which comes with the GPU's driver", path=path, library=library["name"]),
            text("install the GPU's driver, or take a build for the processor: ansambl engines install llama.cpp"),
        )
    if library:
        return NotUsable(
            text("{path} needs the library {library}, which is not here", path=path, library=library["name"]),
            text("install that library, or take another build: ansambl engines install llama.cpp"),
        )
    words = next((line.strip() for line in reversed(said.stderr.splitlines()) if line.strip()), "-")[:200]
    return NotUsable(
        text("{path} --version ends with status {code} ({words})", path=path, code=said.returncode, words=words),
        text("take another build: ansambl engines install llama.cpp"),
    )
