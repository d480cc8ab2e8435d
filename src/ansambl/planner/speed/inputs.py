"""What a speed forecast is made from: a model, and which part of it lies on which device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansambl.domain.architecture import Architecture
from ansambl.domain.device import PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.figures import figure
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.text import text
from ansambl.planner.memory.inputs import LONGEST_CONTEXT, MOST_PARALLEL


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a model that one device holds: shares (0 to 1) of the layers without experts, and of the experts."""

    device: PlannedDevice
    layers: float
    experts: float


@dataclass(frozen=True, slots=True)
class SpeedInputs:
    """One placement to forecast.

    The format of the weights counts by the bytes that they take. `context` is the tokens before the
    one that is decoded, `prompt` the tokens of a prefill and `cached` those before it that need no prefill (a shared
    prefix). `parallel` sequences are decoded at once, each with `context`. `batch_tokens` is how many tokens an engine
    computes at once (llama.cpp's ``n_ubatch``, vLLM's ``max_num_batched_tokens``), None for its default.
    `split_tensors` says that the devices work on each layer together (vLLM's tensor parallelism) and not one after the
    other.

    Raises:
        UsageError: a length makes no sense, or the parts do not make up one model.
    """

    architecture: Architecture
    weights: WeightBytes
    parts: tuple[Part, ...]
    context: int = 0
    prompt: int = 1024
    kv_type: str = "f16"
    split_tensors: bool = False
    parallel: int = 1
    cached: int = 0
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("context", self.context, 0, LONGEST_CONTEXT),
            ("prompt", self.prompt, 1, LONGEST_CONTEXT),
            ("cached", self.cached, 0, LONGEST_CONTEXT),
            ("parallel", self.parallel, 1, MOST_PARALLEL),
            ("batch_tokens", 1 if self.batch_tokens is None else self.batch_tokens, 1, LONGEST_CONTEXT),
        ):
            if not least <= value <= most:
                raise UsageError(
                    text("{name} is {value}; give a whole number from {least} to {most}",
                         name=name, value=value, least=least, most=most)
                )  # fmt: skip
        for share in (sum(part.layers for part in self.parts), sum(part.experts for part in self.parts)):
            if abs(share - 1) > 1e-6 or any(min(part.layers, part.experts) < 0 for part in self.parts):
                raise UsageError(
                    text(
                        "the devices hold {share} of the model; give shares that make up 1", share=figure(share, ".3f")
                    )
                )


def spread_over(devices: Sequence[PlannedDevice]) -> tuple[Part, ...]:
    """The whole model in equal parts over `devices`."""
    share = 1 / len(devices) if devices else 0.0
    return tuple(Part(device, share, share) for device in devices)


def with_experts_in_ram(parts: Sequence[Part], ram: PlannedDevice, share: float = 1.0) -> tuple[Part, ...]:
    """The same with `share` of the experts moved into `ram` (llama.cpp's ``--n-cpu-moe`` over all layers)."""
    return (*(replace(part, experts=part.experts * (1 - share)) for part in parts), Part(ram, 0.0, share))
