"""What can be installed, as records. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.engine import NotUsable
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes


class Way(StrEnum):
    """How a build comes: an environment of packages, files that were compiled elsewhere, or compiled here."""

    WHEELS = "wheels"
    ARCHIVE = "archive"
    SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Lock:
    """A file of requirements with hashes, by its name under ``data/locks``.

    `index` is the address of the index of whoever makes these packages, where they are on no other; it is asked when
    the user's own sources have them not.
    """

    name: str
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """A file that was compiled elsewhere, with the sum that its maker published."""

    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """A source archive of the package index; only the tree `folder` in it is used.

    `options` are for cmake, `number` is the build's number, which the archive's own records would have told.
    """

    package: str
    version: str
    sha256: str
    folder: str
    number: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Build:
    """One build of an engine.

    `build` is what it was made for (``"cuda"``, ``"rocm"``, ``"vulkan"``, ``"metal"``, ``"cpu"``), `variant` tells two
    of these apart. `systems` are ``"linux-x86_64"`` and the like. `driver` is the least NVIDIA driver, `capability` the
    least compute capability, `targets` AMD's targets that it was compiled for (empty: unknown). `programs` must be on
    the machine. `download` and `size` are bytes to fetch and on the disk, `scratch` what is needed meanwhile besides.
    `check` is Python that the environment must be able to run, `program` what is started, relative to the
    installation. `notes` are names of sentences that the user should read. `verified` is where it was tried, empty for
    what never was.
    """

    engine: str
    title: str
    version: str
    build: str
    way: Way
    systems: tuple[str, ...]
    licence: str
    sources: tuple[str, ...]
    program: str
    variant: str = ""
    pythons: tuple[str, ...] = ()
    driver: str | None = None
    capability: str | None = None
    targets: tuple[str, ...] = ()
    cpu_flags: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    download: Bytes | None = None
    size: Bytes = Bytes(0)
    scratch: Bytes = Bytes(0)
    locks: tuple[Lock, ...] = ()
    check: str = ""
    archives: tuple[Archive, ...] = ()
    source: Source | None = None
    notes: tuple[str, ...] = ()
    verified: str = ""

    @property
    def folder(self) -> str:
        """The name of the folder that holds it, among the engine's own."""
        parts = (self.version, self.build, self.variant, "compiled" if self.way is Way.SOURCE else "")
        return "-".join(one for one in parts if one)

    @property
    def needed(self) -> Bytes:
        """Bytes that must be free for it to be installed."""
        return Bytes(self.size + self.scratch)


@dataclass(frozen=True, slots=True)
class Passed:
    """A build that was not chosen, and why."""

    build: Build
    why: NotUsable


@dataclass(frozen=True, slots=True)
class Judged:
    """A build for this kind of machine; `why_not` is what keeps this machine from using it, None where it can."""

    build: Build
    why_not: NotUsable | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The build for a machine, and the better ones that it cannot use."""

    build: Build
    passed: tuple[Passed, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """No build can be installed: what stands in the way, of which build, and what would change it."""

    why: NotUsable
    passed: tuple[Passed, ...] = ()


@dataclass(frozen=True, slots=True)
class Around:
    """What a choice depends on besides the hardware.

    `pythons` are the Pythons that can make environments (``"3.12"``), the best first; `programs` are the compilers that
    were found (``"c++"``, ``"nvcc"``, ``"hipcc"``, ``"glslc"``).
    """

    pythons: tuple[str, ...]
    programs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stage:
    """How far an installation is: `done` of `total` of what `counts` says (``"packages"``, ``"bytes"``, ``"steps"``).

    `total` is 0 where nobody knows.
    """

    name: Text
    done: int = 0
    total: int = 0
    counts: str = "steps"


Progress = Callable[[Stage], None]
"""Told of every stage and of how far it is, and while programs run again and again: what it raises ends the work."""


class Repeated:
    """Tells `progress` of stages, and of the newest one once more whenever it is asked to."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._newest: Stage | None = None

    def __call__(self, stage: Stage) -> None:
        """As `Progress`."""
        self._newest = stage
        self._progress(stage)

    def again(self, _: str = "") -> None:
        """Tell the newest stage once more; the last words of a program, which say nothing of it, are left alone."""
        if self._newest is not None:
            self._progress(self._newest)
