"""The documents of a folder: what ignore files, links, limits and common sense leave of it."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.kinds import counted, is_read
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS, ReadingLimits
from ansambl.knowledge.reading.read import too_large
from ansambl.knowledge.reading.roots import is_inside, place_of

IGNORE_FILES = (".gitignore", ".ansamblignore")
"""Files with patterns of what is left out, on each level; the later one wins."""

_NEVER = frozenset(
    (
        "node_modules", "__pycache__", "venv", "env", "site-packages", "bower_components", "$RECYCLE.BIN",
        "System Volume Information", "lost+found",
    )
)  # fmt: skip
_LARGEST_IGNORE_FILE = 1 << 20
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """Patterns are those of `.gitignore`.

    With `include`, only files that match one of them are read; `exclude` is left out beside what ignore files say.
    `hidden` is whether names that begin with a dot are read. Links are followed within the folder and within `roots`
    (absolute paths without links, `roots.resolved_roots`), and nowhere else. Of `private` folders, such paths too,
    nothing is read.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    roots: tuple[str, ...] = ()
    private: tuple[str, ...] = ()


DEFAULT_FOLDER_OPTIONS = FolderOptions()
"""Everything that is not ignored."""


def files_of(
    folder: Path, options: FolderOptions = DEFAULT_FOLDER_OPTIONS, limits: ReadingLimits = DEFAULT_LIMITS
) -> Iterator[Path | Refused]:
    """The files below `folder` that are documents, in order, and what was left out and why.

    The files of a folder come by their names, then those of its folders.

    No file is opened here but the ignore files. Runs in the parent process. Never raises.
    """
    yield from _Walk(folder, options, limits).run()


@dataclass(slots=True)
class _Level:
    """One folder that is being walked: its path, and the rules that hold in it, the outermost first."""

    path: str
    depth: int
    rules: tuple[tuple[str, Any], ...] = field(default=())


class _Walk:
    def __init__(self, folder: Path, options: FolderOptions, limits: ReadingLimits) -> None:
        self._top = os.path.abspath(folder)  # noqa: PTH100 - links stay in the places of documents
        self._options, self._limits = options, limits
        self._roots = (os.path.realpath(self._top), *options.roots)
        self._seen: set[tuple[int, int]] = set()
        self._left_out: Counter[str] = Counter()
        self._outside = 0
        self._include = _patterns(options.include)
        self._exclude = _patterns(options.exclude)

    def run(self) -> Iterator[Path | Refused]:
        waiting = [_Level(self._top, 0)]
        while waiting:
            level = waiting.pop()
            inner: list[_Level] = []
            yield from self._level(level, inner)
            waiting.extend(reversed(inner))
        place = place_of(Path(self._top))
        if self._outside:
            yield Refused(
                place, text("{count} links that lead out of the folder were not followed", count=self._outside)
            )
        if self._left_out:
            kinds = counted(self._left_out)
            yield Refused(
                place, text("files of kinds that are not read were left out: {kinds}", kinds=kinds), note=True
            )

    def _level(self, level: _Level, inner: list[_Level]) -> Iterator[Path | Refused]:
        if self._options.private and is_inside(os.path.realpath(level.path), self._options.private):
            return
        try:
            found = os.stat(level.path)  # noqa: PTH116 - so is all of this walk: a hundred thousand paths
            if (found.st_dev, found.st_ino) in self._seen:
                # A link to a folder above, or the second link to one folder.
                return
            self._seen.add((found.st_dev, found.st_ino))
            with os.scandir(level.path) as entries:
                names = sorted(entries, key=lambda one: os.fsencode(one.name))
        except OSError as error:
            yield _unreadable(level.path, error)
            return
        rules = self._rules(level, [one.name for one in names])
        for entry in names:
            yield from self._entry(entry, _Level(entry.path, level.depth + 1, rules), inner)

    def _entry(self, entry: os.DirEntry[str], level: _Level, inner: list[_Level]) -> Iterator[Path | Refused]:
        name = entry.name
        if (name.startswith(".") and not self._options.hidden) or name == ".git" or name in _NEVER or _is_backup(name):
            return
        try:
            linked = entry.is_symlink()
            found = os.stat(entry.path) if linked else entry.stat(follow_symlinks=False)  # noqa: PTH116 - as above
        except OSError as error:
            if not linked:
                yield _unreadable(entry.path, error)
            # A link that leads nowhere, or in a circle, is no document that somebody misses.
            return
        is_folder = stat.S_ISDIR(found.st_mode)
        if _ignored(entry.path, level.rules, is_folder=is_folder) or self._excluded(entry.path, is_folder=is_folder):
            return
        if linked:
            real = os.path.realpath(entry.path)
            if is_inside(real, self._roots[:1]):
                # What lies in this folder is read there; a link to a folder above would never end.
                return
            if not is_inside(real, self._roots):
                self._outside += 1
                return
        if is_folder:
            if level.depth > _DEEPEST:
                yield Refused(
                    place_of(Path(entry.path)), text("it lies more than {limit} folders deep", limit=_DEEPEST)
                )
            else:
                inner.append(level)
        elif stat.S_ISREG(found.st_mode):
            yield from self._file(entry, found)

    def _file(self, entry: os.DirEntry[str], found: os.stat_result) -> Iterator[Path | Refused]:
        if not is_read(entry.name):
            self._left_out[entry.name] += 1
        elif found.st_size > self._limits.max_file:
            yield Refused(place_of(Path(entry.path)), too_large(found.st_size, self._limits.max_file))
        elif found.st_size:
            yield Path(entry.path)

    def _rules(self, level: _Level, names: Sequence[str]) -> tuple[tuple[str, Any], ...]:
        rules = level.rules
        for name in IGNORE_FILES:
            if name in names:
                path = os.path.join(level.path, name)  # noqa: PTH118 - as above
                lines = _lines(path)
                if lines and (spec := _patterns(lines)) is not None:
                    rules = (*rules, (level.path, spec))
        return rules

    def _excluded(self, path: str, *, is_folder: bool) -> bool:
        relative = _relative(path, self._top, is_folder=is_folder)
        if self._exclude is not None and self._exclude.match_file(relative):
            return True
        return not is_folder and self._include is not None and not self._include.match_file(relative)


def _is_backup(name: str) -> bool:
    """What editors and offices leave behind, and locks of open documents."""
    return name.endswith("~") or name.startswith(("~$", ".#", "#", "._")) or name in {"Thumbs.db", "desktop.ini"}


def _ignored(path: str, rules: Sequence[tuple[str, Any]], *, is_folder: bool) -> bool:
    # The innermost file that says anything about it decides (gitignore(5)).
    for folder, spec in reversed(rules):
        said = spec.check_file(_relative(path, folder, is_folder=is_folder)).include
        if said is not None:
            return bool(said)
    return False


def _relative(path: str, folder: str, *, is_folder: bool) -> str:
    return os.path.relpath(path, folder) + ("/" if is_folder else "")


def _patterns(lines: Sequence[str]) -> Any:
    """The patterns as pathspec compiles them; None where there are none, or where it is not installed."""
    if not lines:
        return None
    try:
        from pathspec import GitIgnoreSpec
    except ImportError:
        from ansambl.knowledge.reading.simple_patterns import SimpleSpec

        return SimpleSpec(lines)
    kept = []
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except (ValueError, re.error):
            # Git ignores a pattern that is none, too.
            continue
        kept.append(line)
    return GitIgnoreSpec.from_lines(kept)


def _lines(path: str) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return []
            data = os.read(descriptor, _LARGEST_IGNORE_FILE)
        finally:
            os.close(descriptor)
    except OSError:
        return []
    return data.decode("utf-8-sig", "replace").splitlines()


def _unreadable(path: str, error: OSError) -> Refused:
    return Refused(place_of(Path(path)), text("it cannot be read: {reason}", reason=error.strerror or str(error)))
