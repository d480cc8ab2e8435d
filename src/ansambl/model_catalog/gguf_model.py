"""From the headers of a GGUF checkpoint to what a planner must know: the architecture, and where the bytes lie.

The rules are llama.cpp's, by the keys that its converter writes and its loader reads (gguf-py constants, the loaders
of the single architectures); a key of an unknown family is read by its general meaning, and where that leaves a doubt
the reading that needs more memory is taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.catalog import LayerWeights, Weights
from ansambl.domain.units import Bytes
from ansambl.model_catalog.gguf import GgufError, GgufHeader, Tensor, read_header
from ansambl.model_catalog.numbers import MAX_CONTEXT, MAX_LAYERS, MAX_WIDTH, MissingError, grouped, periodic, sensible

_SPLIT_NAME = re.compile(r"^(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf$")
_BLOCK = re.compile(r"^blk\.(\d{1,4})\.(.+)$")

# One layer in so many sees everything, where the file leaves it out.
_PERIODS = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "olmo2": 4, "afmoe": 4,
    "smallthinker": 4, "plamo3": 8, "llama4": 4,
}  # fmt: skip
_DENSE_FIRST = {"smallthinker"}
_DEFAULT_WINDOWS = {"gemma2": 4096, "llama4": 8192}
_RECURRENT_FAMILIES = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
_PARALLEL_HYBRIDS = {"falcon-h1"}
_ENCODERS = {
    "bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "eurobert",
    "gemma-embedding",
}  # fmt: skip
# Written anew for x86 processors in groups of 8 rows: Q4_0, Q4_K, IQ4_NL, MXFP4 (llama.cpp b11549 logs "CPU_REPACK").
_REPACKED_KINDS, _REPACKED_ROWS = {2, 12, 20, 39}, 8
_STATE_ELEMENT = 4
"""llama.cpp keeps recurrent states in 32-bit floats."""


def first_part(path: Path) -> Path:
    """The first file of the checkpoint that `path` is a part of, by its name; `path` itself when it is not divided."""
    match = _SPLIT_NAME.match(path.name)
    return path.with_name(f"{match['stem']}-00001-of-{match['count']}.gguf") if match else path


def split_parts(path: Path, count: int) -> list[Path]:
    """All files of a checkpoint that is divided into `count`, of which `path` is the first.

    Raises:
        GgufError: `path` is not the first, or a part is missing.
    """
    if count == 1:
        return [path]
    match = _SPLIT_NAME.match(path.name)
    if not match or int(match["index"]) != 1 or int(match["count"]) != count:
        message = f"it is one of {count} parts; give the first, whose name ends with -00001-of-NNNNN.gguf"
        raise GgufError(message)
    parts = [path.with_name(f"{match['stem']}-{index:05d}-of-{match['count']}.gguf") for index in range(1, count + 1)]
    for part in parts:
        if not part.is_file():
            message = f"its part {part.name} is missing"
            raise GgufError(message)
    return parts


def read_parts(path: Path) -> list[tuple[Path, GgufHeader]]:
    """The headers of all files of the checkpoint that `path` is a part of; the first says what the model is.

    Raises:
        GgufError: a file is no GGUF file, or a part is missing.
        OSError: one cannot be read.
    """
    given, path = path, first_part(path)
    if path != given and not path.exists() and given.exists():
        message = f"its part {path.name} is missing"
        raise GgufError(message)
    first = read_header(path)
    parts = split_parts(path, first.split_count)
    return [(path, first), *((part, read_header(part)) for part in parts[1:])]


class _Keys:
    """The fields of one architecture."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        self.family = header.architecture or ""

    def number(self, key: str, default: int | None = None, *, least: int = 0, most: int = MAX_WIDTH) -> int:
        name = f"{self.family}.{key}"
        if name not in self.header.fields:
            if default is None:
                message = f"the header does not say '{name}'"
                raise MissingError(message)
            return default
        return sensible(name, self.header.fields[name], least=least, most=most)

    def has(self, key: str) -> bool:
        return f"{self.family}.{key}" in self.header.fields

    def per_layer(self, key: str, layers: int, default: int | None = None) -> list[int]:
        """A number for each layer: from a list, or the same for all."""
        name = f"{self.family}.{key}"
        if name in self.header.lists:
            # A pattern of sliding layers may be a list of yes and no.
            items = [sensible(name, int(one) if isinstance(one, bool) else one) for one in self.header.lists[name]]
            if not items:
                message = f"the list '{name}' in the header holds no numbers"
                raise GgufError(message)
            # llama.cpp wants one for each layer; a shorter list repeats.
            return [items[index % len(items)] for index in range(layers)]
        return [self.number(key, default)] * layers


def _sliding(keys: _Keys, layers: int) -> tuple[Sequence[bool], int | None]:
    """Which layers see only a window, and its length in tokens."""
    window = keys.number("attention.sliding_window", _DEFAULT_WINDOWS.get(keys.family, 0), most=MAX_CONTEXT)
    period = _PERIODS.get(keys.family)
    pattern = "attention.sliding_window_pattern"
    if not window:
        return [False] * layers, None
    if f"{keys.family}.{pattern}" in keys.header.lists:
        return [bool(one) for one in keys.per_layer(pattern, layers)], window
    if keys.has(pattern):
        period = keys.number(pattern, most=MAX_LAYERS)
    if period is None:
        return [False] * layers, None
    return periodic(layers, period, dense_first=keys.family in _DENSE_FIRST), window


def _state_bytes(keys: _Keys, hidden: int) -> Bytes:
    """What one recurrent layer keeps for a sequence: the convolution's last inputs and the state itself."""
    if keys.has("wkv.head_size"):
        shifts = keys.number("token_shift_count", 2)
        return Bytes((shifts * hidden + hidden * keys.number("wkv.head_size")) * _STATE_ELEMENT)
    if keys.has("shortconv.l_cache"):
        return Bytes(hidden * max(keys.number("shortconv.l_cache") - 1, 0) * _STATE_ELEMENT)
    if not keys.has("ssm.state_size"):
        return Bytes(0)
    kernel, inner = keys.number("ssm.conv_kernel"), keys.number("ssm.inner_size")
    state, groups = keys.number("ssm.state_size"), keys.number("ssm.group_count", 0)
    return Bytes((max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner) * _STATE_ELEMENT)


def _recurrent(keys: _Keys, layers: int, kv_heads: list[int]) -> list[bool]:
    """Which layers keep a state instead of keys and values."""
    if keys.family in _RECURRENT_FAMILIES:
        return [True] * layers
    interval = keys.number("full_attention_interval", _INTERVALS.get(keys.family, 0), most=MAX_LAYERS)
    if interval:
        return [(index + 1) % interval != 0 for index in range(layers)]
    if not (keys.has("ssm.state_size") or keys.has("shortconv.l_cache")):
        return [False] * layers
    # In Nemotron-H a layer without attention may also be a plain feed-forward layer, which keeps nothing.
    widths = keys.per_layer("feed_forward_length", layers, 0)
    plain = keys.family.startswith("nemotron_h")
    return [heads == 0 and not (plain and width) for heads, width in zip(kv_heads, widths, strict=True)]


def _layers(keys: _Keys, hidden: int, heads: int) -> tuple[LayerGroup, ...]:
    count = keys.number("block_count", least=1, most=MAX_LAYERS)
    default = 0 if keys.family in _RECURRENT_FAMILIES else heads
    kv_heads = keys.per_layer("attention.head_count_kv", count, default)
    head = hidden // heads if heads else 0
    key, value = keys.number("attention.key_length", head), keys.number("attention.value_length", head)
    key_swa, value_swa = keys.number("attention.key_length_swa", key), keys.number("attention.value_length_swa", value)
    sliding, window = _sliding(keys, count)
    recurrent, state = _recurrent(keys, count, kv_heads), _state_bytes(keys, hidden)
    # Layers at the end that reuse the keys of earlier ones, and those that only guess ahead, keep nothing.
    kept = count - keys.number("attention.shared_kv_layers", 0) - keys.number("nextn_predict_layers", 0)
    latent = 0
    if keys.has("attention.key_length_mla") and keys.has("attention.kv_lora_rank"):
        latent = keys.number("attention.kv_lora_rank") + keys.number("rope.dimension_count", 0)

    def layer(index: int) -> LayerGroup:
        width = kv_heads[index] if index < kept and keys.family not in _ENCODERS else 0
        if recurrent[index]:
            return LayerGroup(1, Attention.RECURRENT, state_bytes=state)
        if latent:
            return LayerGroup(1, Attention.LATENT, latent if width else 0)
        if sliding[index]:
            return LayerGroup(1, Attention.SLIDING, width * key_swa, width * value_swa, window)
        extra = state if keys.family in _PARALLEL_HYBRIDS else Bytes(0)
        return LayerGroup(1, Attention.FULL, width * key, width * value, None, extra)

    return grouped(layer(index) for index in range(count))


def architecture(headers: Sequence[GgufHeader]) -> Architecture:
    """The inside of the model whose files have these headers, the first file first.

    Raises:
        MissingError: the first header does not say something that is needed, as in a projector or a LoRA adapter.
        NonsenseError: a number makes no sense; the message names the field.
        GgufError: a list makes no sense.
    """
    keys = _Keys(headers[0])
    if not keys.family:
        message = "the header does not say 'general.architecture'"
        raise MissingError(message)
    hidden = keys.number("embedding_length", least=1)
    recurrent = keys.family in _RECURRENT_FAMILIES
    heads = max(keys.per_layer("attention.head_count", keys.number("block_count", least=1, most=MAX_LAYERS),
                               0 if recurrent else None))  # fmt: skip
    experts, used = keys.number("expert_count", 0), keys.number("expert_used_count", 0)
    total = in_experts = 0
    for header in headers:
        for tensor in header.table:
            total += tensor.elements
            if "_exps." in tensor.name:
                in_experts += tensor.elements
    active = total - in_experts + (in_experts * min(used, experts) // experts if experts else in_experts)
    return Architecture(
        family=keys.family, parameters=total, active=active, layers=_layers(keys, hidden, heads), hidden=hidden,
        vocabulary=_vocabulary(keys), heads=heads, context=keys.number("context_length", 0, most=MAX_CONTEXT) or None,
        feed_forward=_feed_forward(keys, headers, experts) or None, experts=experts, experts_active=used,
        expert_feed_forward=keys.number("expert_feed_forward_length", 0) or None,
        query_width=heads * keys.number("attention.key_length", 0) or None,
        latent_head=keys.number("attention.key_length_mla", 0), query_rank=keys.number("attention.q_lora_rank", 0),
        latent_rope=keys.number("rope.dimension_count", 0) if keys.has("attention.key_length_mla") else 0,
        recurrent_inner=keys.number("ssm.inner_size", hidden if keys.has("shortconv.l_cache") else 0),
        recurrent_keys=keys.number("ssm.group_count", 0) * keys.number("ssm.state_size", 0),
    )  # fmt: skip


def _feed_forward(keys: _Keys, headers: Sequence[GgufHeader], experts: int) -> int:
    """The widest dense layer. A model of experts says a width for it even where no layer is dense."""
    dense = [
        tensor.shape[0] for header in headers for tensor in header.table
        if tensor.name.endswith((".ffn_down.weight", ".ffn_down_shexp.weight")) and len(tensor.shape) > 1
    ]  # fmt: skip
    if dense or experts:
        return max(dense, default=0)
    return max(keys.per_layer("feed_forward_length", keys.number("block_count"), 0))


def _vocabulary(keys: _Keys) -> int:
    for tensor in keys.header.table:
        if tensor.name == "token_embd.weight" and len(tensor.shape) == 2:
            return sensible("token_embd.weight", tensor.shape[1], most=MAX_CONTEXT)
    return keys.header.lengths.get("tokenizer.ggml.tokens", keys.number("vocab_size", 0))


def weights(headers: Sequence[GgufHeader], layers: int) -> Weights | None:
    """Where the bytes of all tensors lie; None when a tensor's type is not known."""
    dense, experts = [0] * layers, [0] * layers
    embedding = output = other = 0
    for header in headers:
        for tensor in header.table:
            size = tensor.size
            if size is None:
                return None
            match = _BLOCK.match(tensor.name)
            if match and int(match[1]) < layers:
                (experts if "_exps." in tensor.name else dense)[int(match[1])] += size
            elif tensor.name == "token_embd.weight":
                embedding += size
            elif tensor.name == "output.weight":
                output += size
            else:
                other += size
    return Weights(
        tuple(LayerWeights(Bytes(one), Bytes(two)) for one, two in zip(dense, experts, strict=True)),
        Bytes(embedding), Bytes(output), Bytes(other), _repack(headers),
    )  # fmt: skip


def _repack(headers: Sequence[GgufHeader]) -> Bytes:
    """What llama.cpp keeps beside the tensors' own bytes once it has written some of them anew for the processor.

    Of each file it keeps all between the first and the last tensor that is used as it is. An embedding that is the
    output too is kept as it is for the one and written anew for the other.
    """
    table = {one.name: one for header in headers for one in header.table}
    tied = table.get("token_embd.weight") if "output.weight" not in table else None
    kept = (tied.size or 0) if tied and _has_repacked_form(tied) else 0
    for header in headers:
        anew = [one for one in header.table if _is_repacked(one)]
        as_is = [one for one in header.table if not _is_repacked(one)]
        if anew:
            ends = [one.offset + (one.size or 0) for one in as_is]
            kept += max(ends, default=0) - min((one.offset for one in as_is), default=0)
            kept -= sum(one.size or 0 for one in as_is)
    return Bytes(kept)


def _has_repacked_form(tensor: Tensor) -> bool:
    rows = tensor.shape[1] if len(tensor.shape) > 1 else 0
    return tensor.kind in _REPACKED_KINDS and rows > 0 and rows % _REPACKED_ROWS == 0


def _is_repacked(tensor: Tensor) -> bool:
    # Rows of the embedding are looked up one by one.
    return _has_repacked_form(tensor) and tensor.name not in ("token_embd.weight", "per_layer_token_embd.weight")
