"""The words that ExLlamaV3 takes, whichever program loads it."""

from __future__ import annotations

import re

from ansambl.domain.errors import NotSupportedError
from ansambl.domain.text import text
from ansambl.engines.command_lines import parts

_TITLE = "ExLlamaV3"
_BITS = re.compile(r"q?([2-8])")


def cache_bits(kv_type: str) -> tuple[int, int]:
    """Bits of K and V: ``"q8"``, ``"8/4"`` or a type of 16 bits.

    Raises:
        NotSupportedError: ExLlamaV3 has no such type.
    """
    key, _, value = kv_type.lower().replace(",", "/").partition("/")
    found = []
    for name in (key, value or key):
        match = _BITS.fullmatch(name.removesuffix("_0"))
        if name in parts.SIXTEEN_BITS:
            found.append(16)
        elif match:
            found.append(int(match[1]))
        else:
            raise NotSupportedError(
                text("{engine} has no KV type '{kv_type}'; it takes {known}", engine=_TITLE, kv_type=kv_type,
                     known="f16, q8, q6, q5, q4, q3, q2, q8/q4 …")
            )  # fmt: skip
    if 16 in found and found[0] != found[1]:
        raise NotSupportedError(
            text("{engine} has no KV type '{kv_type}'; it takes {known}", engine=_TITLE, kv_type=kv_type,
                 known="f16, q8, q6, q5, q4, q3, q2, q8/q4 …")
        )  # fmt: skip
    return found[0], found[1]
