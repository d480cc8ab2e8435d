"""Knowledge for commands: of the running Ansambl, or in its data folder while none runs."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from ansambl.cli.resting_data import on_path, reached

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings
    from ansambl.cli.client import Client
    from ansambl.foundation.paths import DataPaths
    from ansambl.foundation.sqlite import Database
    from ansambl.knowledge.contract import Knowledge, Progress, Report

Document = dict[str, Any]
Told = Callable[[Document], None]
Stopped = Callable[[], bool]

_LOOK_EVERY = 0.3
"""Seconds between two looks at a job of the running Ansambl."""
_PAGE = 1000


class KnowledgeAccess(Protocol):
    """The same calls either way; documents are those of the admin API. All raise `AnsamblError` with one line.

    Long ones tell how far they are, and end when `stopped` says so; their report then holds ``"stopped": True``.
    `waits` is whether an embedding ends with the command: without a running Ansambl nobody goes on with it.
    """

    waits: bool

    def state(self) -> Document:
        """How much there is."""
        ...

    def collections(self) -> list[Document]:
        """All collections."""
        ...

    def documents(self, collection: str | None, *, text: str = "", after: int = 0, limit: int = 100) -> Document:
        """Some documents, and where the next ones begin."""
        ...

    def document(self, wanted: int) -> Document:
        """One document with its whole text."""
        ...

    def passages(self, wanted: int) -> list[Document]:
        """Its passages."""
        ...

    def conversation(self, wanted: str) -> Document:
        """A whole conversation."""
        ...

    def search(self, wanted: Mapping[str, Any]) -> Document:
        """Find passages; `wanted` is a `SearchRequest`."""
        ...

    def add(self, wanted: Mapping[str, Any], told: Told, stopped: Stopped) -> Document:
        """Take in a place; `wanted` is an `AddRequest`. Returns a report. No vectors are made."""
        ...

    def import_chats(self, wanted: Mapping[str, Any], told: Told, stopped: Stopped) -> Document:
        """Take in an export of conversations; `wanted` is an `ImportChatsRequest`. No vectors are made."""
        ...

    def embed(self, told: Told, stopped: Stopped, patience: float | None = None) -> Document | None:
        """Give vectors to what has none; None where that still goes on after `patience` seconds."""
        ...

    def remove_document(self, wanted: int) -> None:
        """Remove a document."""
        ...

    def remove_collection(self, name: str) -> int:
        """Remove a collection; how many documents it had."""
        ...

    def memory(self, owner: str | None) -> list[Document]:
        """What is remembered for one key, or for all."""
        ...

    def forget(self, owner: str) -> int:
        """Forget all that is remembered for a key; how much it was."""
        ...

    def leave(self, folder: str, collection: str | None) -> None:
        """Keep a folder in step no more."""
        ...


class RunningKnowledge:
    """`KnowledgeAccess` to the running Ansambl."""

    waits = False

    def __init__(self, client: Client) -> None:
        self._client = client

    def _call(self, method: str, route: str, body: Mapping[str, Any] | None = None, /, **query: Any) -> Document:
        asked = urlencode({name: value for name, value in query.items() if value not in (None, "")})
        # A first search may wait for a model, a removal for an index.
        return self._client.admin(method, f"/knowledge{route}" + (f"?{asked}" if asked else ""), body, patient=True)

    def state(self) -> Document:
        """How much there is."""
        return self._call("GET", "")

    def collections(self) -> list[Document]:
        """All collections."""
        return list(self._call("GET", "/collections")["collections"])

    def documents(self, collection: str | None, *, text: str = "", after: int = 0, limit: int = 100) -> Document:
        """Some documents."""
        return self._call("GET", "/documents", collection=collection, text=text, after=after, limit=limit)

    def document(self, wanted: int) -> Document:
        """One document with its whole text."""
        parts: list[str] = []
        start: int | None = 0
        while True:
            found = self._call("GET", f"/documents/{wanted}", start=start, length=200_000)
            parts.append(found["text"])
            start = found["next"]
            if start is None:
                return {"document": found["document"], "text": "".join(parts)}

    def passages(self, wanted: int) -> list[Document]:
        """Its passages."""
        found: list[Document] = []
        after: int | None = -1
        while after is not None:
            page = self._call("GET", f"/documents/{wanted}/passages", after=after, limit=_PAGE)
            found += page["passages"]
            after = page["next"]
        return found

    def conversation(self, wanted: str) -> Document:
        """A whole conversation."""
        return self._call("GET", f"/conversations/{on_path(wanted)}")

    def search(self, wanted: Mapping[str, Any]) -> Document:
        """Find passages."""
        return self._call("POST", "/search", wanted)

    def add(self, wanted: Mapping[str, Any], told: Told, stopped: Stopped) -> Document:
        """Take in a place."""
        return self._finished(self._call("POST", "/add", {**wanted, "embed": False}), told, stopped)

    def import_chats(self, wanted: Mapping[str, Any], told: Told, stopped: Stopped) -> Document:
        """Take in an export of conversations."""
        return self._finished(self._call("POST", "/import-chats", {**wanted, "embed": False}), told, stopped)

    def embed(self, told: Told, stopped: Stopped, patience: float | None = None) -> Document | None:
        """Give vectors to what has none."""
        return self._followed(self._call("POST", "/embed"), told, stopped, patience)

    def _finished(self, job: Document, told: Told, stopped: Stopped) -> Document:
        report = self._followed(job, told, stopped, None)
        return report if report is not None else {}

    def _followed(self, job: Document, told: Told, stopped: Stopped, patience: float | None) -> Document | None:
        """Wait for a job's report.

        Raises:
            AnsweredError: it failed.
        """
        from ansambl.cli.client import AnsweredError

        begun, asked = time.monotonic(), False
        while job["state"] in {"waiting", "running"}:
            if job["progress"] is not None:
                told(job["progress"])
            if stopped() and not asked:
                asked = True
                self._call("POST", f"/jobs/{job['id']}/stop")
            if patience is not None and time.monotonic() - begun > patience:
                return None
            time.sleep(_LOOK_EVERY)
            job = self._call("GET", f"/jobs/{job['id']}")
        if job["state"] == "failed":
            raise AnsweredError(job["error"], 500)
        return {**job["report"], "stopped": job["state"] == "stopped"}

    def remove_document(self, wanted: int) -> None:
        """Remove a document."""
        self._call("DELETE", f"/documents/{wanted}")

    def remove_collection(self, name: str) -> int:
        """Remove a collection."""
        return int(self._call("DELETE", f"/collections/{on_path(name)}")["removed"])

    def memory(self, owner: str | None) -> list[Document]:
        """What is remembered."""
        found: list[Document] = []
        after: int | None = 0
        while after is not None:
            page = self._call("GET", "/memory", owner=owner, after=after, limit=_PAGE)
            found += page["documents"]
            after = page["next"]
        return found

    def forget(self, owner: str) -> int:
        """Forget all that is remembered for a key."""
        return int(self._call("DELETE", "/memory", owner=owner)["removed"])

    def leave(self, folder: str, collection: str | None) -> None:
        """Keep a folder in step no more."""
        self._call("DELETE", "/folders", path=folder, collection=collection)


class StoppedKnowledge:
    """`KnowledgeAccess` to the data folder of an Ansambl that does not run."""

    waits = True

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge

    def state(self) -> Document:
        """How much there is."""
        from ansambl.app.knowledge.documents import state_document

        return state_document(self.knowledge.state(), self.knowledge.estimate()).model_dump()

    def collections(self) -> list[Document]:
        """All collections."""
        from ansambl.app.knowledge.documents import collection_document

        return [collection_document(one).model_dump() for one in self.knowledge.collections()]

    def documents(self, collection: str | None, *, text: str = "", after: int = 0, limit: int = 100) -> Document:
        """Some documents."""
        from ansambl.app.knowledge.documents import document_document, find_collection

        if collection is not None:
            find_collection(self.knowledge, collection)
        found = self.knowledge.documents(collection, after=after, limit=limit + 1, text=text)
        shown = [document_document(one).model_dump() for one in found[:limit]]
        return {"documents": shown, "next": shown[-1]["id"] if len(found) > limit else None}

    def document(self, wanted: int) -> Document:
        """One document with its whole text."""
        from ansambl.app.knowledge.documents import document_document, text_window

        found, whole = self.knowledge.document(wanted)
        return {"document": document_document(found).model_dump(), "text": text_window(whole, 0, len(whole))[0]}

    def passages(self, wanted: int) -> list[Document]:
        """Its passages."""
        from ansambl.app.knowledge.documents import passage_document

        return [passage_document(one).model_dump() for one in self.knowledge.passages(wanted)]

    def conversation(self, wanted: str) -> Document:
        """A whole conversation."""
        from ansambl.app.knowledge.documents import conversation_document

        return conversation_document(self.knowledge.conversation(wanted)).model_dump()

    def search(self, wanted: Mapping[str, Any]) -> Document:
        """Find passages."""
        from ansambl.app.knowledge.documents import search
        from ansambl.foundation.locales import speak

        return search(self.knowledge, wanted, None, speak).model_dump()

    def add(self, wanted: Mapping[str, Any], told: Told, stopped: Stopped) -> Document:
        """Take in a place."""
        report = self.knowledge.add(
            wanted["place"], wanted["collection"], watch=_teller(told), stopped=stopped, embed=False,
            keep_in_step=wanted.get("watch", False), include=tuple(wanted.get("include", ())),
            exclude=tuple(wanted.get("exclude", ())),
        )  # fmt: skip
        return _reported(report, stopped)

    def import_chats(self, wanted: Mapping[str, Any], told: Told, stopped: Stopped) -> Document:
        """Take in an export of conversations."""
        report = self.knowledge.import_chats(
            wanted["path"], wanted["collection"], watch=_teller(told), stopped=stopped, embed=False,
            day_first=wanted.get("day_first"),
        )  # fmt: skip
        return _reported(report, stopped)

    def embed(self, told: Told, stopped: Stopped, patience: float | None = None) -> Document | None:  # noqa: ARG002
        """Give vectors to what has none, to the end: nobody else goes on with it."""
        return _reported(self.knowledge.embed(watch=_teller(told), stopped=stopped), stopped)

    def remove_document(self, wanted: int) -> None:
        """Remove a document."""
        self.knowledge.remove_document(wanted)

    def remove_collection(self, name: str) -> int:
        """Remove a collection."""
        from ansambl.app.knowledge.documents import find_collection

        found = find_collection(self.knowledge, name)
        self.knowledge.remove_collection(found.name)
        return found.documents

    def memory(self, owner: str | None) -> list[Document]:
        """What is remembered."""
        from ansambl.app.knowledge.documents import document_document

        found: list[Document] = []
        after = 0
        while True:
            page = self.knowledge.documents(after=after, limit=_PAGE, owner=owner)
            found += [document_document(one).model_dump() for one in page if one.owner]
            if len(page) < _PAGE:
                return found
            after = page[-1].id

    def forget(self, owner: str) -> int:
        """Forget all that is remembered for a key."""
        return self.knowledge.forget(owner)

    def leave(self, folder: str, collection: str | None) -> None:
        """Keep a folder in step no more."""
        from ansambl.domain.errors import NotFoundError
        from ansambl.domain.text import text

        if not self.knowledge.leave(folder, collection):
            raise NotFoundError(text("The folder '{path}' is not kept in step.", path=folder[:200]))


def _teller(told: Told) -> Callable[[Progress], None]:
    from ansambl.app.knowledge.documents import progress_document

    return lambda one: told(progress_document(one).model_dump())


def _reported(report: Report, stopped: Stopped) -> Document:
    from ansambl.app.knowledge.documents import report_document
    from ansambl.foundation.locales import speak

    return {**report_document(report, speak).model_dump(), "stopped": stopped()}


@contextlib.contextmanager
def knowledge_access(config: Path | None, *, changes: bool) -> Iterator[KnowledgeAccess]:
    """Reach knowledge. While no Ansambl runs, the data folder is locked meanwhile, and made if something `changes`.

    Raises:
        AnsamblError: as `resting_data.reached`; or knowledge cannot be opened.
    """
    stack = contextlib.ExitStack()

    def resting(loaded: LoadedSettings, paths: DataPaths, _: Database) -> KnowledgeAccess:
        from ansambl.app.knowledge.opening import open_knowledge
        from ansambl.foundation.logging import configure
        from ansambl.foundation.paths import DataPaths

        used = paths
        if not changes and not (paths.root / "knowledge").exists():
            # Who only looks makes no data folder.
            used = DataPaths(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ansambl-"))))
            used.create()
        # Or lines meant for a log would stand among what the command prints.
        configure(used.logs / "ansambl.log")
        knowledge = open_knowledge(loaded, used)
        stack.callback(knowledge.close)
        return StoppedKnowledge(knowledge)

    # The stack is left first: what was opened is closed while the folder is still locked.
    with reached(config, changes=changes, running=RunningKnowledge, resting=resting) as found, stack:
        yield found
