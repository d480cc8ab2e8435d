"""vLLM's KV cache manager: pages, groups of layers, and how many tokens and sequences a pool holds.

Layers of one kind form groups of equal size that share one pool of blocks; a block holds one page of each layer of a
group. Pages of all kinds are of equal size: kinds with smaller cells get more tokens in a page. Source: vLLM 0.33.0
``kv_cache_interface.py`` and ``kv_cache_utils.py``; checked against the logs named in ``tests/data/planner``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.planner.memory import kv
from ansambl.planner.memory.ranks import kv_share

# From this version on, the printed size is concurrency × longest sequence; until 0.19 it was blocks by groups. Logs of
# 0.19 (2026-04) and of 0.22.0 show either; in between the careful one is used.
_TOKENS_BY_CONCURRENCY = (0, 22)
# Layers of two kinds that are nearly equal in number are filled up to the greater instead of the smaller number.
_NEARLY_EQUAL = 1.25


@dataclass(frozen=True, slots=True)
class _Kind:
    group: LayerGroup
    tokens: int
    groups: int


def _ceil(value: int, by: int) -> int:
    return -(-value // by)


@dataclass(frozen=True, slots=True)
class Pool:
    """How a model's KV cache is cut into blocks.

    `block` is bytes of one block (a page of each layer of one group), `groups` how many groups share the pool, `states`
    how many pages of a layer with a state one sequence holds.
    """

    block: int
    groups: int
    block_size: int
    kinds: tuple[_Kind, ...]
    max_batched: int
    version: tuple[int, ...]
    states: int = 1

    def blocks_for(self, tokens: int) -> int:
        """Blocks that one sequence of `tokens` takes."""
        total = 0
        for kind in self.kinds:
            if kind.group.attention is Attention.RECURRENT:
                total += kind.groups * self.states
            elif kind.group.attention is Attention.SLIDING and kind.group.window:
                held = min(kind.group.window - 1 + self.max_batched, tokens)
                total += kind.groups * (_ceil(held, kind.tokens) + 1)
            else:
                total += kind.groups * _ceil(tokens, kind.tokens)
        return total

    def bytes_for(self, tokens: int, sequences: int) -> int:
        """Bytes of the pool that `sequences` of `tokens` each need."""
        return self.blocks_for(tokens) * sequences * self.block

    def concurrency(self, size: int, tokens: int) -> float:
        """How many sequences of `tokens` a pool of `size` bytes holds."""
        return (size // self.block) / max(1, self.blocks_for(tokens))

    def capacity_tokens(self, size: int, longest: int) -> int:
        """The number that vLLM prints as the KV cache's size in tokens; `longest` is its ``max_model_len``."""
        blocks = size // self.block
        if self.version >= _TOKENS_BY_CONCURRENCY:
            return int(blocks / max(1, self.blocks_for(longest)) * longest)
        return blocks // self.groups * self.block_size


def make_pool(
    architecture: Architecture, kv_type: str, *, block_size: int, tensor_parallel: int, max_batched: int,
    version: tuple[int, ...], states: int = 1,
) -> Pool:  # fmt: skip
    """Cut the KV cache of one rank into blocks."""
    groups = [group for group in architecture.layers if group.count]
    cells: list[Fraction] = [
        kv.cell_bytes(group, kv_type) * kv_share(architecture, group, tensor_parallel) for group in groups
    ]
    state = max((group.state_bytes for group in groups), default=0) / tensor_parallel
    largest = max(cells, default=Fraction(0))
    size = block_size
    if state and largest:
        # A page must hold the state of a recurrent layer.
        size = _ceil(int(state / largest) + 1, block_size) * block_size
    page = max(largest * size, Fraction(state)) or Fraction(1)
    if len({group.attention for group in groups}) == 1 and len(set(cells)) == 1:
        layers = sum(group.count for group in groups)
        return Pool(int(page * layers), 1, size, (_Kind(groups[0], size, 1),), max_batched, version, states)
    fewest, most = min(group.count for group in groups), max(group.count for group in groups)
    width = most if most < _NEARLY_EQUAL * fewest else fewest
    kinds = tuple(
        _Kind(group, int(page / cell) if cell else size, _ceil(group.count, width))
        for group, cell in zip(groups, cells, strict=True)
    )
    return Pool(int(page * width), sum(kind.groups for kind in kinds), size, kinds, max_batched, version, states)
