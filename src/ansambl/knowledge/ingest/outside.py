"""What an ingest reads through: child processes, the files of folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansambl.domain.knowledge import Material
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.passages.preparing import prepared
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading.confined import Confined


class Readers(Confined):
    """Child processes that read, and what divides a text that was read before."""

    def divided(self, material: Material) -> Prepared:
        """A material divided and analysed; its digest is that of its text."""
        return prepared(material, hashlib.sha256(material.text.encode("utf-8", "surrogatepass")).hexdigest())


def files_of(folder: Path, include: Sequence[str], exclude: Sequence[str]) -> Iterable[Path | Refused]:
    """The files of a folder."""
    return sorted(
        one
        for one in folder.rglob("*")
        if one.is_file()
        and not any(part.startswith(".") for part in one.relative_to(folder).parts)
        and (not include or any(one.match(pattern) for pattern in include))
        and not any(one.match(pattern) for pattern in exclude)
    )
