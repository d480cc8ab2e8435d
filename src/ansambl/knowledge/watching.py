"""Folders kept in step: notices of the system, and a look at everything from time to time.

Notices may be missing (a network share gives none, and a full queue drops some), so that every folder is compared with
what is known at the start and every so often; unchanged files cost a look each.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Knowledge, Refused, Report, Stopped
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.roots import path_of

log = get_logger(__name__)

Told = Callable[[str, Report], None]
Folders = Callable[[], Sequence[tuple[str, str]]]

_LOOK_MS, _DEBOUNCE_MS, _POLL_MS = 500, 1_600, 5_000
_NO_NOTICES_MS = 250
_ASKED = 3.0
"""Seconds between two questions which folders are to be followed: the answer counts files."""


def follow(
    knowledge: Knowledge, *, stopped: Stopped, told: Told | None = None, interval: float = 900.0,
    folders: Folders | None = None, embed: bool = True,
) -> None:  # fmt: skip
    """Keep folders in step until `stopped` says so; it is asked twice a second.

    Args:
        knowledge: what they are in.
        stopped: whether to end.
        told: is called with a folder and what was done there, after each round in which something was done or refused.
        interval: seconds between two looks at everything.
        folders: gives each folder with its collection; those that the knowledge notes itself by default.
        embed: gives vectors to what is new, beside following.
    """
    _Following(knowledge, stopped, told, interval, folders, embed=embed).run()


class _Following:
    def __init__(
        self, knowledge: Knowledge, stopped: Stopped, told: Told | None, interval: float, folders: Folders | None, *,
        embed: bool,
    ) -> None:  # fmt: skip
        self._knowledge, self._stopped, self._told, self._interval = knowledge, stopped, told, interval
        self._folders = folders or (lambda: knowledge.state().folders)
        self._embed = embed
        self._embedding: threading.Thread | None = None
        self._said: dict[str, str] = {}
        self._polling = False

    def run(self) -> None:
        """All rounds."""
        try:
            while not self._stopped():
                self._round(self._known())
        finally:
            if self._embedding is not None:
                self._embedding.join()

    def _known(self) -> list[tuple[str, str]]:
        try:
            return list(dict.fromkeys(self._folders()))
        except AnsamblError as error:
            log.warning("folders_not_known", reason=str(error))
            return []

    def _bring(self, folder: str, collection: str) -> None:
        """One folder in step; what stands in the way is said once."""
        try:
            _check_same(folder)
            report = self._knowledge.add(folder, collection, stopped=self._stopped, embed=False, again=False)
        except AnsamblError as error:
            report = Report(refused=(Refused(folder, error.message),))
        refusals = "\n".join(f"{one.place}: {one.reason}" for one in report.refused)
        news = report.added or report.updated or report.removed or refusals != self._said.get(folder, "")
        self._said[folder] = refusals
        if news and self._told is not None:
            self._told(folder, report)
        if report.passages:
            self._give_vectors()

    def _give_vectors(self) -> None:
        if not self._embed or (self._embedding is not None and self._embedding.is_alive()):
            return
        self._embedding = threading.Thread(target=self._vectors, name="knowledge-embedding", daemon=True)
        self._embedding.start()

    def _vectors(self) -> None:
        try:
            self._knowledge.embed(stopped=self._stopped)
        except AnsamblError as error:
            log.warning("not_embedded", reason=str(error))

    def _round(self, known: Sequence[tuple[str, str]]) -> None:
        """Follow notices until everything is to be looked at again, or other folders are to be followed.

        Everything is looked at when notices already come, so that nothing is missed in between.
        """
        asked = time.monotonic()
        due = asked + self._interval
        there = {folder: collection for folder, collection in known if path_of(folder).is_dir()}
        everything = True
        for changed in self._notices(there):
            for folder, collection in known:
                if self._stopped():
                    return
                if everything or folder in changed:
                    self._bring(folder, collection)
            everything = False
            now = time.monotonic()
            if self._stopped() or now >= due:
                return
            if now - asked >= _ASKED:
                asked = now
                if self._known() != list(known):
                    return

    def _notices(self, there: Mapping[str, str]) -> Iterator[set[str]]:
        """The folders in which something changed, again and again; an empty set where nothing did for a moment."""
        try:
            from watchfiles import watch
        except ImportError:
            self._say(
                there, text("changes are noticed late, because a library is missing: pip install 'ansambl[knowledge]'")
            )
            yield from _silence()
            return
        if not there:
            yield from _silence()
            return
        while True:
            try:
                for changes in watch(
                    *(path_of(folder) for folder in there), watch_filter=None, debounce=_DEBOUNCE_MS,
                    rust_timeout=_LOOK_MS, yield_on_timeout=True, force_polling=self._polling or None,
                    poll_delay_ms=_POLL_MS, raise_interrupt=False, ignore_permission_denied=True,
                ):  # fmt: skip
                    yield _touched(there, [path for _, path in changes])
            except (OSError, RuntimeError) as error:
                if self._polling:
                    log.warning("folders_not_watched", reason=str(error))
                    yield from _silence()
                    return
                # Too many folders for the system's notices (fs.inotify.max_user_watches), or a file system without.
                self._polling = True
                self._say(
                    there,
                    text("the system gives no notices ({reason}), so changes are looked for", reason=str(error)[:150]),
                )
            else:
                return

    def _say(self, there: Mapping[str, str], reason: Text) -> None:
        log.warning("folders_polled", reason=str(reason))
        if self._told is not None:
            for folder in there:
                self._told(folder, Report(refused=(Refused(folder, reason),)))


def _check_same(folder: str) -> None:
    """Refuse a folder, or one above it, that has become a link: whoever may write there must not choose what is read.

    Raises:
        UnreadableError: it has.
    """
    path = path_of(folder)
    if path.exists() and os.path.realpath(path) != str(path):
        raise UnreadableError(
            text("it has become a link to another folder, which is not followed; add that folder, or remove this one")
        )


def _silence() -> Iterator[set[str]]:
    while True:
        yield set()
        time.sleep(_NO_NOTICES_MS / 1000)


def _touched(there: Mapping[str, str], paths: Sequence[str]) -> set[str]:
    """The folders that hold one of these paths."""
    roots = {folder: str(Path(path_of(folder))) for folder in there}
    return {
        folder
        for folder, root in roots.items()
        if any(path == root or path.startswith(root.rstrip("/") + "/") for path in paths)
    }
