"""Engines that live in a Python environment: which Python it is, and which packages it has, without importing them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansambl.domain.engine import Installed, NotUsable, Surroundings
from ansambl.domain.text import text
from ansambl.engines.installations import find_installed, not_installed
from ansambl.foundation.processes import hear

_PATIENCE = 20.0
"""Seconds for a Python to name its packages; it takes 50 ms where the disk is quick."""

_ASK = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_SHEBANG = re.compile(rb"^#!\s*(?P<python>/[^\n]*?/python[\d.]*)\s*$", re.MULTILINE)
# What pip writes where the path is too long for the system's first line, or has a space in it.
_LONG_SHEBANG = re.compile(rb"^'''exec' \"?(?P<python>/[^\"\n]*?/python[\d.]*)\"? ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """A Python and those of the packages that were asked for that it has, with their versions.

    `managed` says that Ansambl installed it; `build` is what it then noted of the engine's build.
    """

    python: str
    packages: Mapping[str, str]
    managed: bool = False
    build: str | None = None

    def script(self, name: str) -> str | None:
        """The path of a program that a package put beside the Python; None when it is not there."""
        path = Path(self.python).parent / name
        return str(path) if os.access(path, os.X_OK) and path.is_file() else None


def is_python(path: str) -> bool:
    """Whether a path names a Python, by what its file is called."""
    return re.fullmatch(r"python[\d.]*(\.exe)?", Path(path).name) is not None


def find_environment(
    around: Surroundings, *, title: str, engine: str, script: str, packages: Iterable[str]
) -> PythonEnvironment | NotUsable:
    """The environment that holds an engine: the owner's choice, else Ansambl's own, else what the PATH has.

    Args:
        around: where to look.
        title: the engine's name for people.
        engine: its registered name.
        script: what its program is called on the PATH.
        packages: the packages to look for; one of them at least must be there.
    """
    wanted = tuple(packages)
    if around.program is not None:
        return _chosen(around, around.program, title, engine, wanted)
    installed = find_installed(around, engine)
    if installed is not None and installed.path is not None:
        found = _environment_of(installed.path, wanted)
        if found is None or not found.packages:
            return NotUsable(
                text("{engine} was installed by Ansambl, but its files are damaged", engine=title),
                text(
                    "install it anew: ansambl engines remove {name}, then ansambl engines install {name}", name=engine
                ),
            )
        return PythonEnvironment(found.python, found.packages, managed=True, build=installed.build)
    program = shutil.which(script, path=around.search_path) if around.search_path else None
    found = _environment_of(program, wanted) if program else None
    return found if found is not None and found.packages else not_installed(title, engine)


def _chosen(
    around: Surroundings, program: str, title: str, engine: str, wanted: tuple[str, ...]
) -> PythonEnvironment | NotUsable:
    path = shutil.which(Path(program).expanduser(), path=around.search_path or "")
    if path is None:
        return NotUsable(
            text("engines.{name}.program is '{path}', which is no program", name=engine, path=program),
            text("name the Python of the environment that holds {engine}, or its '{program}' program there",
                 engine=title, program=engine),
        )  # fmt: skip
    found = _environment_of(str(Path(path).absolute()), wanted)
    if found is None or not found.packages:
        return NotUsable(
            text("engines.{name}.program is '{path}', whose Python environment has no {engine}", name=engine,
                 path=program, engine=title),
            text("install {engine} there, or name another program", engine=title),
        )  # fmt: skip
    return found


def _environment_of(program: str, wanted: tuple[str, ...]) -> PythonEnvironment | None:
    python = program if is_python(program) else _python_of_script(Path(program))
    if python is None:
        return None
    try:
        # Not with a name of the current folder before those of the standard library.
        answer = hear(
            [python, "-c", _ASK, *wanted], patience=_PATIENCE, environment={**os.environ, "PYTHONSAFEPATH": "1"}
        )
        found = json.loads(answer.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return PythonEnvironment(python, {str(name): str(version) for name, version in found.items()})


def _python_of_script(script: Path) -> str | None:
    """The Python that a script names in its first lines, else the one beside it."""
    try:
        with script.open("rb") as file:
            beginning = file.read(2048)
    except OSError:
        return None
    match = _SHEBANG.search(beginning) or _LONG_SHEBANG.search(beginning)
    if match:
        named = os.fsdecode(match["python"])
        if Path(named).exists():
            return named
    beside = script.resolve().parent / "python"
    return str(beside) if beside.exists() else None


def with_warning(version: str, tested: str, title: str) -> Installed:
    """What is installed, with a warning where another version was tried."""
    plain = version.partition("+")[0]
    warning = None
    if plain != tested:
        warning = text(
            "{engine} {version} was never tried with Ansambl, {tested} was; it is used all the same", engine=title,
            version=version, tested=tested,
        )  # fmt: skip
    return Installed(version=version, warning=warning)
