"""What is loaded beside a model: LoRA adapters, a multimodal projector, a draft model; and how it joins a footprint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansambl.domain.architecture import Architecture, Attention
from ansambl.domain.device import DeviceKind, PlannedMachine
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Range, Reason, WeightBytes
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes

LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a transformer that a LoRA adapter may change, by the names that most models give them."""

EXPERTS = "experts"
"""Named among the modules, it says that an adapter changes every expert too; most leave them alone."""

_ATTENTION = frozenset(LORA_MODULES[:4])
_FEED_FORWARD = frozenset(LORA_MODULES[4:])
_MOST_RANK = 4096
_MOST_ADAPTERS = 4096

LORA_SOURCE = "LoRA: A is rank x in, B is out x rank (arXiv:2106.09685)"
PROJECTOR_SOURCE = (
    "llama.cpp logs: 248 MiB of compute beside a projector of 888 MiB at 1472 x 1472 pixels; 3 MiB until the first "
    "picture in older builds (ggml-org/llama.cpp#18111)"
)
# Compute of a projector by its size: the log above; the high end is a margin, not a measurement.
_PROJECTOR_LOW, _PROJECTOR, _PROJECTOR_HIGH = 3 / 1033, 248 / 888, 1.0


def require_known(architecture: Architecture) -> None:
    """Refuse a model whose inside is not known.

    Raises:
        NotSupportedError: it has no layers or no width.
    """
    if architecture.hidden < 1 or not any(group.count for group in architecture.layers):
        raise NotSupportedError(
            text("the memory of a model of family {family} cannot be forecast: its layers or widths are not known",
                 family=architecture.family)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lora:
    """LoRA adapters that are loaded together: `count` of them, each of `rank` on the linear layers `modules`.

    `size` is the bytes of one adapter's file where it is known.

    Raises:
        UsageError: a number makes no sense, or a module is not known.
    """

    count: int = 1
    rank: int = 16
    modules: tuple[str, ...] = LORA_MODULES
    size: Bytes | None = None

    def __post_init__(self) -> None:
        for name, value, most in (
            ("lora count", self.count, _MOST_ADAPTERS),
            ("lora rank", self.rank, _MOST_RANK),
        ):
            if not 1 <= value <= most:
                raise UsageError(
                    text("{name} is {value}; give a whole number from 1 to {most}", name=name, value=value, most=most)
                )
        unknown = [name for name in self.modules if name not in (*LORA_MODULES, EXPERTS)]
        if unknown or not self.modules:
            raise UsageError(
                text("lora modules '{names}' are not known; known are {known}", names=", ".join(unknown),
                     known=", ".join((*LORA_MODULES, EXPERTS)))
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Projector:
    """What turns pictures or sound into tokens and lies in a file of its own (llama.cpp's ``mmproj``).

    A vision tower within the checkpoint is part of its weights and needs no projector here.
    """

    size: Bytes
    source: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A small model that proposes tokens, with a KV cache of its own over the same context.

    `head` says that it is no whole model but layers for multi-token prediction that use the model's own embedding and
    output: its `weights` are then those layers alone (0 bytes when they are part of the checkpoint's size).

    Raises:
        NotSupportedError: its layers or widths are not known.
    """

    architecture: Architecture
    weights: WeightBytes
    kv_type: str = "f16"
    head: bool = False

    def __post_init__(self) -> None:
        require_known(self.architecture)

    @property
    def own_weights(self) -> WeightBytes:
        """Its weights, without an embedding where it uses the model's."""
        if not self.head:
            return self.weights
        return replace(self.weights, embedding=Bytes(0), experts=self.weights.experts or Bytes(0), tied=True)


@dataclass(frozen=True, slots=True)
class Extras:
    """All that is loaded beside a model."""

    lora: Lora | None = None
    projector: Projector | None = None
    draft: Draft | None = None


NO_EXTRAS = Extras()
"""Nothing beside the model."""


@dataclass(frozen=True, slots=True)
class LoraParameters:
    """Parameters of one adapter: `inputs` of all A and `outputs` of all B, of attention and dense feed forward.

    `guessed` is the part of layers whose projections are not known (latent and recurrent attention), within the
    others; `experts` is what adapters on every expert would add.
    """

    inputs: int
    outputs: int
    guessed: int
    experts: int

    @property
    def dense(self) -> int:
        """Parameters without those on experts."""
        return self.inputs + self.outputs


def lora_parameters(architecture: Architecture, rank: int, modules: Iterable[str] = LORA_MODULES) -> LoraParameters:
    """Count the parameters of a LoRA adapter: rank × (in + out) for each linear layer that it changes."""
    chosen = frozenset(modules)
    hidden = architecture.hidden
    query = architecture.query_width or hidden
    inputs = outputs = guessed = experts = 0
    for group in architecture.layers:
        if group.attention in (Attention.FULL, Attention.SLIDING):
            widths = {
                "q_proj": (hidden, query), "k_proj": (hidden, group.key_width), "v_proj": (hidden, group.value_width),
                "o_proj": (query, hidden),
            }  # fmt: skip
        else:
            # Such layers project in their own ways; the same number of square ones is on the careful side.
            widths = dict.fromkeys(_ATTENTION, (max(hidden, query), max(hidden, query)))
            guessed += group.count * sum(sum(widths[name]) for name in _ATTENTION & chosen)
        inputs += group.count * sum(widths[name][0] for name in _ATTENTION & chosen)
        outputs += group.count * sum(widths[name][1] for name in _ATTENTION & chosen)
    layers, parts = architecture.layer_count, _FEED_FORWARD & chosen
    if architecture.experts and architecture.expert_feed_forward:
        experts = layers * architecture.experts * len(parts) * (hidden + architecture.expert_feed_forward)
    elif architecture.feed_forward:
        wide = architecture.feed_forward
        into = {"gate_proj": (hidden, wide), "up_proj": (hidden, wide), "down_proj": (wide, hidden)}
        inputs += layers * sum(into[name][0] for name in parts)
        outputs += layers * sum(into[name][1] for name in parts)
    return LoraParameters(inputs * rank, outputs * rank, guessed * rank, experts * rank)


def lora_files(architecture: Architecture, lora: Lora, low: int, high: int) -> Range:
    """Bytes of all adapters as they lie in their files, with `low` to `high` bytes for a parameter.

    A known file size counts; experts count where the adapter's modules name them.
    """
    if lora.size is not None:
        return Range.exactly(lora.size * lora.count)
    found = lora_parameters(architecture, lora.rank, lora.modules)
    experts = found.experts if EXPERTS in lora.modules else 0
    most = Bytes((found.dense + experts) * high * lora.count)
    return Range(Bytes((found.dense + experts - found.guessed) * low * lora.count), most, most)


def projector_compute(projector: Projector) -> Range:
    """What a projector computes with, for one picture: it grows with the picture, so the range is wide."""
    size = projector.size
    return Range(
        Bytes(int(size * _PROJECTOR_LOW)), Bytes(round(size * _PROJECTOR)), Bytes(round(size * _PROJECTOR_HIGH))
    )


def plus(
    device: DeviceFootprint, *, weights: Range = NOTHING, kv_cache: Range = NOTHING, compute: Range = NOTHING
) -> DeviceFootprint:
    """The same device with more on it; the KV cache is added to what is needed and to what is allocated."""
    return replace(
        device, weights=device.weights + weights, kv_cache=device.kv_cache + kv_cache,
        kv_needed=device.kv_needed + kv_cache, compute=device.compute + compute,
    )  # fmt: skip


def beside(devices: Sequence[DeviceFootprint], others: Iterable[DeviceFootprint]) -> list[DeviceFootprint]:
    """`devices` with what `others` put on the same ones; the process and its libraries are there only once."""
    found = {(device.kind, device.index): device for device in devices}
    for other in others:
        key = (other.kind, other.index)
        if key in found:
            found[key] = plus(found[key], weights=other.weights, kv_cache=other.kv_needed, compute=other.compute)
        else:
            found[key] = other
    return list(found.values())


def pooled(devices: list[DeviceFootprint], machine: PlannedMachine) -> list[DeviceFootprint]:
    """The same where GPU and RAM are one memory: what lies in either is taken from what the GPU may use."""
    if len(machine.gpus) != 1 or not machine.gpus[0].model.unified_memory or len(devices) != len(DeviceKind):
        return devices
    gpu, ram = devices
    return [
        replace(
            gpu, weights=gpu.weights + ram.weights, kv_cache=gpu.kv_cache + ram.kv_cache,
            compute=gpu.compute + ram.compute, overhead=gpu.overhead + ram.overhead,
            kv_needed=gpu.kv_needed + ram.kv_needed,
        )
    ]  # fmt: skip


def extra_reasons(extras: Extras, *, lora: Range = NOTHING, lora_source: str = LORA_SOURCE) -> list[Reason]:
    """What is loaded beside the model, a sentence for each; `lora` is what the adapters take in all."""
    reasons = []
    if extras.lora is not None:
        reasons.append(
            Reason("lora", text("{count} LoRA adapters of rank {rank} take {low} to {high}", count=extras.lora.count,
                                rank=extras.lora.rank, low=format_bytes(lora.low), high=format_bytes(lora.high)),
                   lora_source)
        )  # fmt: skip
    if extras.projector is not None:
        reasons.append(
            Reason("projector", text("the projector for pictures takes {size}, and up to {compute} while it works",
                                     size=format_bytes(extras.projector.size),
                                     compute=format_bytes(projector_compute(extras.projector).high)),
                   f"{extras.projector.source}; {PROJECTOR_SOURCE}")
        )  # fmt: skip
    draft = extras.draft
    if draft is not None:
        size = format_bytes(draft.weights.total)
        reasons.append(
            Reason("draft-model",
                   text("a head that predicts more tokens takes {size} and keeps a KV cache of its own", size=size)
                   if draft.head
                   else text("the draft model takes {size} and keeps a KV cache of its own", size=size),
                   draft.weights.source)
        )  # fmt: skip
        reasons.extend(_draft_estimate(draft))
    return reasons


def _draft_estimate(draft: Draft) -> tuple[Reason, ...]:
    if draft.weights.exact:
        return ()
    low, high = draft.weights.span
    return (
        Reason("estimated-size",
               text("the draft model's size is an estimate: {low} to {high}", low=format_bytes(low),
                    high=format_bytes(high)), draft.weights.source),
    )  # fmt: skip
