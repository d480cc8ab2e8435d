"""Which build of an engine fits a machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from ansambl.domain.engine import NotUsable
from ansambl.domain.hardware import Gpu, Machine
from ansambl.domain.text import Text, text
from ansambl.domain.versions import version_key
from ansambl.engines.install.records import Around, Build, Choice, Judged, Passed, Refusal, Way

CPU = "cpu"
_VENDORS = {"cuda": ("nvidia",), "rocm": ("amd",), "vulkan": ("nvidia", "amd", "intel")}
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}

HOW_TO_GET: dict[str, Text] = {
    "c++": text("install a C++ compiler (Debian and Ubuntu: sudo apt install g++; macOS: xcode-select --install)"),
    "nvcc": text("install the CUDA toolkit so that nvcc is on the PATH (Debian and Ubuntu: sudo apt install "
                 "nvidia-cuda-toolkit, or NVIDIA's own packages)"),
    "hipcc": text("install ROCm's compiler so that hipcc is on the PATH (AMD's packages rocm-hip-sdk)"),
    "glslc": text("install glslc and Vulkan's headers (Debian and Ubuntu: sudo apt install glslc libvulkan-dev)"),
}  # fmt: skip
"""What to do where a program is missing that compiles a build."""


def system_of(machine: Machine) -> str:
    """The machine's system and processor as ``builds.toml`` writes them: ``"linux-x86_64"``, ``"macos-aarch64"``."""
    words = machine.system.lower()
    system = "macos" if words.startswith(("macos", "darwin")) else words.split(maxsplit=1)[0] if words else "unknown"
    architecture = machine.cpu.architecture.lower()
    return f"{system}-{_ARCHITECTURES.get(architecture, architecture)}"


def choose_build(
    engine: str, machine: Machine, builds: Iterable[Build], around: Around, *, wanted: str | None = None,
    compiled: bool = False,
) -> Choice | Refusal:  # fmt: skip
    """The first build of `engine` that the machine can use.

    A build for the processor is only chosen for a machine with a GPU when it is `wanted` by name: it would be slow, and
    nobody would see why.

    Args:
        engine: the engine's name.
        machine: the hardware.
        builds: what there is, the better one first.
        around: Pythons and programs of the machine.
        wanted: the build that is asked for (``"cuda"``, ``"cpu"``…), None for the best one.
        compiled: take only what is compiled here.
    """
    own = [one for one in builds if one.engine == engine]
    asked = [one for one in own if wanted in {None, one.build} and (not compiled or one.way is Way.SOURCE)]
    if not asked:
        return Refusal(_nothing_asked(engine, own, wanted, compiled=compiled))
    system = system_of(machine)
    here = [one for one in asked if system in one.systems]
    if not here:
        return Refusal(_other_system(asked, system))
    passed: list[Passed] = []
    for one in here:
        why = _why_not(one, machine, around)
        if why is not None:
            passed.append(Passed(one, why))
        elif one.build == CPU and wanted is None and _has_gpu(machine):
            return Refusal(_only_processor(one, passed), tuple(passed))
        else:
            return Choice(one, tuple(passed))
    # What keeps from a build for the hardware that is here says more than that other hardware is not.
    closest = [one for one in passed if _wrong_gpu(one.build, machine) is None] or passed
    return Refusal(closest[0].why, tuple(passed))


def judge_builds(engine: str, machine: Machine, builds: Iterable[Build], around: Around) -> tuple[Judged, ...]:
    """Every build of `engine` for the machine's system, the better one first, and what keeps it from running there."""
    system = system_of(machine)
    own = [one for one in builds if one.engine == engine and system in one.systems]
    return tuple(Judged(one, _why_not(one, machine, around)) for one in own)


def _nothing_asked(engine: str, own: list[Build], wanted: str | None, *, compiled: bool) -> NotUsable:
    title = own[0].title if own else engine
    names = ", ".join(dict.fromkeys(one.build for one in own if not compiled or one.way is Way.SOURCE)) or "-"
    if compiled and not any(one.way is Way.SOURCE for one in own):
        return NotUsable(text("Ansambl does not compile {engine}", engine=title), text("leave --compile out"))
    if compiled:
        return NotUsable(
            text("there is nothing of {engine} to compile here for '{build}'", engine=title, build=wanted or "any"),
            text("leave --compile out; what can be compiled: {builds}", builds=names),
        )
    return NotUsable(
        text("Ansambl has no build '{build}' of {engine}", build=wanted or "any", engine=title),
        text("choose one of: {builds}", builds=names),
    )


def _only_processor(cpu: Build, passed: list[Passed]) -> NotUsable:
    better = passed[0].why if passed else None
    reason = (
        text("the build of {engine} for a GPU cannot be used here: {reason}", engine=cpu.title, reason=better.reason)
        if better
        else text("Ansambl has no build of {engine} for this machine's GPU", engine=cpu.title)
    )
    slow = text("for the processor alone, which is slow: ansambl engines install {name} --build cpu", name=cpu.engine)
    fix = text("{fix}; {otherwise}", fix=better.how_to_fix, otherwise=slow) if better else slow
    return NotUsable(reason, fix)


def _other_system(builds: list[Build], system: str) -> NotUsable:
    systems = dict.fromkeys(one for build in builds for one in build.systems)
    return NotUsable(
        text("the builds of {engine} are for {systems}, and this machine is {system}", engine=builds[0].title,
             systems=", ".join(systems), system=system),
        text("run it on such a machine and give the model its address, or use another engine"),
    )  # fmt: skip


def _why_not(build: Build, machine: Machine, around: Around) -> NotUsable | None:
    return (
        _wrong_gpu(build, machine) or _wrong_processor(build, machine) or _wrong_python(build, around)
        or _missing_program(build, around)
    )  # fmt: skip


def _wrong_python(build: Build, around: Around) -> NotUsable | None:
    if not build.pythons or set(build.pythons) & set(around.pythons):
        return None
    return NotUsable(
        text("{engine} needs Python {versions}, and none of them that can make environments is here",
             engine=build.title, versions=", ".join(build.pythons)),
        text("install one with its venv module (Debian and Ubuntu: sudo apt install python3-venv)"),
    )  # fmt: skip


def _missing_program(build: Build, around: Around) -> NotUsable | None:
    missing = [one for one in build.programs if one not in around.programs]
    if not missing:
        return None
    return NotUsable(
        text("{program} is not on this machine, and compiling {engine} for {build} needs it", program=missing[0],
             engine=build.title, build=build.build),
        HOW_TO_GET[missing[0]],
    )  # fmt: skip


def _wrong_processor(build: Build, machine: Machine) -> NotUsable | None:
    flags = machine.cpu.flags
    missing = [one for one in build.cpu_flags if flags and one not in flags]
    if not missing:
        return None
    return NotUsable(
        text("this processor has no {flag}, which this build of {engine} was made for", flag=missing[0].upper(),
             engine=build.title),
        text("use another engine, or run it on another machine and give the model its address"),
    )  # fmt: skip


def _has_gpu(machine: Machine) -> bool:
    return any(not one.integrated for one in machine.gpus)


def _wrong_gpu(build: Build, machine: Machine) -> NotUsable | None:
    vendors = _VENDORS.get(build.build)
    if vendors is None:
        return None
    gpus = [one for one in machine.gpus if one.vendor.lower() in vendors]
    if not gpus and _has_gpu(machine):
        return NotUsable(
            text("the {build} build of {engine} does not run on a GPU of {vendor}", build=build.build,
                 engine=build.title, vendor=", ".join(sorted({one.vendor for one in machine.gpus}))),
            text("use llama.cpp, which does (ansambl engines install llama.cpp), or install {engine} as its makers say "
                 "and give the model its address", engine=build.title),
        )  # fmt: skip
    if not gpus:
        return NotUsable(
            text("there is no GPU here that the {build} build of {engine} runs on", build=build.build,
                 engine=build.title),
            text("if there is one, install its driver; see: ansambl machines detect"),
        )  # fmt: skip
    return _old_driver(build, gpus) or _old_gpu(build, gpus)


def _old_driver(build: Build, gpus: list[Gpu]) -> NotUsable | None:
    if build.driver is None:
        return None
    known = [one.driver for one in gpus if one.driver and _numbers(one.driver)]
    if not known or any(_numbers(one) >= _numbers(build.driver) for one in known):
        return None
    return NotUsable(
        text("the NVIDIA driver {driver} is too old for this build of {engine}, which needs {least} or newer",
             driver=known[0], engine=build.title, least=build.driver),
        text("update the driver to {least} or newer", least=build.driver),
    )  # fmt: skip


def _old_gpu(build: Build, gpus: list[Gpu]) -> NotUsable | None:
    known = [one for one in gpus if one.capability]
    if len(known) < len(gpus):
        return None
    if build.capability is not None:
        if any(_numbers(one.capability or "") >= _numbers(build.capability) for one in known):
            return None
        return NotUsable(
            text("this GPU has compute capability {capability}, and this build of {engine} needs {least} or more",
                 capability=known[0].capability, engine=build.title, least=build.capability),
            text("use another engine: ansambl compat says which ones this GPU runs"),
        )  # fmt: skip
    if not build.targets or any(fnmatchcase(one.capability or "", target) for one in known for target in build.targets):
        return None
    return NotUsable(
        text("this GPU is {target}, and this build of {engine} was compiled for {targets}",
             target=known[0].capability, engine=build.title, targets=", ".join(build.targets)),
        text("use the Vulkan build, or another engine: ansambl compat says which ones this GPU runs"),
    )  # fmt: skip


def _numbers(words: str) -> tuple[int, ...]:
    """A dotted number for comparing; empty for what is none."""
    try:
        return version_key(words)[1]
    except ValueError:
        return ()
