"""Parts that model files of random weights are put together from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

VOCABULARY = 4096
Shape = tuple[int, ...]
# Types that a tensor of rows is written in; one-dimensional tensors are always 32-bit floats.
_TYPE = "F16"


@dataclass
class Model:
    """What a file holds: fields of its header, and tensors as name to type and shape."""

    family: str
    fields: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, tuple[str, Shape]] = field(default_factory=dict)

    def say(self, **values: Any) -> None:
        """Fields of this architecture; two underscores stand for a dot."""
        for name, value in values.items():
            self.fields[f"{self.family}.{name.replace('__', '.')}"] = value

    def add(self, name: str, *shape: int, kind: str | None = None) -> None:
        """A tensor of weights (one of biases or norms where it has one dimension)."""
        self.tensors[f"{name}.weight"] = (kind or (_TYPE if len(shape) > 1 else "F32"), shape)

    def bias(self, name: str, *shape: int) -> None:
        """A tensor of biases."""
        self.tensors[f"{name}.bias"] = ("F32", shape)


@dataclass(frozen=True)
class Sizes:
    """Widths of a model; what an architecture does not have is ignored."""

    layers: int = 6
    hidden: int = 512
    heads: int = 8
    kv_heads: int = 2
    head: int = 64
    feed_forward: int = 1536
    experts: int = 16
    used: int = 4
    expert_width: int = 256
    window: int = 512


def base(family: str, sizes: Sizes, *, tied: bool = False, **more: Any) -> Model:
    """What every decoder has: its counts, the embedding, the last norm and the output."""
    model = Model(family)
    model.say(
        block_count=sizes.layers, context_length=32768, embedding_length=sizes.hidden,
        feed_forward_length=sizes.feed_forward, attention__head_count=sizes.heads,
        attention__head_count_kv=sizes.kv_heads, attention__layer_norm_rms_epsilon=1e-6, vocab_size=VOCABULARY,
    )  # fmt: skip
    model.say(**more)
    model.add("token_embd", sizes.hidden, VOCABULARY)
    model.add("output_norm", sizes.hidden)
    if not tied:
        model.add("output", sizes.hidden, VOCABULARY)
    return model


def attention(model: Model, layer: str, sizes: Sizes, *, norms: bool = False, biases: bool = False) -> None:
    """Keys, values and queries of one layer, and the norm before them."""
    query, keys = sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    model.add(f"{layer}.attn_norm", sizes.hidden)
    for name, width in (("q", query), ("k", keys), ("v", keys)):
        model.add(f"{layer}.attn_{name}", sizes.hidden, width)
        if biases:
            model.bias(f"{layer}.attn_{name}", width)
    model.add(f"{layer}.attn_output", query, sizes.hidden)
    if norms:
        model.add(f"{layer}.attn_q_norm", sizes.head)
        model.add(f"{layer}.attn_k_norm", sizes.head)


def dense(model: Model, layer: str, hidden: int, width: int, *, suffix: str = "") -> None:
    """A gated feed-forward part."""
    model.add(f"{layer}.ffn_gate{suffix}", hidden, width)
    model.add(f"{layer}.ffn_up{suffix}", hidden, width)
    model.add(f"{layer}.ffn_down{suffix}", width, hidden)


def experts(model: Model, layer: str, sizes: Sizes, *, kind: str | None = None) -> None:
    """Routed experts and their router."""
    model.add(f"{layer}.ffn_gate_inp", sizes.hidden, sizes.experts, kind="F32")
    for name in ("gate", "up"):
        model.add(f"{layer}.ffn_{name}_exps", sizes.hidden, sizes.expert_width, sizes.experts, kind=kind)
    model.add(f"{layer}.ffn_down_exps", sizes.expert_width, sizes.hidden, sizes.experts, kind=kind)


def blocks(sizes: Sizes) -> Iterator[tuple[int, str]]:
    """The layers: number and the first part of their tensors\' names."""
    return ((index, f"blk.{index}") for index in range(sizes.layers))
