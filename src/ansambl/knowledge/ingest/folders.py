"""Folders: their files are taken in, and what is gone from them is removed, unless the disk itself may be gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.ingest.taking import Taking
from ansambl.knowledge.reading.roots import path_of, place_of
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.files import files_below

Walk = Callable[[Path, Sequence[str], Sequence[str], Sequence[str]], Iterable[Path | Refused]]
"""The files of a folder: its path, patterns to include, to exclude, and the roots that links may lead into."""


def take_folder(
    taking: Taking, database: KnowledgeDatabase, collection: int, folder: str, *, walk: Walk,
    include: Sequence[str] = (), exclude: Sequence[str] = (), roots: Sequence[str] = (), again: bool = True,
) -> None:  # fmt: skip
    """Take in a folder: `collection` is brought in step with it."""
    places: list[str] = []
    unreadable: list[str] = []
    for one in walk(path_of(folder), include, exclude, roots):
        if isinstance(one, Refused):
            taking.refuse(one)
            # What is said of the folder as a whole (kinds of files that are not read) keeps nothing in particular.
            if one.place != folder:
                unreadable.append(one.place)
        else:
            places.append(place_of(one))
    with database.snapshot() as connection:
        known = files_below(connection, collection, folder)
    if known and not places and not _has_files(path_of(folder)):
        reason = text(
            "it is empty now, and {count} files of it are known: is a disk not mounted? They stay; remove them, or the "
            "collection, by hand if they are really gone",
            count=len(known),
        )  # fmt: skip
        taking.refuse(Refused(folder, reason))
        return
    telling = taking.telling
    telling.total = len(places)
    for place in places:
        if taking.stopped():
            return
        before = taking.tally.unchanged
        taking.file(place, roots=roots, again=again)
        telling.step(current=place, worked=taking.tally.unchanged == before)
    here = set(places)
    kept = tuple(one.rstrip("/") + "/" for one in unreadable)
    # A file that is there and is left out by the rules now goes, too: the rules say what the collection holds.
    gone = [one for one in known if one.place not in here and not (one.place + "/").startswith(kept or ("\0",))]
    # One that was renamed has its new place by now.
    with database.snapshot() as connection:
        still = {one.place for one in files_below(connection, collection, folder)}
    taking.remove_files([one for one in gone if one.place in still])


def _has_files(folder: Path) -> bool:
    """Whether anything at all lies there, hidden and ignored files included."""
    try:
        with os.scandir(folder) as found:
            return next(found, None) is not None
    except OSError:
        return False
