"""What is done about knowledge without being asked: folders kept in step, vectors that are missing, keys that are gone.

A thread of its own looks once a minute, and when it is woken. It opens nothing as long as there is no knowledge, so an
Ansambl without any pays nothing. Embedding and reading show as jobs, and the folders are followed by another thread,
which sleeps until the system tells of a change.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from ansambl.app.configuration.knowledge_settings import CollectionSettings
from ansambl.app.knowledge.jobs import Job, JobDesk, JobState
from ansambl.app.knowledge.running import RunningKnowledge
from ansambl.domain.errors import AnsamblError, NotFoundError
from ansambl.domain.names import nearest_names
from ansambl.domain.role import Role
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.knowledge import watching
from ansambl.knowledge.contract import Report, State, Stopped, Watch
from ansambl.knowledge.reading.roots import place_of

log = get_logger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks at what is missing."""
FIRST_LOOK = 2.0
"""Seconds after the start: engines begin first."""

_JOINS = 3.0
_LONGEST_PAUSE = 30


def unknown_collections(roles: Iterable[Role], known: Sequence[str]) -> list[Text]:
    """What to say of roles that read collections which are not there. They may be made later, so it is no error."""
    found = []
    for role in roles:
        for name in role.collections:
            if name in known:
                continue
            close = nearest_names(name, known, 1)
            if close:
                found.append(text("The role '{role}' reads the collection '{name}', which is not there; did you mean "
                                  "'{nearest}'?", role=role.name, name=name, nearest=close[0]))  # fmt: skip
            else:
                found.append(text("The role '{role}' reads the collection '{name}', which is not there yet; make it "
                                  "with: ansambl knowledge add PATH --collection {name}",
                                  role=role.name, name=name))  # fmt: skip
    return found


class KnowledgeKeeper:
    """Keeps `knowledge` complete."""

    def __init__(
        self, knowledge: RunningKnowledge, jobs: JobDesk, *, first_look: float = FIRST_LOOK,
        look_every: float = LOOK_EVERY,
    ) -> None:  # fmt: skip
        self._knowledge = knowledge
        self._jobs = jobs
        self._revoked: Iterable[str] = ()
        self._first_look, self._look_every = first_look, look_every
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="knowledge-keeper", daemon=True)
        self._following: threading.Thread | None = None
        self._prepared: object = None
        self._warn: Callable[[Text], None] | None = None
        self._roles: Iterable[Role] = ()
        self.state: State | None = None
        """What there was at the last look; None where there is no knowledge."""
        self._forgot = False
        self._embedding: Job | None = None
        self._pause = self._skipped = 0

    def start(
        self, revoked: Iterable[str] = (), roles: Iterable[Role] = (), warn: Callable[[Text], None] | None = None
    ) -> None:
        """Begin, in a thread.

        `revoked` names the API keys whose memory must not be there. What is wrong with the collections of `roles` is
        told to `warn` once, from the thread.
        """
        self._revoked, self._roles, self._warn = revoked, roles, warn
        self._thread.start()

    def wake(self) -> None:
        """Look now: something was added, or the settings have changed."""
        self._wake.set()

    def stop(self) -> None:
        """End it. Blocks until it has, or for some seconds."""
        self._stop.set()
        self._wake.set()
        for one in (self._thread, self._following):
            if one is not None and one.is_alive():
                one.join(_JOINS)

    def _work(self) -> None:
        self._wake.wait(self._first_look)
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._look()
            except AnsamblError as error:
                log.warning("knowledge_not_kept", reason=str(error))
            except Exception as error:  # noqa: BLE001 - or nothing would be kept in step any more
                # Its words may be words of documents.
                log.warning("knowledge_keeper_failed", kind=type(error).__name__)
            self._wake.wait(self._look_every)

    def _look(self) -> None:
        settings = self._knowledge.settings
        if not self._knowledge.exists and not settings.collections:
            self._tell_unknown(())
            return
        if self._prepared is not settings.collections:
            for name, one in settings.collections.items():
                self._prepare(name, one)
            self._prepared = settings.collections
        self._tell_unknown([one.name for one in self._knowledge.collections()])
        if not self._forgot:
            for key in self._revoked:
                if self._stop.is_set():
                    return
                self._knowledge.forget(key)
            self._forgot = True
        state = self.state = self._knowledge.state()
        if state.pending and state.model:
            self._embed()
        if state.folders and self._following is None:
            self._following = threading.Thread(target=self._follow, name="knowledge-folders", daemon=True)
            self._following.start()

    def _tell_unknown(self, known: Sequence[str]) -> None:
        if self._warn is not None:
            warn, self._warn = self._warn, None
            for one in unknown_collections(self._roles, known):
                warn(one)

    def _prepare(self, name: str, settings: CollectionSettings) -> None:
        """Make a collection of the configuration, and have its folders taken in and kept in step."""
        known = self._knowledge.create(name, settings.description)
        for folder in settings.folders:
            if self._stop.is_set():
                return
            # Those that are kept already are compared by whoever follows them.
            if place_of(Path(folder)) not in known.folders or settings.include or settings.exclude:
                work = partial(self._take_in, folder, name, settings)
                self._jobs.start("add", work, collection=name, place=folder, after=self.wake)

    def _take_in(
        self, folder: str, collection: str, settings: CollectionSettings, watch: Watch, stopped: Stopped
    ) -> Report:  # fmt: skip
        return self._knowledge.add(
            folder, collection, watch=watch, stopped=stopped, embed=False, keep_in_step=True,
            include=settings.include, exclude=settings.exclude,
        )  # fmt: skip

    def _embed(self) -> None:
        """Have vectors made; after a failure more and more seldom, since its model may be away for long."""
        before = None
        if self._embedding is not None:
            # It may be so long ago that the desk knows it no more.
            with contextlib.suppress(NotFoundError):
                before = self._jobs.job(self._embedding.id)
        if before is not None and not before.over:
            return
        if before is not None and before.state is JobState.FAILED:
            self._skipped += 1
            if self._skipped < self._pause:
                return
            self._pause = min(_LONGEST_PAUSE, max(1, 2 * self._pause))
        else:
            self._pause = 0
        self._skipped = 0
        self._embedding = self._jobs.embed(self._knowledge)

    def _follow(self) -> None:
        try:
            watching.follow(
                self._knowledge, stopped=self._stop.is_set, told=lambda _folder, _report: self.wake(),
                interval=self._knowledge.settings.watch_interval, embed=False,
            )  # fmt: skip
        except AnsamblError as error:
            log.warning("folders_not_followed", reason=str(error))
        finally:
            self._following = None
