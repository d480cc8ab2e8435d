"""The static files of the console, read once and served from memory under the digest of them all.

The digest stands in the path, not in a query, so that scripts import each other by relative paths and a new version of
Ansambl is never mixed with files that a browser kept from the old one.
"""

from __future__ import annotations

import gzip
import hashlib
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ansambl.console.shortening import shorten_script, shorten_styles

_IMPORTS = re.compile(r"""^(?:import|export)\s[^;]*?["'](\.[^"']+)["']""", re.MULTILINE)
_BROUGHT = "vendor/"

_SHORTER: Mapping[str, Callable[[str], str]] = {".js": shorten_script, ".css": shorten_styles}
_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """One static file. `source` is what was written, `imports` are the modules that a script names."""

    source: bytes
    shorter: Callable[[str], str] | None
    content_type: str
    imports: tuple[str, ...]

    @cached_property
    def content(self) -> bytes:
        """The file as it is sent; made when it is asked for first."""
        return self.source if self.shorter is None else self.shorter(self.source.decode()).encode()

    @cached_property
    def packed(self) -> bytes:
        """The same by gzip."""
        # The time of packing would be part of it otherwise.
        return gzip.compress(self.content, 9, mtime=0)


@dataclass(frozen=True, slots=True)
class Assets:
    """All static files by their path below the folder, and the digest over them."""

    by_name: Mapping[str, Asset]
    digest: str

    def modules_of(self, script: str) -> tuple[str, ...]:
        """All modules that a script imports, and those import: known at once, they need not be found out one by one."""
        found: list[str] = []
        waiting = [script]
        while waiting:
            name = waiting.pop()
            asset = self.by_name.get(name)
            if asset is None or name in found:
                continue
            found.append(name)
            waiting += asset.imports
        return tuple(sorted(found[1:]))


def load_assets(folder: Path) -> Assets:
    """Read every static file of `folder` and below; files of other kinds than the console sends are left out."""
    found: dict[str, Asset] = {}
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _TYPES:
            continue
        name = path.relative_to(folder).as_posix()
        source = path.read_bytes()
        brought = name.startswith(_BROUGHT)
        imports = _imports(source.decode(), posixpath.dirname(name)) if path.suffix == ".js" and not brought else ()
        found[name] = Asset(source, None if brought else _SHORTER.get(path.suffix), _TYPES[path.suffix], imports)
        digest.update(f"{name}\0{len(source)}\0".encode())
        digest.update(source)
    return Assets(found, digest.hexdigest()[:16])


def _imports(source: str, folder: str) -> tuple[str, ...]:
    return tuple(posixpath.normpath(posixpath.join(folder, one)) for one in _IMPORTS.findall(source))
