"""Judging whether an engine that was found can start a checkpoint on the GPUs that it shall use. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ansambl.domain.compatibility import CompatibilityFacts, DeviceClass, DriverNeed, KnownEngine, Platform, Verdict
from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.domain.engine import EngineTraits, Installed
from ansambl.domain.footprint import Reason
from ansambl.domain.hardware import Gpu
from ansambl.domain.text import Text, text
from ansambl.domain.versions import version_key
from ansambl.planner.compatibility.judge import judge
from ansambl.planner.compatibility.spelling import plain_family, shown_version
from ansambl.planner.families import GPU_ONLY

_BUILDS = (
    (re.compile(r"cuda|cu\d"), Platform.CUDA),
    (re.compile(r"rocm|hip"), Platform.ROCM),
    (re.compile(r"metal"), Platform.METAL),
    (re.compile(r"xpu|sycl"), Platform.XPU),
    (re.compile(r"cpu"), Platform.CPU),
)
_VENDORS = {Platform.CUDA: "nvidia", Platform.ROCM: "amd", Platform.METAL: "apple", Platform.XPU: "intel"}
_TITLES = {Platform.CUDA: "CUDA", Platform.ROCM: "ROCm", Platform.METAL: "Metal", Platform.XPU: "Intel XPU"}
_TOOLKITS = (
    re.compile(r"cuda[-_ ]?(?P<major>\d+)(?:\.(?P<minor>\d+))?"),
    re.compile(r"\bcu(?P<major>\d{2})(?P<minor>\d)\b"),
)
_CLASS_NAME = re.compile(r"(?P<family>.+?)(?:For[A-Z]\w*|LMHeadModel|Model)$")
_VERSION = re.compile(r"\d+(?:\.\d+)*\w*")
_IN_FAVOUR = frozenset({"works", "since"})
_PROCESSOR = DeviceModel("cpu", "CPU", "none", kind=DeviceKind.RAM)


@dataclass(frozen=True, slots=True)
class StartQuestion:
    """An engine that shall start a checkpoint. `gpus` are those that it shall use, `installed` is what was found of it.

    `family` is as the checkpoint's files spell it: ``"qwen3moe"``, ``"qwen3_moe"`` or ``"Qwen3MoeForCausalLM"``.
    `cuda` is the version of CUDA that the engine brings along, where neither its build nor its version says it.
    """

    engine: EngineTraits
    installed: Installed | None = None
    format: str | None = None
    quantization: str | None = None
    family: str | None = None
    kv_type: str | None = None
    gpus: tuple[Gpu, ...] = ()
    cuda: str | None = None


@dataclass(frozen=True, slots=True)
class StartJudgement:
    """What keeps the engine from starting, and what its owner should know although it does not."""

    against: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = field(default=())


def judge_start(asked: StartQuestion, facts: CompatibilityFacts, drivers: Sequence[DriverNeed] = ()) -> StartJudgement:
    """Judge it by the engine's own traits, by the rows, and by what its build needs of the driver.

    Refused is what a source says cannot work. A version before the first that works, one that was never tried, and what
    no source speaks of are warnings: a row may be wrong, and the engine itself will tell.
    """
    platform = platform_of(asked)
    against = [*_format(asked), *_no_gpu(asked, platform)]
    warnings = [*_untested(asked, facts)]
    if platform is Platform.CUDA:
        for reason, refused in _driver(asked, drivers):
            (against if refused else warnings).append(reason)
    if platform is Platform.ROCM and any(gpu.capability is None for gpu in asked.gpus):
        warnings.append(_no_compute_part())
    known = facts.engines.get(asked.engine.name)
    if known is not None and not against:
        refused_rows, doubts = _rows(asked, facts, known, platform)
        against += refused_rows
        warnings += doubts
    return StartJudgement(_each_once(against), _each_once(warnings))


def platform_of(asked: StartQuestion) -> Platform:
    """Through what the engine reaches its devices: as it was built, else as the GPUs that it shall use are."""
    build = ((asked.installed.build if asked.installed else None) or "").lower()
    for pattern, platform in _BUILDS:
        if pattern.match(build):
            return platform
    if build:
        return Platform.OTHER
    vendor = asked.gpus[0].vendor.casefold() if asked.gpus else ""
    found = next((platform for platform, name in _VENDORS.items() if name == vendor), Platform.CPU)
    if found.value in asked.engine.devices:
        return found
    if "cpu" in asked.engine.devices or not asked.engine.devices:
        return Platform.CPU
    # It has no build for processors, so it will look for a GPU.
    return next((one for one in _VENDORS if one.value in asked.engine.devices), Platform.OTHER)


def toolkit_of(installed: Installed | None) -> tuple[int, int | None] | None:
    """The version of CUDA that a build was made with (``cuda-12.8``, ``0.33.0+cu129``); None when it does not say."""
    words = () if installed is None else (installed.build or "", installed.version)
    for word in words:
        for pattern in _TOOLKITS:
            match = pattern.search(word.lower())
            if match:
                return int(match["major"]), int(match["minor"]) if match["minor"] else None
    return None


def family_of(facts: CompatibilityFacts, name: str) -> str:
    """A model family as rows spell it, also from the name of a class (``"GptOssForCausalLM"`` is ``"gpt_oss"``)."""
    match = _CLASS_NAME.fullmatch(name)
    if match is None:
        return plain_family(facts, name)
    wanted = match["family"].lower()
    known = {one for row in facts.rows for one in row.family} | set(facts.families.values()) | set(facts.families)
    found = next((one for one in sorted(known) if one.replace("_", "") == wanted.replace("_", "")), wanted)
    return plain_family(facts, found)


def _format(asked: StartQuestion) -> Iterator[Reason]:
    formats = asked.engine.formats
    if asked.format and formats and asked.format not in formats:
        yield Reason(
            "wrong-format",
            text("{engine} runs {known} files, and the checkpoint is {format}", engine=asked.engine.title,
                 known=", ".join(sorted(formats)), format=asked.format),
            "formats of the engine",
        )  # fmt: skip


def _no_gpu(asked: StartQuestion, platform: Platform) -> Iterator[Reason]:
    vendor = _VENDORS.get(platform)
    traits = asked.engine
    if vendor is None or any(gpu.vendor.casefold() == vendor for gpu in asked.gpus):
        return
    if traits.name in GPU_ONLY or "cpu" not in traits.devices:
        yield Reason(
            "no-gpu",
            text("{engine} needs a GPU here (it is built for {platform}), and it has none to use",
                 engine=traits.title, platform=_TITLES[platform]),
            "devices of the engine",
        )  # fmt: skip


def _driver(asked: StartQuestion, drivers: Sequence[DriverNeed]) -> Iterator[tuple[Reason, bool]]:
    """What the driver is too old for; True says that the engine will not start."""
    toolkit = toolkit_of(asked.installed) or toolkit_of(Installed("", build=f"cuda{asked.cuda}"))
    if toolkit is None:
        return
    major, minor = toolkit
    names = (str(major), f"{major}.{minor}")
    written = names[0] if minor is None else names[1]
    for gpu in asked.gpus:
        if gpu.driver is None or gpu.vendor.casefold() != "nvidia":
            continue
        for need in drivers:
            if need.platform is not Platform.CUDA or need.toolkit not in names:
                continue
            if need.least is not None and _numbers(gpu.driver) < _numbers(need.least):
                yield _old_driver(asked, gpu.driver, need.least, written, need.source), True
            elif need.own is not None and _numbers(gpu.driver) < _numbers(need.own):
                yield Reason(
                    "driver-older",
                    text("the GPU's driver is {driver}, older than {own}, with which CUDA {toolkit} came; if "
                         "{engine} stops with an error about PTX or kernels, update the driver", driver=gpu.driver,
                         own=need.own, toolkit=written, engine=asked.engine.title),
                    need.source,
                ), False  # fmt: skip


def _old_driver(asked: StartQuestion, driver: str, least: str, toolkit: str, source: str) -> Reason:
    return Reason(
        "driver-too-old",
        text("{engine} is built for CUDA {toolkit}, which needs the GPU's driver {least} or newer, and it is {driver}; "
             "update the driver, or install a build for an older CUDA", engine=asked.engine.title, toolkit=toolkit,
             least=least, driver=driver),
        source,
    )  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version))


def _no_compute_part() -> Reason:
    return Reason(
        "no-compute-driver",
        text("the AMD driver shows no compute part (KFD), so what kind the GPU is stays unknown; ROCm needs it"),
        "kernel documentation, amdgpu and amdkfd",
    )


def _untested(asked: StartQuestion, facts: CompatibilityFacts) -> Iterator[Reason]:
    installed, traits = asked.installed, asked.engine
    if installed is None:
        return
    if installed.warning is not None:
        yield Reason("engine-warning", installed.warning, "the engine's adapter")
        return
    known = facts.engines.get(traits.name)
    tried = [one for one in (traits.verified, traits.documented) if one]
    if known is None or not tried:
        return
    own = _key(known, installed.version)
    keys = [key for one in tried for word in _VERSION.findall(one) if (key := _key(known, word)) is not None]
    if own is not None and (not keys or own in keys):
        return
    named = next((word for one in tried for word in _VERSION.findall(one)), tried[0])
    yield Reason(
        "untested-version",
        text("{engine} {version} was never tried with Ansambl ({known} was); it is started all the same",
             engine=traits.title, version=installed.version, known=named),
        traits.verified or traits.documented,
    )  # fmt: skip


def _key(known: KnownEngine, version: str) -> tuple[object, ...] | None:
    try:
        return version_key(version, builds=known.builds)
    except ValueError:
        return None


def _rows(
    asked: StartQuestion, facts: CompatibilityFacts, known: KnownEngine, platform: Platform
) -> tuple[list[Reason], list[Reason]]:
    """What the rows refuse, and what they only doubt."""
    against: list[Reason] = []
    doubts: list[Reason] = []
    version = asked.installed.version if asked.installed else None
    version = version if version is not None and _key(known, version) is not None else None
    for device in _devices(asked, platform):
        found = judge(
            facts, known.name, version=version, format=asked.format, quantization=asked.quantization,
            family=family_of(facts, asked.family) if asked.family else None, device=device, kv_type=asked.kv_type,
        )  # fmt: skip
        telling = [one for one in found.reasons if one.code not in _IN_FAVOUR]
        if found.verdict is Verdict.NO and found.since is None:
            against += [one for one in telling if one.code != "unknown"]
        elif found.verdict is Verdict.NO:
            doubts += [_too_old(known, one, version) for one in telling if one.code == "too-old"]
        elif found.verdict in {Verdict.UNKNOWN, Verdict.SLOW}:
            doubts += [one for one in telling if one.code in {"unknown", "slow"}]
    return against, doubts


def _too_old(known: KnownEngine, reason: Reason, version: str | None) -> Reason:
    words: Text = text("{fact}; {version} is started all the same", fact=reason.text,
                       version=shown_version(known, version or ""))  # fmt: skip
    return Reason(reason.code, words, reason.source)


def _devices(asked: StartQuestion, platform: Platform) -> list[DeviceModel | None]:
    """Each kind of device once; None where rows cannot tell it (Vulkan reaches any GPU)."""
    if platform is Platform.OTHER:
        return [None]
    if platform is Platform.CPU or not asked.gpus:
        return [_PROCESSOR]
    kinds: dict[DeviceClass, DeviceModel] = {}
    for gpu in asked.gpus:
        title = gpu.name or gpu.vendor
        model = DeviceModel(title, title, gpu.vendor, capability=gpu.capability)
        kinds.setdefault(DeviceClass.of(model), model)
    return list(kinds.values())


def _each_once(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple({one.text.render(): one for one in reasons}.values())
