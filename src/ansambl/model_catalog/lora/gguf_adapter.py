"""LoRA adapters as llama.cpp loads them: one GGUF file of the type "adapter".

Written after what llama.cpp b11434 asks for when it loads one: the fields ``general.type``, ``adapter.type``,
``adapter.lora.alpha`` and ``adapter.alora.invocation_tokens``, and two tensors for each weight, ``NAME.lora_a`` of
inputs by rank and ``NAME.lora_b`` of rank by outputs (of a table of tokens: vocabulary and width the other way round).
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.model_catalog.gguf import GgufHeader, Tensor, read_header
from ansambl.model_catalog.lora.failures import named, unsupported, unusable
from ansambl.model_catalog.lora.peft import MAX_INVOCATION, MAX_PAIRS, MAX_RANK
from ansambl.model_catalog.lora.records import GGUF, LoraFile, LoraPair
from ansambl.model_catalog.printable import printable

ALPHA, INVOCATION = "adapter.lora.alpha", "adapter.alora.invocation_tokens"
TABLE = "token_embd"
_A, _B, _WEIGHT = ".lora_a", ".lora_b", ".weight"
_HASHED = 1 << 20


def read_gguf(path: Path, *, hashed: bool = True) -> LoraFile:
    """Read the adapter at `path`; of the numbers only the header is understood.

    All of them are read once for the identity, which is empty without `hashed`.

    Raises:
        UsageError: it is no adapter, it is damaged, or its parts contradict each other.
        NotSupportedError: it is of a kind that llama.cpp does not load.
    """
    with named(path):
        header = read_header(path)
        size = path.stat().st_size
        if size < header.expected_size:
            raise unusable(
                path,
                text("it is truncated: it has {size} bytes, its header speaks of {expected}", size=size,
                     expected=header.expected_size),
            )  # fmt: skip
        alpha = _alpha(path, header)
        pairs, notes = _pairs(path, header, alpha)
        identity = _identity(path) if hashed else ""
    base = header.fields.get("general.base_model.0.name") or header.fields.get("general.name")
    return LoraFile(
        GGUF, str(path), str(path), Bytes(size), pairs, alpha, identity,
        base=printable(base, 200) if isinstance(base, str) and base else None, architecture=header.architecture,
        invocation=_invocation(path, header), notes=notes,
    )  # fmt: skip


def _alpha(path: Path, header: GgufHeader) -> float:
    kind, form = header.fields.get("general.type"), header.fields.get("adapter.type")
    if kind != "adapter":
        raise unusable(path, text("it is a GGUF file, but no adapter"))
    if form != "lora":
        raise unsupported(path, text("it is of the kind {kind}, not LoRA", kind=printable(form, 40)))
    alpha = header.fields.get(ALPHA, 0.0)
    if isinstance(alpha, (bool, str)) or not math.isfinite(alpha) or abs(alpha) > 1e9:
        raise unusable(path, text("'{field}' is {value}, not a number", field=ALPHA, value=printable(alpha, 40)))
    return float(alpha)


def _invocation(path: Path, header: GgufHeader) -> tuple[int, ...]:
    if INVOCATION not in header.lengths:
        return ()
    found = header.lists.get(INVOCATION, ())
    tokens = tuple(one for one in found if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 31)
    if len(tokens) != header.lengths[INVOCATION] or len(tokens) > MAX_INVOCATION:
        raise unusable(path, text("'{field}' is no list of tokens", field=INVOCATION))
    return tokens


def _pairs(path: Path, header: GgufHeader, alpha: float) -> tuple[tuple[LoraPair, ...], tuple[Text, ...]]:
    halves: dict[str, dict[str, Tensor]] = {}
    ignored = []
    if len(header.table) > 2 * MAX_PAIRS:
        raise unusable(path, text("it has {count} tensors, more than any adapter", count=len(header.table)))
    for one in header.table:
        suffix = one.name[-len(_A) :]
        if one.name.endswith((_WEIGHT + _A, _WEIGHT + _B)):
            halves.setdefault(one.name.removesuffix(suffix).removesuffix(_WEIGHT), {})[suffix] = one
        elif one.name.endswith("_norm.weight"):
            ignored.append(one.name)
        else:
            raise unsupported(path, text("it holds the whole weight {name}", name=printable(one.name, 120)))
    if not halves:
        raise unusable(path, text("it holds no matrices"))
    notes = (
        (text("llama.cpp leaves out the {count} norms that the LoRA adapter holds too", count=len(ignored)),)
        if ignored else ()
    )  # fmt: skip
    return tuple(_pair(path, name, parts, alpha) for name, parts in sorted(halves.items())), notes


def _pair(path: Path, name: str, parts: dict[str, Tensor], alpha: float) -> LoraPair:
    if len(parts) < 2:
        raise unusable(path, text("one of the two matrices for {name} is missing", name=name))
    a, b = parts[_A].shape, parts[_B].shape
    table = name == TABLE
    # Of a table both matrices lie with their rank first.
    rank, same = b[0] if b else 0, (a[0] if table else a[1]) if len(a) > 1 else 0
    if not 2 <= len(a) <= 3 or len(a) != len(b) or a[2:] != b[2:] or 0 in (*a, *b):
        raise unusable(path, text("the matrices for {name} are not two tables of numbers", name=name))
    if rank != same:
        raise unusable(
            path, text("the matrices for {name} do not fit each other: ranks {one} and {two}", name=name, one=same,
                       two=rank)
        )  # fmt: skip
    if rank > MAX_RANK:
        raise unusable(path, text("its rank is {rank}, more than {limit}", rank=rank, limit=MAX_RANK))
    # Without an alpha llama.cpp adds the product as it is.
    return LoraPair(
        name, a[1] if table else a[0], b[1], rank, alpha / rank if alpha else 1.0, embedding=table,
        experts=a[2] if len(a) > 2 else 1,
    )  # fmt: skip


def _identity(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASHED):
            digest.update(piece)
    return digest.hexdigest()
