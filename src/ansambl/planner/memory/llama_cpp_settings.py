"""The settings of llama.cpp that change its memory: read, checked, and refused where they contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.planner.memory import kv
from ansambl.planner.memory.extras import Lora, Projector
from ansambl.planner.memory.inputs import MemoryInputs, Settings
from ansambl.planner.memory.llama_cpp_compute import ComputeSettings
from ansambl.planner.memory.shares import RAM_MARGIN

NAME = "llama.cpp"
SETTINGS = frozenset(
    {
        "engine_version", "n_ubatch", "n_batch", "flash_attention", "kv_unified", "swa_full", "n_cpu_moe", "cpu_moe",
        "n_gpu_layers", "prompt_cache", "ram_margin", "kv_offload", "split_mode", "main_gpu", "tensor_split", "mmproj",
        "mmproj_offload", "lora",
    }
)  # fmt: skip
"""The settings that change its memory. `mmproj` and `lora` are the sizes of those files."""

KV_TYPES = frozenset({"f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"})
"""The types of ``--cache-type-k`` and ``--cache-type-v``."""

CURRENT_VERSION = (11549,)
"""The build whose rules are followed when none is named."""

# Beyond it, and below its inverse, a ratio of tensor_split is a mistake, and sums of them lose their digits.
_MOST_RATIO = 1e9
# When --n-cpu-moe came (oobabooga/textgen#7178; ggml-org/llama.cpp#15077).
_N_CPU_MOE = (6089,)


@dataclass(frozen=True, slots=True)
class LlamaCppSettings:
    """What the settings of llama.cpp say, with its defaults.

    `gpu_layers` counts the output layer too, `expert_layers` those whose experts leave a GPU, `tensor_split` is empty
    where the GPUs' memory decides.
    """

    compute: ComputeSettings
    swa_full: bool
    gpu_layers: int
    expert_layers: int
    prompt_cache: int
    ram_margin: int
    kv_offload: bool
    split_mode: str
    tensor_split: tuple[float, ...]
    mmproj_offload: bool


def read_settings(inputs: MemoryInputs) -> LlamaCppSettings:
    """Check and read the settings.

    Raises:
        UsageError: one makes no sense, is not known, contradicts another, or is newer than `engine_version`.
    """
    given = Settings(inputs.settings, SETTINGS, NAME)
    _refuse_contradictions(inputs, given)
    layers = inputs.architecture.layer_count
    n_batch = given.whole("n_batch", 2048)
    every = given.word("n_gpu_layers", "all").lower() in ("all", "auto", "-1")
    gpu_layers = layers + 1 if every else given.whole("n_gpu_layers", layers + 1, 0)
    gpu_layers = gpu_layers if inputs.machine.gpus else 0
    gpu_layers = min(gpu_layers, layers + 1)
    # Of n layers on the GPU the output layer is one.
    repeating = max(0, gpu_layers - 1)
    expert_layers = layers if given.switch("cpu_moe", False) else given.whole("n_cpu_moe", 0, 0)
    return LlamaCppSettings(
        ComputeSettings(
            # No batch is longer than all slots together (llama-context.cpp).
            n_ubatch=min(given.whole("n_ubatch", 512), n_batch, kv.padded(inputs.context * inputs.parallel)),
            flash_attention=given.switch("flash_attention", True),
            unified=given.switch("kv_unified", False),
            version=given.version(CURRENT_VERSION),
        ),
        swa_full=given.switch("swa_full", False),
        gpu_layers=gpu_layers,
        # Layers that are in RAM anyway are the first ones too.
        expert_layers=max(0, min(expert_layers, layers) - (layers - repeating)) if inputs.architecture.experts else 0,
        prompt_cache=given.whole("prompt_cache", 0, 0),
        ram_margin=given.whole("ram_margin", RAM_MARGIN, 0),
        kv_offload=given.switch("kv_offload", True),
        split_mode=given.one_of("split_mode", "layer", ("layer", "row", "none")),
        tensor_split=_ratios(given, len(inputs.machine.gpus)),
        mmproj_offload=given.switch("mmproj_offload", True),
    )


def _refuse_contradictions(inputs: MemoryInputs, given: Settings) -> None:
    kv.require_kv_type(inputs.kv_type, KV_TYPES, NAME)
    if (
        kv.element_bytes(inputs.kv_type)[1] < 2
        and given.has("flash_attention")
        and not given.switch("flash_attention", True)
    ):
        raise UsageError(
            text("kv_type {type} quantizes V, and that needs flash_attention, which is off; switch it on or keep V "
                 "in f16", type=inputs.kv_type)
        )  # fmt: skip
    if given.switch("cpu_moe", False) and given.has("n_cpu_moe"):
        raise given.contradiction("cpu_moe", "n_cpu_moe", text("the first one means all layers; set one of them"))
    if given.word("split_mode", "layer").lower() == "none" and given.has("tensor_split"):
        raise given.contradiction("split_mode", "tensor_split", text("nothing is divided"))
    if not given.switch("mmproj_offload", True) and not (given.has("mmproj") or inputs.extras.projector):
        raise UsageError(text("mmproj_offload is off, but there is no projector; give mmproj its size"))
    given.needs_version("n_cpu_moe", given.version(CURRENT_VERSION), _N_CPU_MOE, "b6089")


def _ratios(given: Settings, gpus: int) -> tuple[float, ...]:
    """``tensor_split``: how much of the layers each GPU gets, in any unit; empty when it was not set."""
    value = given.word("tensor_split", "")
    if not value:
        return ()
    try:
        ratios = tuple(float(part) for part in value.replace("/", ",").split(","))
    except ValueError:
        ratios = ()
    if len(ratios) != gpus or not all(0 <= ratio <= _MOST_RATIO for ratio in ratios) or sum(ratios) < 1 / _MOST_RATIO:
        raise UsageError(
            text("tensor_split is '{value}'; give a number for each of the {count} GPUs, for example 3,1",
                 value=value, count=gpus)
        )  # fmt: skip
    return ratios


def one_gpu(inputs: MemoryInputs) -> MemoryInputs:
    """With ``split_mode=none`` the machine is its RAM and `main_gpu`.

    Raises:
        UsageError: there is no such GPU.
    """
    given = Settings(inputs.settings, SETTINGS, NAME)
    gpus = inputs.machine.gpus
    main = given.whole("main_gpu", 0, 0)
    if gpus and main >= len(gpus):
        raise UsageError(
            text("main_gpu is {main}, but machine {machine} has {count} GPUs, counted from 0", main=main,
                 machine=inputs.machine.name, count=len(gpus))
        )  # fmt: skip
    if given.word("split_mode", "layer").lower() != "none" or not gpus:
        return inputs
    return replace(inputs, machine=replace(inputs.machine, gpus=gpus[main : main + 1]))


def with_files(inputs: MemoryInputs) -> MemoryInputs:
    """The sizes that were given as settings become extras.

    Raises:
        UsageError: one is no size.
    """
    if not inputs.settings.get("mmproj") and not inputs.settings.get("lora"):
        return inputs
    given = Settings(inputs.settings, SETTINGS, NAME)
    mmproj, lora, extras = given.size("mmproj"), given.size("lora"), inputs.extras
    if mmproj and extras.projector is None:
        extras = replace(extras, projector=Projector(mmproj, "mmproj as it was set"))
    if lora and extras.lora is None:
        extras = replace(extras, lora=Lora(size=lora))
    return replace(inputs, extras=extras)
