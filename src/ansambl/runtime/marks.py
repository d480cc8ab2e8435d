"""What hints begin with, so that nothing that was read for one key, or with one LoRA adapter, matches another's.

A hint without a mark is one of the machine's owner for the plain model. It is the JSON of a request's fields, which
begins with none of the bytes that marks begin with.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from ansambl.domain.scheduling import LOCAL_KEY

_LORA, _OWNER = b"\0", b"\1"
# JSON ends with none of the bytes of marks, either.
_TAIL = b"\0"
_DIGEST = 16
_LENGTH = 1 + _DIGEST


class Marked(NamedTuple):
    """A hint taken apart: `owner` and `lora` are marks, empty where there are none; `hint` is what was asked."""

    owner: bytes
    lora: bytes
    hint: bytes


def lora_mark(name: str) -> bytes:
    """What the hint of a request begins with that has this LoRA adapter: no other hint begins alike.

    What was read with an adapter is another state than what was read without, or with another one.
    """
    return _LORA + _digest(name)


def owner_mark(key: str) -> bytes:
    """What the hint of a request with this API key begins with, before the mark of a LoRA adapter.

    Empty for requests without a key. Key ids stay out of it: of a mark only who knows the id can tell whose it is.
    """
    return b"" if key == LOCAL_KEY else _OWNER + _digest(key)


def read_marks(hint: bytes) -> Marked:
    """Take a marked hint apart."""
    owner = hint[:_LENGTH] if hint.startswith(_OWNER) else b""
    lora = hint[len(owner) : len(owner) + _LENGTH] if hint.startswith(_LORA, len(owner)) else b""
    return Marked(owner, lora, hint[len(owner) + len(lora) :])


def is_marked(prompt: bytes) -> bool:
    """Whether a prompt was read with a LoRA adapter, as its `lora_mark` says."""
    return bool(read_marks(prompt[: 2 * _LENGTH]).lora)


def with_adapter_tail(prompt: bytes) -> bytes:
    """A prompt whose end an activated LoRA adapter read; its beginning is the plain model's, as its hint says."""
    return prompt if prompt.endswith(_TAIL) else prompt + _TAIL


def is_plain(prompt: bytes) -> bool:
    """Whether all of a prompt was read by the plain model, so that its state may be kept for it."""
    return not is_marked(prompt) and not prompt.endswith(_TAIL)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=_DIGEST).digest()
