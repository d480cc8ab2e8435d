"""The size of a model once PyTorch has loaded it: 16 or 32 bits, bitsandbytes' 4 or 8 bits, MXFP4 unpacked or not."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.architecture import Architecture
from ansambl.domain.footprint import Range, WeightBytes
from ansambl.domain.units import Bytes
from ansambl.planner.memory.shares import around, split_weights, spread

# MXFP4: 4 bits and a shared 8-bit scale for 32 values.
_MXFP4_BITS = 4.25
# bitsandbytes: a 32-bit scale for 64 values, or 0.127 bits where the scales are quantized too (arXiv:2305.14314).
BNB4_BITS, BNB4_DOUBLE_BITS = 4 + 32 / 64, 4.127
BNB8_BITS = 8.0
# A checkpoint this near to two bytes a parameter is a 16-bit one: published parameter counts are rounded.
_SIXTEEN_LOW, _SIXTEEN_HIGH = 1.85, 2.15

BNB_SOURCE = "bitsandbytes 0.50.2 nn/modules.py; QLoRA (arXiv:2305.14314); transformers 5.23 quantizer_bnb_4bit.py"
MXFP4_SOURCE = "transformers 5.23 quantizer_mxfp4.py: unpacked to bf16 without triton 3.4 and the package kernels"


@dataclass(frozen=True, slots=True)
class Parts:
    """Parameters by what becomes of them: `ends` (embedding, output) and `experts` are no plain linear layers."""

    ends: int
    experts: int
    linear: int


def parameter_parts(architecture: Architecture, weights: WeightBytes) -> Parts:
    """Divide a model's parameters."""
    ends = architecture.vocabulary * architecture.hidden * (1 if weights.tied else 2)
    ends = min(ends, architecture.parameters)
    width = architecture.expert_feed_forward or 0
    experts = 3 * architecture.experts * architecture.hidden * width * architecture.layer_count
    experts = min(experts, architecture.parameters - ends)
    return Parts(ends, experts, architecture.parameters - ends - experts)


def is_sixteen_bit(architecture: Architecture, weights: WeightBytes) -> bool:
    """Whether a checkpoint's size is that of two bytes a parameter."""
    return _SIXTEEN_LOW <= weights.total / max(1, architecture.parameters) <= _SIXTEEN_HIGH


def as_stored(weights: WeightBytes) -> Range:
    """A checkpoint that is kept as its files have it."""
    return spread(around(weights.total, 0.99, 1.03), weights)


def in_float(architecture: Architecture, weights: WeightBytes, size: int) -> Range:
    """All parameters in `size` bytes each."""
    if is_sixteen_bit(architecture, weights):
        return spread(around(weights.total * size / 2, 0.99, 1.01), weights)
    return around(architecture.parameters * size, 0.97, 1.03)


def mxfp4_unpacked(architecture: Architecture, weights: WeightBytes) -> Range:
    """An MXFP4 checkpoint whose experts were unpacked to bf16."""
    experts = split_weights(architecture, weights).experts
    size = weights.total - experts + experts * 16 / _MXFP4_BITS
    return spread(around(size, 0.99, 1.02), weights)


def in_bitsandbytes(architecture: Architecture, weights: WeightBytes, bits: float) -> Range:
    """Linear layers in `bits`, embedding and output in 16 bits.

    Experts that a model keeps in one tensor for all of them are no linear layers and stay in 16 bits; the low end is
    a model with plain linear experts.
    """
    parts = parameter_parts(architecture, weights)
    linear = parts.linear * bits / 8 + parts.ends * 2
    low, high = linear + parts.experts * bits / 8, linear + parts.experts * 2
    return Range(Bytes(int(low * 0.97)), Bytes(round(high)), Bytes(round(high * 1.04)))
