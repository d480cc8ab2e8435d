"""A short hash of a passage's terms that is nearly the same for nearly the same words (simhash).

Charikar, "Similarity estimation techniques from rounding algorithms" (2002); the use for near-duplicates of web pages
and the reading of the distance: Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling" (2007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

BITS = 64
NEAR = 10
"""Bits in which the fingerprints of near-duplicates differ at most."""

_MASK = (1 << BITS) - 1


def fingerprint(terms: Mapping[str, int]) -> int:
    """64 bits as a signed number (as SQLite keeps them); 0 where there are no terms."""
    if not terms:
        return 0
    hashes = np.fromiter(map(_hash, terms), dtype=np.uint64, count=len(terms))
    bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).astype(np.float32)
    weights = np.sqrt(np.fromiter(terms.values(), dtype=np.float32, count=len(terms)))
    votes = weights @ (2.0 * bits - 1.0)
    found = int.from_bytes(np.packbits(votes > 0).tobytes(), "little", signed=True)
    return found or 1


def distance(a: int, b: int) -> int:
    """Bits in which two fingerprints differ."""
    return ((a ^ b) & _MASK).bit_count()


def alike(a: int, b: int) -> bool:
    """Whether two passages say nearly the same: a word, a date or spaces differ. One without terms is like none."""
    return bool(a and b) and distance(a, b) <= NEAR


@lru_cache(maxsize=100_000)
def _hash(term: str) -> int:
    return int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
