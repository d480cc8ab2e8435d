"""Embeddings (``POST /v1/embeddings``): what of a request is checked here, and numbers as base64. Pure."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.dialects.openai_chat.reading import UNREADABLE
from ansambl.dialects.translation import wrong
from ansambl.domain.text import text

_EMPTY = frozenset({b"null", b'""', b"[]"})
_Answer = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Row = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_Numbers = msgspec.json.Decoder(list[float])
_encode = msgspec.json.Encoder().encode
_FORMATS = (None, "float", "base64")


def check_request(request: ChatRequest) -> None:
    """Refuse what no engine can answer, before one is loaded for it. The input itself is not decoded: it may be large.

    Raises:
        RequestError: there is no input, or the vectors are wanted in a form that nobody knows.
    """
    found = request.fields.get("input")
    if found is None or bytes(found).replace(b" ", b"") in _EMPTY:
        raise wrong("input", text("it must be a text, or a list of texts, with something in it"))
    wanted = request.value("encoding_format")
    if wanted not in _FORMATS:
        raise wrong("encoding_format", text('it is "float" or "base64"'))


def wants_base64(request: ChatRequest) -> bool:
    """Whether the vectors are to come as base64, which the official clients ask for unless they are told otherwise."""
    return bool(request.value("encoding_format") == "base64")


def with_base64(body: bytes) -> bytes:
    """An answer whose vectors are base64 (little-endian numbers of 4 bytes), whatever the engine made of them.

    As it is where they are so already, or where it is no answer with vectors; all other fields keep their bytes.
    """
    if b'"embedding"' not in body:
        return body
    try:
        fields = _Answer.decode(body)
        rows = _Row.decode(fields["data"])
        changed = [_as_base64(one) for one in rows]
    except (*UNREADABLE, KeyError, OverflowError):
        return body
    if not any(changed):
        return body
    return _encode({**fields, "data": msgspec.Raw(_encode(rows))})


def _as_base64(row: dict[str, Any]) -> bool:
    """Whether the vector of a row had to be changed; it is changed in its place."""
    if not bytes(row["embedding"]).lstrip().startswith(b"["):
        return False
    numbers = _Numbers.decode(row["embedding"])
    row["embedding"] = msgspec.Raw(_encode(base64.b64encode(_packed(numbers)).decode("ascii")))
    return True


def _packed(numbers: list[float]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)
