"""KV cache: bytes of one cell by number format, and the cells that llama.cpp allocates."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.planner.memory.inputs import UnknownSettingError

# Bytes of one element. Block formats: bytes of a block by its 32 elements (ggml-common.h).
_ELEMENT = {
    "f32": Fraction(4), "f16": Fraction(2), "bf16": Fraction(2), "q8_0": Fraction(34, 32), "q5_1": Fraction(24, 32),
    "q5_0": Fraction(22, 32), "q4_1": Fraction(20, 32), "q4_0": Fraction(18, 32), "iq4_nl": Fraction(18, 32),
    "fp8": Fraction(1),
    # ExLlamaV3: so many bits, and a 16-bit scale for each 32 elements (exllamav3 1.6.5 cache/quant.py).
    **{f"q{bits}": Fraction(2 * bits + 1, 16) for bits in range(2, 9)},
}  # fmt: skip
_SAME = {
    "auto": "f16", "fp16": "f16", "float16": "f16", "bfloat16": "bf16", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8",
}  # fmt: skip

KV_TYPES = frozenset(_ELEMENT)
"""The number formats of a KV cache whose sizes are known."""


def require_kv_type(kv_type: str, allowed: frozenset[str], engine: str) -> None:
    """Refuse a KV cache type that `engine` does not have, for K or for V.

    Raises:
        UsageError: it is not among `allowed`.
    """
    for name in kv_type.split("/"):
        if _SAME.get(name.lower(), name.lower()) not in allowed:
            raise UnknownSettingError(
                text("{engine} has no kv_type '{name}'; it has {known}", engine=engine, name=name,
                     known=", ".join(sorted(allowed)))
            )  # fmt: skip


# A plan asks thousands of times for a few hundred models at one context.
_REMEMBERED = 4096

CELL_PADDING = 256
"""llama.cpp allocates cells in multiples of this (source: llama-context.cpp, llama-kv-cache-iswa.cpp)."""


def element_bytes(kv_type: str) -> tuple[Fraction, Fraction]:
    """Bytes of one element of K and of V; ``"q8_0/q4_0"`` names them apart.

    Raises:
        UsageError: the format is not known.
    """
    key, _, value = kv_type.partition("/")
    found = []
    for name in (key, value or key):
        plain = _SAME.get(name.lower(), name.lower())
        if plain not in _ELEMENT:
            raise UsageError(
                text("kv_type '{name}' is not known; known are {known}", name=name, known=", ".join(sorted(KV_TYPES)))
            )
        found.append(_ELEMENT[plain])
    return found[0], found[1]


@lru_cache(maxsize=_REMEMBERED)
def cell_bytes(group: LayerGroup, kv_type: str) -> Fraction:
    """Bytes that one token takes in one layer of `group`; 0 for a recurrent layer."""
    if group.attention is Attention.RECURRENT:
        return Fraction(0)
    key, value = element_bytes(kv_type)
    return group.key_width * key + group.value_width * value


def padded(cells: int, to: int = CELL_PADDING) -> int:
    """`cells` rounded up to a multiple of `to`."""
    return -(-cells // to) * to


def stream_cells(group: LayerGroup, *, stream: int, sequences: int, n_ubatch: int, swa_full: bool) -> int:
    """Cells of one layer of `group` in one stream of llama.cpp.

    `stream` is the padded cells of a layer that sees everything; `sequences` share the stream (1 when every slot has
    its own). A sliding layer keeps its window for each sequence and room for one batch (llama-kv-cache-iswa.cpp).
    """
    if group.attention is Attention.RECURRENT:
        return 0
    if group.attention is not Attention.SLIDING or group.window is None or swa_full:
        return stream
    return min(stream, padded(group.window * sequences + n_ubatch))


def llama_cpp_layer_bytes(
    group: LayerGroup, kv_type: str, *, context: int, parallel: int, unified: bool, n_ubatch: int, swa_full: bool
) -> Bytes:
    """Bytes of the KV cache of one layer of `group` in llama.cpp; `context` is tokens per sequence."""
    streams, sequences = (1, parallel) if unified else (parallel, 1)
    stream = padded(context * sequences)
    cells = stream_cells(group, stream=stream, sequences=sequences, n_ubatch=n_ubatch, swa_full=swa_full)
    # Falcon-H1 keeps a state beside the keys and values of every layer.
    state = group.state_bytes * parallel
    return Bytes(round(cells * streams * cell_bytes(group, kv_type)) + state)


@lru_cache(maxsize=_REMEMBERED)
def llama_cpp_bytes(
    architecture: Architecture, kv_type: str, *, context: int, parallel: int, unified: bool = False,
    n_ubatch: int = 512, swa_full: bool = False,
) -> Bytes:  # fmt: skip
    """Bytes of llama.cpp's whole KV cache, as it logs them."""
    return Bytes(
        sum(
            group.count
            * llama_cpp_layer_bytes(
                group, kv_type, context=context, parallel=parallel, unified=unified, n_ubatch=n_ubatch,
                swa_full=swa_full,
            )
            for group in architecture.layers
        )
    )  # fmt: skip
