"""LoRA adapters as the PEFT library saves them: a folder with a description and one safetensors file.

Written after PEFT's documentation of `LoraConfig` and of its checkpoint format, and tried on what PEFT 0.21.2 saves.
Both files come from strangers: the description is decoded into fixed shapes, and no pattern of it is run as a regular
expression.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.model_catalog.lora.failures import named, unsupported, unusable
from ansambl.model_catalog.lora.records import PEFT, LoraFile, LoraPair
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.safetensors import StoredTensor, read_tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
MAX_CONFIG, MAX_RANK, MAX_PAIRS, MAX_INVOCATION = 1 << 20, 1 << 14, 100_000, 4096
_HASHED = 1 << 20
_PLAIN_INITS = {"gaussian", "eva", "orthogonal", "mica", "lora_ga"}
"""Ways to begin a training that leave the base weights as they are; others (PiSSA, OLoRA…) change them."""
_NUMBERS = {"F32", "F16", "BF16", "F64"}
_PARTS = {
    ".lora_A.weight": ("a", False), ".lora_B.weight": ("b", False),
    ".lora_embedding_A": ("a", True), ".lora_embedding_B": ("b", True),
}  # fmt: skip
_PREFIX = "base_model.model."
_COPIES = ("embed_tokens.base_layer.weight", "lm_head.base_layer.weight")
"""What vLLM and llama.cpp's converter pass over."""

_Rank = Annotated[int, msgspec.Meta(ge=1, le=MAX_RANK)]
_Alpha = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
_Word = Annotated[str, msgspec.Meta(max_length=1000)]


class _Config(msgspec.Struct):
    """The fields of the description that change what the numbers mean, or whether an engine takes them."""

    peft_type: _Word = "LORA"
    r: _Rank = 8
    lora_alpha: _Alpha = 8.0
    rank_pattern: Annotated[dict[_Word, _Rank], msgspec.Meta(max_length=10_000)] | None = None
    alpha_pattern: Annotated[dict[_Word, _Alpha], msgspec.Meta(max_length=10_000)] | None = None
    use_rslora: bool | None = False
    use_dora: bool | None = False
    use_qalora: bool | None = False
    use_bdlora: Any = None
    lora_bias: bool | None = False
    bias: _Word | None = "none"
    init_lora_weights: bool | _Word | None = True
    layer_replication: list[Any] | None = None
    base_model_name_or_path: _Word | None = None
    task_type: _Word | None = None
    invocation_string: _Word | None = None
    alora_invocation_tokens: (
        Annotated[list[Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]], msgspec.Meta(max_length=MAX_INVOCATION)] | None
    ) = None


def read_peft(folder: Path, *, hashed: bool = True) -> LoraFile:
    """Read the adapter in `folder`; of the numbers only the header is understood.

    All of them are read once for the identity, which is empty without `hashed`.

    Raises:
        UsageError: it is no adapter, it is damaged, or its parts contradict each other.
        NotSupportedError: it is of a kind that engines do not load.
    """
    with named(folder):
        config_path, weights = folder / CONFIG, folder / WEIGHTS
        if not config_path.is_file():
            raise unusable(folder, text("there is no {name} in it", name=CONFIG))
        if not weights.is_file():
            if (folder / PICKLED).exists():
                raise unsupported(
                    folder,
                    text("its weights are in {name}, a file that can hold program code which would run; save it as "
                         "{wanted}", name=PICKLED, wanted=WEIGHTS),
                )  # fmt: skip
            raise unusable(folder, text("there is no {name} in it", name=WEIGHTS))
        with config_path.open("rb") as file:
            content = file.read(MAX_CONFIG + 1)
        config = _decode(folder, content)
        _refuse_kinds(folder, config)
        tensors, notes = _without_copies(read_tensors(weights))
        pairs = _pairs(folder, config, tensors)
        size = weights.stat().st_size + len(content)
        identity = _identity(content, weights) if hashed else ""
    return LoraFile(
        PEFT, str(folder), str(weights), Bytes(size), pairs, config.lora_alpha, identity,
        base=printable(config.base_model_name_or_path, 200) if config.base_model_name_or_path else None,
        task=printable(config.task_type) if config.task_type else None,
        invocation=tuple(config.alora_invocation_tokens or ()), notes=notes,
    )  # fmt: skip


def _without_copies(tensors: tuple[StoredTensor, ...]) -> tuple[tuple[StoredTensor, ...], tuple[Text, ...]]:
    """The tensors without the copies of the base model's tables that PEFT saves beside an adapter of them."""
    kept = tuple(one for one in tensors if not one.name.endswith(_COPIES))
    if len(kept) == len(tensors):
        return kept, ()
    return kept, (
        text("the LoRA adapter holds a copy of the base model's table of tokens too, which engines leave out"),
    )


def _decode(folder: Path, content: bytes) -> _Config:
    if len(content) > MAX_CONFIG:
        raise unusable(
            folder, text("{name} is larger than any adapter needs ({limit} bytes)", name=CONFIG, limit=MAX_CONFIG)
        )
    try:
        return msgspec.json.decode(content, type=_Config)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        raise unusable(
            folder, text("{name} is not as PEFT writes it ({reason})", name=CONFIG, reason=printable(failure, 120))
        ) from failure


def _refuse_kinds(folder: Path, config: _Config) -> None:
    """Refuse what would be loaded wrongly or not at all.

    Source: the checks of vLLM 0.32 (`PEFTHelper`) and the loader of llama.cpp b11434, which know the same kinds.
    """
    if config.peft_type.upper() != "LORA":
        raise unsupported(folder, text("it is of the kind {kind}, not LoRA", kind=printable(config.peft_type, 40)))
    if config.use_dora:
        raise unsupported(folder, text("it is a DoRA adapter, which neither vLLM nor llama.cpp loads"))
    init = config.init_lora_weights
    if isinstance(init, str) and init.lower() not in _PLAIN_INITS:
        raise unsupported(
            folder,
            text("it was begun with {method}, which changes the base weights too; convert it with PEFT's "
                 "path_initial_model_for_weight_conversion", method=printable(init, 40)),
        )  # fmt: skip
    for name, found in (
        ("use_qalora", config.use_qalora), ("use_bdlora", config.use_bdlora), ("lora_bias", config.lora_bias),
        ("layer_replication", config.layer_replication),
        ("bias", config.bias if config.bias not in {None, "none"} else None),
    ):  # fmt: skip
        if found:
            raise unsupported(folder, text("it uses '{name}', which neither vLLM nor llama.cpp loads", name=name))
    if config.invocation_string and not config.alora_invocation_tokens:
        raise unsupported(
            folder,
            text("it is an activated LoRA whose invocation is a text; write its tokens as 'alora_invocation_tokens' "
                 "into {name}", name=CONFIG),
        )  # fmt: skip


def _pairs(folder: Path, config: _Config, tensors: tuple[StoredTensor, ...]) -> tuple[LoraPair, ...]:
    found: dict[str, dict[str, tuple[StoredTensor, bool]]] = {}
    if len(tensors) > 2 * MAX_PAIRS:
        raise unusable(folder, text("it has {count} tensors, more than any adapter", count=len(tensors)))
    for one in tensors:
        module, part, embedding = split_name(one.name)
        if part is None:
            raise unsupported(
                folder,
                text("it holds the whole weight {name} (modules_to_save or new tokens), and engines take only the "
                     "small matrices of LoRA", name=printable(one.name, 120)),
            )  # fmt: skip
        if one.kind not in _NUMBERS:
            raise unsupported(
                folder, text("{name} is of the type {kind}", name=printable(one.name, 120), kind=printable(one.kind))
            )
        if part in found.setdefault(module, {}):
            raise unusable(folder, text("it has two matrices for {name}", name=printable(module, 120)))
        found[module][part] = one, embedding
    if not found:
        raise unusable(folder, text("it holds no matrices"))
    return tuple(_pair(folder, config, module, parts) for module, parts in sorted(found.items()))


def split_name(name: str) -> tuple[str, str | None, bool]:
    """The module that a tensor belongs to, which of the two matrices it is ("a", "b" or None), and whether of a table.

    The module is named as in the base model: ``model.layers.0.self_attn.q_proj``.
    """
    for suffix, (part, embedding) in _PARTS.items():
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix).removeprefix(_PREFIX), part, embedding
    return name, None, False


def _pair(
    folder: Path, config: _Config, module: str, parts: Mapping[str, tuple[StoredTensor, bool]]
) -> LoraPair:  # fmt: skip
    shown = printable(module, 120)
    if len(parts) < 2:
        raise unusable(folder, text("one of the two matrices for {name} is missing", name=shown))
    (a, embedding), (b, other) = parts["a"], parts["b"]
    if len(a.shape) != 2 or len(b.shape) != 2 or embedding != other or 0 in (*a.shape, *b.shape):
        raise unusable(folder, text("the matrices for {name} are not two tables of numbers", name=shown))
    rank = a.shape[0]
    if rank != b.shape[1]:
        raise unusable(
            folder,
            text("the matrices for {name} do not fit each other: ranks {one} and {two}", name=shown, one=rank,
                 two=b.shape[1]),
        )  # fmt: skip
    if rank > MAX_RANK:
        raise unusable(folder, text("its rank is {rank}, more than {limit}", rank=rank, limit=MAX_RANK))
    said = _by_pattern(config.rank_pattern or {}, module)
    if said is None and config.rank_pattern and not all(map(_is_plain, config.rank_pattern)):
        said = rank
    if rank != (said or config.r):
        raise unusable(
            folder,
            text("{name} has rank {rank}, and {file} says {said}", name=shown, rank=rank, file=CONFIG,
                 said=said or config.r),
        )  # fmt: skip
    alpha = _alpha(folder, config, module)
    scale = alpha / (math.sqrt(rank) if config.use_rslora else rank)
    return LoraPair(module, a.shape[1], b.shape[0], rank, scale, embedding)


def _alpha(folder: Path, config: _Config, module: str) -> float:
    patterns = config.alpha_pattern or {}
    odd = next((one for one in patterns if not _is_plain(one)), None)
    if odd is not None:
        raise unsupported(
            folder,
            text(
                "its alpha_pattern has the regular expression '{pattern}'; write the modules out",
                pattern=printable(odd, 60),
            ),
        )
    found = _by_pattern(patterns, module)
    return config.lora_alpha if found is None else found


def _is_plain(pattern: str) -> bool:
    """Whether a key is the name of a module, or its end, and no other regular expression."""
    return pattern.removeprefix("^").replace(".", "").replace("_", "").replace("-", "").isalnum()


def _by_pattern(patterns: Mapping[str, Any], module: str) -> Any:
    """What PEFT finds for a module: the first key that is its name or the end of it after a dot."""
    for key, value in patterns.items():
        if not _is_plain(key):
            continue
        name = key.removeprefix("^")
        if module == name or (name == key and module.endswith(f".{name}")):
            return value
    return None


def _identity(content: bytes, weights: Path) -> str:
    digest = hashlib.sha256(len(content).to_bytes(8, "little") + content)
    with weights.open("rb") as file:
        while piece := file.read(_HASHED):
            digest.update(piece)
    return digest.hexdigest()
