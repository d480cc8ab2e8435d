"""Finding the common beginning of a prompt with saved ones without keeping their text.

A fingerprint is a chain of keyed hashes, one for each `STEP` bytes from the beginning: two prompts have as many hashes
in common as they have whole steps in common. Who does not have the key learns nothing from it.
"""

from __future__ import annotations

import hashlib

STEP = 256
"""Bytes from one hash to the next: some 60 tokens of text."""

_HASH = 8
"""Bytes of a hash. A chance hit costs a restore that is not used; the engine compares tokens itself."""


class Fingerprints:
    """The fingerprint of one prompt, made only as far as it is asked for. `key` is at most 64 bytes."""

    def __init__(self, prompt: bytes, key: bytes) -> None:
        self._prompt = memoryview(prompt)
        self._chain = hashlib.blake2b(key=key, digest_size=_HASH)
        self._hashes: list[bytes] = []

    def whole(self) -> bytes:
        """All of it."""
        while self._more():
            pass
        return b"".join(self._hashes)

    def first(self) -> bytes:
        """Its first hash, empty where the prompt is shorter than a step."""
        return self._hashes[0] if self._hashes or self._more() else b""

    def common(self, other: bytes) -> int:
        """How many bytes this prompt has in common with the one whose fingerprint `other` is, in whole steps."""
        count = 0
        for start in range(0, len(other), _HASH):
            if count == len(self._hashes) and not self._more():
                break
            if self._hashes[count] != other[start : start + _HASH]:
                break
            count += 1
        return count * STEP

    def _more(self) -> bool:
        begin = len(self._hashes) * STEP
        if begin + STEP > len(self._prompt):
            return False
        self._chain.update(self._prompt[begin : begin + STEP])
        self._hashes.append(self._chain.digest())
        return True


def first_of(fingerprint: bytes) -> bytes:
    """The first hash of a fingerprint."""
    return fingerprint[:_HASH]


def covered(fingerprint: bytes) -> int:
    """How many bytes of its prompt a fingerprint stands for."""
    return len(fingerprint) // _HASH * STEP
