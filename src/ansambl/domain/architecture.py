"""What a planner must know of a model's inside: layers that keep a KV cache, widths, experts. No weights, no names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.units import Bytes


class Attention(StrEnum):
    """What a layer keeps for each token that it has seen."""

    FULL = "full"
    SLIDING = "sliding"
    LATENT = "latent"
    RECURRENT = "recurrent"


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers of one kind.

    `key_width` and `value_width` are elements for each token and layer (KV heads times head size). A sliding layer
    sees `window` tokens; a latent layer keeps `key_width` elements in all (its `value_width` is 0); a recurrent layer
    keeps `state_bytes` for each sequence, whatever its length.
    """

    count: int
    attention: Attention
    key_width: int = 0
    value_width: int = 0
    window: int | None = None
    state_bytes: Bytes = Bytes(0)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's inside. Widths are in elements, counts are plain; what is unknown is None.

    `parameters` counts all, `active` those that one token passes through (equal for a dense model). `query_width` is
    heads times head size, None where it equals `hidden`. `feed_forward` is the widest dense layer, None where there is
    none. Latent attention: `latent_head` is one head's query before it is made latent and `latent_rope` its part that
    carries the position; `query_rank` is the width between the two steps that make it. Recurrent layers:
    `recurrent_inner` is the width of their values, `recurrent_keys` groups times state size. 0 is unknown.
    """

    family: str
    parameters: int
    active: int
    layers: tuple[LayerGroup, ...]
    hidden: int
    vocabulary: int
    heads: int
    context: int | None = None
    feed_forward: int | None = None
    experts: int = 0
    experts_active: int = 0
    expert_feed_forward: int | None = None
    query_width: int | None = None
    latent_head: int = 0
    latent_rope: int = 0
    query_rank: int = 0
    recurrent_inner: int = 0
    recurrent_keys: int = 0

    @property
    def layer_count(self) -> int:
        """All layers."""
        return sum(group.count for group in self.layers)
