"""The many spellings of engines, interfaces, formats and quantizations, brought to the one that rows use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol, TypeVar

from ansambl.domain.compatibility import CompatibilityFacts, KnownEngine, KnownUi
from ansambl.domain.errors import UsageError
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import Text, text

GGUF_QUANTS = "gguf-quants"
"""All integer quantizations of GGUF (``Q4_K_M``, ``IQ4_XS``): an engine that reads one reads them all."""
WHOLE_FORMATS = ("exl2", "exl3", "mlx")
"""Formats whose quantization is part of the format."""

_GGUF = re.compile(r"(?:ud-)?(?:i?q|tq)\d.*")
_QUANTIZATIONS = (
    (re.compile(r"(?:bf16|bfloat16)"), "bf16"),
    (re.compile(r"(?:f16|fp16|float16|half)"), "f16"),
    (re.compile(r"(?:f32|fp32|float32)"), "f32"),
    (re.compile(r"(?:gpt_oss_)?mxfp4(?:_moe)?(?:-.*)?"), "mxfp4"),
    (re.compile(r"(?:modelopt_fp4|nvfp4)(?:-.*)?"), "nvfp4"),
    (re.compile(r"(?:(?:fbgemm_)?fp8|float8)(?:[-_].*)?"), "fp8"),
    (re.compile(r"awq(?:[-_].*)?"), "awq"),
    (re.compile(r"gptq(?:[-_].*)?"), "gptq"),
    (re.compile(r"(?:bitsandbytes|bnb|nf4)(?:[-_].*)?"), "bnb"),
    (re.compile(r"compressed[-_]tensors(?:[-_].*)?"), "compressed-tensors"),
    (re.compile(r"(?:w8a8|int8)"), "w8a8"),
    (re.compile(r"(?:w4a16|int4)"), "w4a16"),
)


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...


_Known = TypeVar("_Known", bound=_Named)


def find_engine(facts: CompatibilityFacts, name: str) -> KnownEngine:
    """The engine of this name or alias; letter case, spaces, ``-`` and ``_`` do not matter.

    Raises:
        UsageError: there is none; offers the nearest names.
    """
    found = _find(facts.engines, name)
    if found:
        return found
    near = _nearest(facts.engines, name)
    raise UsageError(
        text("there is no engine '{name}'; the nearest are: {names}", name=name[:60], names=", ".join(near))
    )


def find_ui(facts: CompatibilityFacts, name: str) -> KnownUi:
    """The user interface of this name or alias, found like an engine.

    Raises:
        UsageError: there is none; offers the nearest names.
    """
    found = _find(facts.uis, name)
    if found:
        return found
    near = _nearest(facts.uis, name)
    raise UsageError(
        text("there is no user interface '{name}'; the nearest are: {names}", name=name[:60], names=", ".join(near))
    )


def _find(known: Mapping[str, _Known], name: str) -> _Known | None:
    wanted = _bare(name)
    return next(
        (one for one in known.values() if wanted in {_bare(spelling) for spelling in (one.name, *one.aliases)}), None
    )


def _nearest(known: Mapping[str, _Known], name: str) -> tuple[str, ...]:
    spellings = {spelling: one.name for one in known.values() for spelling in (one.name, *one.aliases)}
    near = tuple(dict.fromkeys(spellings[one] for one in nearest_names(name[:60], spellings)))
    return near or tuple(known)


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", folded(name))


@lru_cache(maxsize=4096)
def plain_format(form: str | None, quantization: str | None) -> tuple[str | None, str | None]:
    """A format and a quantization as rows spell them: ``("gguf", "Q4_K_M")`` gives ``("gguf", "gguf-quants")``.

    The format is told from the quantization where it can be; a name that is not known stays, in small letters.
    """
    form = folded(form) if form else None
    wanted = folded(quantization) if quantization else None
    for whole in WHOLE_FORMATS:
        if form == whole or (wanted is not None and wanted.startswith(whole)):
            return whole, None
    if wanted is None:
        return form, None
    if _GGUF.fullmatch(wanted):
        return form or "gguf", GGUF_QUANTS
    return form, next((name for pattern, name in _QUANTIZATIONS if pattern.fullmatch(wanted)), wanted)


def plain_family(facts: CompatibilityFacts, family: str) -> str:
    """A model family as rows spell it; GGUF files and ``config.json`` write it differently."""
    wanted = folded(family).replace("-", "_")
    return facts.families.get(wanted, wanted)


def shown_version(engine: KnownEngine, version: str) -> str:
    """A version as people write it: builds begin with ``b``."""
    bare = version.strip()
    if engine.builds:
        return f"b{bare.rpartition('.')[2].lstrip('bB')}"
    return bare


def bad_version(engine: KnownEngine, version: str) -> Text:
    """The sentence about a version that is none."""
    return text(
        "'{version}' is no version of {engine}; write it like {example}",
        version=version[:60], engine=engine.title, example=engine.checked,
    )  # fmt: skip
