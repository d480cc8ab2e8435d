"""What works with what: rows of facts with the first version that works, and the judgement made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.domain.footprint import Reason
from ansambl.domain.text import Text


class Verdict(StrEnum):
    """Whether a combination works. A missing fact is unknown, never no."""

    YES = "yes"
    SLOW = "slow"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One combination judged. `since` is the first version of the engine that does it, None when no source says.

    When the verdict is no because a version is too old, `since` is the first that would do.
    """

    verdict: Verdict
    since: str | None = None
    reasons: tuple[Reason, ...] = ()


class Platform(StrEnum):
    """Through what an engine reaches a device."""

    CUDA = "cuda"
    ROCM = "rocm"
    METAL = "metal"
    XPU = "xpu"
    CPU = "cpu"
    OTHER = "other"


_PLATFORMS = {"nvidia": Platform.CUDA, "amd": Platform.ROCM, "apple": Platform.METAL, "intel": Platform.XPU}


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """What engines tell devices apart by: the platform, CUDA's capability or AMD's target (None when unknown)."""

    platform: Platform
    capability: tuple[int, int] | None = None
    target: str | None = None

    @classmethod
    def of(cls, device: DeviceModel) -> DeviceClass:
        """The class of a device; a processor is a CPU, whoever made it."""
        if device.kind is DeviceKind.RAM:
            return cls(Platform.CPU)
        platform = _PLATFORMS.get(device.vendor.casefold(), Platform.OTHER)
        if platform is Platform.CUDA:
            return cls(platform, capability=_capability(device.capability))
        return cls(platform, target=device.capability)


def _capability(words: str | None) -> tuple[int, int] | None:
    major, _, minor = (words or "").partition(".")
    if not (major.isascii() and major.isdigit() and len(major) < 4):
        return None
    return int(major), int(minor) if minor.isascii() and minor.isdigit() and len(minor) < 4 else 0


@dataclass(frozen=True, slots=True)
class DeviceSelector:
    """Some devices of a platform: CUDA capabilities from `low` to before `below`, or AMD targets by pattern."""

    platform: Platform
    low: tuple[int, int] | None = None
    below: tuple[int, int] | None = None
    targets: tuple[str, ...] = ()

    def accepts(self, device: DeviceClass) -> bool:
        """Whether the device is one of them; a device whose capability nobody knows is in no range."""
        if device.platform is not self.platform:
            return False
        if self.targets:
            return device.target is not None and any(fnmatchcase(device.target, one) for one in self.targets)
        if self.low is None and self.below is None:
            return True
        found = device.capability
        return found is not None and (self.low or found) <= found and (self.below is None or found < self.below)


DIMENSIONS = ("ui", "kv_type", "family", "quantization", "format", "device")
"""What a question may name, most telling first: a row speaks about the first of them that it has."""


@dataclass(frozen=True, slots=True)
class CompatibilityRow:
    """One fact: with `engine`, what all the conditions name works, works slowly, or does not.

    A condition that is empty holds for everything. The fact holds from version `since` to before version `until`;
    None is no limit that a source names. `seen` is the oldest version in which somebody found it, where the first is
    not known: of earlier ones nothing is said. `code` is stable for scripts; `note` says more than the row's fields.
    """

    engine: str
    verdict: Verdict
    source: str
    format: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    device: tuple[DeviceSelector, ...] = ()
    ui: tuple[str, ...] = ()
    kv_type: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    seen: str | None = None
    code: str | None = None
    note: Text | None = None

    @property
    def subject(self) -> str:
        """The dimension that the row speaks about; ``"engine"`` when it has no condition."""
        return next((name for name in DIMENSIONS if getattr(self, name)), "engine")


@dataclass(frozen=True, slots=True)
class KnownEngine:
    """An engine that rows speak about. `checked` is the newest version whose documents were read.

    With `builds`, its versions are build numbers. `converts` are formats that people convert models to for it.
    """

    name: str
    title: str
    checked: str
    aliases: tuple[str, ...] = ()
    builds: bool = False
    converts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownUi:
    """A user interface that rows speak about."""

    name: str
    title: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CompatibilityFacts:
    """All that is known of what works with what. Compared by identity, so that judgements can be remembered.

    `families` maps other spellings of a model family to the one that rows use.
    """

    engines: Mapping[str, KnownEngine]
    uis: Mapping[str, KnownUi]
    rows: tuple[CompatibilityRow, ...]
    families: Mapping[str, str] = field(default_factory=dict)
    collected: str = ""


@dataclass(frozen=True, slots=True)
class DriverNeed:
    """The driver that programs need which were built for a toolkit (``"12"`` for all of its minors, or ``"12.8"``).

    Below `least` they do not start; `own` is the driver that the toolkit was released with. None where a row does not
    say.
    """

    platform: Platform
    toolkit: str
    source: str
    least: str | None = None
    own: str | None = None
