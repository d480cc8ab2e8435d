"""An environment of its own out of packages: fetched first, checked by their hashes, then unpacked without a network.

Fetching goes by small batches, and what has come stays: the next run asks only for the rest. Unpacking is begun anew
when it was broken off, because a half unpacked package looks whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text, text
from ansambl.engines.install.data import LOCKS
from ansambl.engines.install.failures import explain_program, last_words
from ansambl.engines.install.folders import make_private, remove_tree
from ansambl.engines.install.programs import ProgramError, clean_environment, end_leftover, run_program
from ansambl.engines.install.records import Build, Lock, Progress, Repeated, Stage
from ansambl.foundation.paths import write_atomically

_BATCH = 8
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ENVIRONMENT = "env"
"""The name of the environment's folder."""

FETCHING = text("fetching packages")
UNPACKING = text("unpacking packages")
CHECKING = text("trying the engine")
MAKING = text("making the environment")


def entries_of(content: str) -> list[str]:
    """The requirements of a lock file, each with its hashes."""
    found: list[str] = []
    for line in content.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace() and found:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def package_names(content: str) -> set[str]:
    """The names of the packages in a lock file, each once."""
    return {found.group() for one in entries_of(content) if (found := _NAME.match(one))}


@dataclass(frozen=True, slots=True)
class WheelInstaller:
    """Installs one build of packages into `folder`, with the Python at `python`."""

    build: Build
    folder: Path
    python: str
    locks: Path = LOCKS

    def run(self, progress: Progress) -> str:
        """Do all that is left to do; returns what the check said.

        Raises:
            AnsamblError: something failed. What has come stays.
            OSError: the folder cannot be written.
        """
        progress = Repeated(progress)
        scratch = make_private(self.folder / "scratch")
        make_private(scratch / "temporary")
        end_leftover(scratch)
        whole, wanted = self.folder / "unpacked", self._digest()
        if not whole.exists() or whole.read_text(encoding="ascii") != wanted:
            if whole.exists():
                # Other packages than these stand there, from an earlier try.
                (self.folder / "begun").touch()
                whole.unlink()
            self._make_environment(progress)
            self._fetch(progress)
            self._unpack(progress)
            write_atomically(whole, wanted.encode())
        try:
            words = self._check(progress)
        except AnsamblError:
            # What does not run is not gone on with.
            whole.unlink()
            raise
        remove_tree(scratch)
        return words

    @property
    def _own_python(self) -> Path:
        return self.folder / ENVIRONMENT / "bin" / "python"

    def _pip(self, *arguments: str) -> list[str]:
        return [str(self._own_python), "-I", "-m", "pip", *arguments]

    def _run(self, argv: list[str], doing: Text, look: Callable[[str], None], **added: str) -> str:
        scratch = self.folder / "scratch"
        environment = clean_environment(scratch / "temporary", PIP_CACHE_DIR=str(scratch / "cache"), **added)
        try:
            return run_program(argv, environment, scratch / "log", look=look)
        except ProgramError as failure:
            raise explain_program(self.build, doing, failure.words, self.folder) from failure

    def _make_environment(self, progress: Repeated) -> None:
        environment, begun = self.folder / ENVIRONMENT, self.folder / "begun"
        if begun.exists() or not self._own_python.exists():
            remove_tree(environment)
            # An environment that was broken off has a Python and no pip in it yet, and would look whole.
            begun.touch()
            progress(Stage(MAKING))
            make_private(environment)
            self._run([self.python, "-I", "-m", "venv", str(environment)], MAKING, progress.again)
            begun.unlink()

    def _fetch(self, progress: Repeated) -> None:
        state = self.folder / "scratch" / "fetched.json"
        try:
            done = set(msgspec.json.decode(state.read_bytes(), type=list[str]))
        except (OSError, ValueError):
            done = set()
        wanted = [(lock, one) for lock in self.build.locks for one in self._entries(lock)]
        for lock, batch in _batches([(lock, one) for lock, one in wanted if one not in done]):
            self._report_fetching(progress, len(done), len(wanted))
            self._fetch_batch(lock, batch, progress)
            done.update(batch)
            write_atomically(state, msgspec.json.encode(sorted(done)))
        self._report_fetching(progress, len(wanted), len(wanted))

    def _report_fetching(self, progress: Progress, done: int, total: int) -> None:
        progress(Stage(FETCHING, done, total, "packages"))

    def _fetch_batch(self, lock: Lock, batch: list[str], progress: Repeated) -> None:
        scratch = self.folder / "scratch"
        wheels, asked = make_private(scratch / "wheels"), scratch / "batch.txt"
        asked.write_text("\n".join(batch) + "\n", encoding="utf-8")
        command = self._pip(
            "download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--progress-bar", "off",
            "--dest", str(wheels), "-r", str(asked),
        )  # fmt: skip
        try:
            self._run(command, FETCHING, progress.again)
        except AnsamblError:
            if lock.index is None:
                raise
            self._run([*command, "--index-url", lock.index], FETCHING, progress.again)
        remove_tree(scratch / "cache")

    def _unpack(self, progress: Progress) -> None:
        (self.folder / "begun").touch()
        packages, scratch = self._site_packages(), self.folder / "scratch"
        total = len({name for lock in self.build.locks for name in package_names(self._lock(lock))})
        asked = [word for lock in self.build.locks for word in ("-r", str(self._lock_path(lock)))]

        def look(_: str) -> None:
            done = sum(1 for one in packages.glob("*.dist-info")) if packages.is_dir() else 0
            progress(Stage(UNPACKING, min(done, total), total, "packages"))

        self._run(
            self._pip("install", "--no-index", "--find-links", str(scratch / "wheels"), "--no-deps", "--only-binary",
                      ":all:", "--require-hashes", "--progress-bar", "off", *asked),
            UNPACKING, look,
        )  # fmt: skip
        (self.folder / "begun").unlink()

    def _check(self, progress: Repeated) -> str:
        progress(Stage(CHECKING))
        said = self._run(
            [str(self._own_python), "-I", "-c", self.build.check], CHECKING, progress.again, HF_HUB_OFFLINE="1",
            TRANSFORMERS_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1",
        )  # fmt: skip
        return last_words(said)

    def _site_packages(self) -> Path:
        found = sorted((self.folder / ENVIRONMENT / "lib").glob("python*"))
        return (found[0] if found else self.folder) / "site-packages"

    def _digest(self) -> str:
        """What tells these packages from others."""
        return hashlib.sha256("".join(map(self._lock, self.build.locks)).encode()).hexdigest()

    def _lock_path(self, lock: Lock) -> Path:
        return self.locks / f"{lock.name}.txt"

    def _lock(self, lock: Lock) -> str:
        return self._lock_path(lock).read_text(encoding="utf-8")

    def _entries(self, lock: Lock) -> list[str]:
        return entries_of(self._lock(lock))


def _batches(wanted: list[tuple[Lock, str]]) -> Iterator[tuple[Lock, list[str]]]:
    """Requirements in the order in which they are wanted, some at once, each batch out of one lock."""
    for lock in dict.fromkeys(lock for lock, _ in wanted):
        own = [one for kept, one in wanted if kept == lock]
        for start in range(0, len(own), _BATCH):
            yield lock, own[start : start + _BATCH]
