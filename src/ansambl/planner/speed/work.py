"""What a model makes an engine do, whatever the device: bytes to read and operations to compute."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.architecture import Architecture, Attention
from ansambl.planner.memory.kv import cell_bytes
from ansambl.planner.memory.shares import split_weights
from ansambl.planner.speed.inputs import SpeedInputs

_SIXTEEN_BITS = 1.9
"""Bytes for each parameter, less what norms and biases of other sizes may change."""


@dataclass(frozen=True, slots=True)
class Work:
    """Bytes and operations of one placement.

    `plain` are the bytes that every token reads: layers without the routed experts, and the output layer; `layers` are
    the same without the output layer, which prefill computes for one token only. `experts` are the bytes of all routed
    experts, `active` the share of them that one token passes through. `kv` are the bytes of the KV cache that a token
    after the context reads. `plain_operations` and `expert_operations` are for each token of a prefill, the first with
    the attention's own; `token_operations` are those of a decoded token without its attention. `sixteen` says that the
    weights have 16 bits each or more.
    """

    plain: float
    layers: float
    experts: float
    active: float
    kv: float
    plain_operations: float
    expert_operations: float
    token_operations: float
    sixteen: bool


def work_of(inputs: SpeedInputs) -> Work:
    """The bytes and operations of `inputs`.

    Raises:
        UsageError: the KV cache's number format is not known.
    """
    architecture = inputs.architecture
    shares = split_weights(architecture, inputs.weights)
    active = architecture.experts_active / architecture.experts if architecture.experts else 0.0
    layers = float(shares.layers - shares.experts)
    # Of the input embedding one row is read; where it is the output layer too, it is read whole.
    plain = layers + (shares.output or shares.embedding)
    in_experts = min(
        architecture.active * 0.95, architecture.parameters * shares.experts / inputs.weights.total * active
    )
    return Work(
        plain=plain, layers=layers, experts=float(shares.experts), active=active,
        kv=kv_read(architecture, inputs.kv_type, inputs.context),
        plain_operations=2 * (architecture.active - in_experts)
        + attention_operations(architecture, inputs.cached, inputs.prompt),
        expert_operations=2 * in_experts, token_operations=2.0 * architecture.active,
        sixteen=inputs.weights.total >= _SIXTEEN_BITS * architecture.parameters,
    )  # fmt: skip


def kv_read(architecture: Architecture, kv_type: str, context: int) -> float:
    """Bytes of the KV cache that a token after `context` others reads, over all layers."""
    read = 0.0
    for group in architecture.layers:
        sliding = group.attention is Attention.SLIDING and group.window is not None
        seen = min(context, group.window or 0) if sliding else context
        read += group.count * (float(cell_bytes(group, kv_type)) * seen + group.state_bytes)
    return read


def attention_operations(architecture: Architecture, cached: int, prompt: int) -> float:
    """Operations of the attention for each token, in the mean over a prompt that follows `cached` tokens."""
    query = architecture.query_width or architecture.hidden
    operations = 0.0
    for group in architecture.layers:
        if group.attention is Attention.RECURRENT:
            continue
        seen = cached + prompt / 2
        if group.attention is Attention.SLIDING and group.window is not None:
            seen = min(seen, group.window)
        operations += group.count * 4 * query * seen
    return operations
