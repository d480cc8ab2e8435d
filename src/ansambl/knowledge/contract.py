"""What all knowledge of a data folder offers: to commands, the admin API and roles. `base.KnowledgeBase` fulfils it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ansambl.domain.knowledge import NO_FILTERS, Collection, Document, Filters, Found, Passage
from ansambl.domain.past_conversation import PastConversation
from ansambl.domain.text import Text


@dataclass(frozen=True, slots=True)
class Progress:
    """How far long work is. `stage` is ``"reading"``, ``"embedding"`` or ``"indexing"``; `unit` what is counted.

    `total` is None while it is not known; `rate` is units a second; `left` is seconds. `note` is one sentence about the
    newest thing that could not be taken in, or "".
    """

    stage: str
    done: int
    total: int | None
    unit: str
    rate: float | None = None
    left: float | None = None
    current: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """One thing that was not taken in: its `place`, and `reason`, one sentence; faces translate a `Text`.

    With `note` it is no loss: it was passed over as it should be, which is worth a word.
    """

    place: str
    reason: Text | str
    note: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingest did: documents by what became of them, those that were refused in order, and notes.

    For conversations, `turns` counts those that were read, `since` and `until` are the times of the first and the last
    of them, and `repairs` counts characters that had been decoded wrongly.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    embedded: int = 0
    refused: Sequence[Refused] = ()
    repairs: int = 0
    turns: int = 0
    since: float | None = None
    until: float | None = None
    seconds: float = 0.0
    notes: Sequence[Refused] = ()


@dataclass(frozen=True, slots=True)
class Estimate:
    """What giving vectors to all passages that have none would take, so that it can be said before it begins.

    `model` is the model's name, "" where there is none or it cannot be reached; `rate` is its passages a second and
    `seconds` the time that follows, None where nothing is known of its speed.
    """

    passages: int
    model: str = ""
    rate: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """How much knowledge there is. `pending` counts passages without a vector in the present model's space.

    `model` names the model of embeddings, "" where there is none; `bundled` is whether it is the small one that comes
    with Ansambl; `rate` is its passages a second, None where nothing is known. `index` is the kind of the index,
    `bytes` what knowledge takes of the disk. `folders` are those kept in step, each with its collection.
    """

    collections: int = 0
    documents: int = 0
    passages: int = 0
    pending: int = 0
    model: str = ""
    dimension: int = 0
    bundled: bool = False
    rate: float | None = None
    index: str = ""
    bytes: int = 0
    folders: Sequence[tuple[str, str]] = ()


Watch = Callable[[Progress], None]
"""Called from the working thread, a few times a second at most."""


class Stopped(Protocol):
    """Whether long work should end now; what is done by then stays."""

    def __call__(self) -> bool:
        """Asked between documents and between batches."""
        ...


class Knowledge(Protocol):
    """Calls block and come from any thread. All of them raise `AnsamblError` with one line where they cannot do it.

    Long ones tell `watch` how far they are, end cleanly when `stopped` says so, and go on where they were when they are
    called again. What one document cannot give is a `Refused` in the report, and the rest goes on.
    """

    def collections(self) -> list[Collection]:
        """All collections, by name."""
        ...

    def create(self, name: str, description: str = "") -> Collection:
        """A new collection, or the one of that name; its description is replaced where one is given."""
        ...

    def state(self) -> State:
        """How much there is, and what searches it. Asks no model that is not in memory."""
        ...

    def documents(
        self, collection: str | None = None, *, after: int = 0, limit: int = 100, text: str = "",
        owner: str | None = None,
    ) -> list[Document]:  # fmt: skip
        """Documents by their ids, beginning behind `after`; `text` must stand in the title or the place.

        `owner` is whose they must be; None for all.
        """
        ...

    def document(self, wanted: int) -> tuple[Document, str]:
        """One document and its text."""
        ...

    def passages(self, document: int) -> list[Passage]:
        """The passages of a document, in its order."""
        ...

    def conversation(self, wanted: str, owners: Sequence[str] | None = None) -> PastConversation:
        """A conversation by the id of its document, its own id, a beginning of that, or its exact title.

        Of those of `owners` alone, where they are given: the others are as if they were not there.
        """
        ...

    def add(
        self, place: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, keep_in_step: bool = False, include: Sequence[str] = (), exclude: Sequence[str] = (),
        known_as: str = "", roots: Sequence[str] = (), again: bool = True,
    ) -> Report:  # fmt: skip
        """Take in a file, a folder or a web page; what was taken in and has not changed costs no reading.

        Documents of a folder that are gone are removed. `keep_in_step` notes the folder for watching. `include` and
        `exclude` are patterns as of ``.gitignore``, for folders. `known_as` takes the place of a file's path, for one
        that will not stay (``upload:notes.pdf``); its last part names the document. With `roots` nothing outside of
        them is read, wherever links lead. A path is written as `reading.roots.place_of` does. `again` reads files once
        more that were refused and have not changed since.
        """
        ...

    def leave(self, folder: str, collection: str | None = None) -> bool:
        """Keep a folder in step no more, in one collection or in all; whether it was. Its documents stay."""
        ...

    def import_chats(
        self, path: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, roots: Sequence[str] = (), day_first: bool | None = None,
    ) -> Report:  # fmt: skip
        """Take in an export of conversations, or a folder of them. The same again adds nothing.

        `day_first` is how dates such as 07/08/2025 are meant where nothing in the export tells.
        """
        ...

    def remember(self, conversation: PastConversation, collection: str, owner: str) -> int:
        """Keep one conversation for `owner`, in place of an earlier state of it; the id of its document."""
        ...

    def embed(self, *, watch: Watch | None = None, stopped: Stopped | None = None) -> Report:
        """Give vectors to passages that have none in the present model's space. The former space serves meanwhile."""
        ...

    def estimate(self) -> Estimate:
        """What `embed` would take now: ask between an `add` with ``embed=False`` and it."""
        ...

    def search(self, query: str, filters: Filters = NO_FILTERS, *, limit: int = 10, vectors: bool = True) -> Found:
        """The passages that answer `query` best, by words and by meaning; by words alone where `vectors` is False."""
        ...

    def remove_document(self, wanted: int) -> None:
        """Remove a document; it is found no more when this returns."""
        ...

    def remove_collection(self, name: str) -> None:
        """Remove a collection and all its documents."""
        ...

    def forget(self, owner: str, collection: str | None = None) -> int:
        """Remove all documents of an owner, in one collection or in all; how many there were."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...
