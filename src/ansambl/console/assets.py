"""The static files of the console, read once and served from memory under the digest of them all.

The digest stands in the path, not in a query, so that scripts import each other by relative paths and a new version of
Ansambl is never mixed with files that a browser kept from the old one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file as it is sent."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Assets:
    """All static files by name, and the digest over them."""

    by_name: Mapping[str, Asset]
    digest: str


def load_assets(folder: Path) -> Assets:
    """Read every static file of `folder`; files of other kinds than the console sends are left out."""
    found = {
        path.name: Asset(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }
    digest = hashlib.sha256()
    for name, asset in found.items():
        digest.update(f"{name}\0{len(asset.content)}\0".encode())
        digest.update(asset.content)
    return Assets(found, digest.hexdigest()[:16])
