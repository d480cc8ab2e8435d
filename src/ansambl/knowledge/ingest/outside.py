"""What an ingest reads through: the files of folders, and pages of the web."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansambl.knowledge.contract import Refused
from ansambl.knowledge.ingest.taking import Taking
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.folders import FolderOptions, files_of
from ansambl.knowledge.reading.limits import ReadingLimits, WebLimits
from ansambl.knowledge.reading.web import fetch


class Outside:
    """Walks folders and fetches pages, within limits."""

    def __init__(self, reading: ReadingLimits, web: WebLimits, folder: Path, private: Sequence[str] = ()) -> None:
        """Pages lie in `folder` while they are read; nothing of `private` folders is."""
        self._reading, self._web, self._folder, self._private = reading, web, folder, tuple(private)

    def walk(
        self, folder: Path, include: Sequence[str], exclude: Sequence[str], roots: Sequence[str]
    ) -> Iterable[Path | Refused]:
        """The files of a folder by its ignore rules, and what was left out."""
        options = FolderOptions(
            include=tuple(include), exclude=tuple(exclude), roots=tuple(roots), private=self._private
        )
        return files_of(folder, options, self._reading)

    def page(self, taking: Taking, address: str) -> None:
        """Take in the page of an address; what stands in the way is refused in words."""
        with tempfile.TemporaryDirectory(prefix=".page-", dir=self._folder) as folder:
            try:
                fetched = fetch(address, Path(folder) / "page", self._web)
            except UnreadableError as error:
                taking.refuse(Refused(address, error.message))
                return
            taking.page(fetched.wanted, fetched.options())
