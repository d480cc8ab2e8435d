"""Knowledge in memory, for tests of what uses it: deterministic, reads UTF-8 text files alone, finds by plain words."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

import msgspec

from ansambl.domain.errors import NotFoundError, UsageError
from ansambl.domain.knowledge import (
    EVERYBODY,
    NO_FILTERS,
    Collection,
    Document,
    Filters,
    Form,
    Found,
    Hit,
    Kind,
    Passage,
)
from ansambl.domain.languages import language_of_text
from ansambl.domain.past_conversation import PastConversation, Speaker
from ansambl.domain.text import text as sentence
from ansambl.knowledge.contract import Estimate, Progress, Refused, Report, State, Stopped, Watch

_WORD = re.compile(r"\w+")


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold().replace("ё", "е")) if len(word) > 1}


@dataclass(slots=True)
class _Kept:
    document: Document
    text: str
    passages: dict[int, Passage] = field(default_factory=dict)
    conversation: PastConversation | None = None


class FakeKnowledge:
    """Fulfils `contract.Knowledge`. Its words are folded as they stand, without lemmas; it has no real vectors.

    A passage's score is the share of the query's words that stand in it, in its context or its headings. Files are read
    as UTF-8 and divided at blank lines; lines that begin with ``#`` are headings. An export is a JSON list of
    `PastConversation` records. Times begin at `now` and grow by one with everything that is added.
    """

    def __init__(self, *, vectors: bool = True, now: float = 1_750_000_000.0) -> None:
        """`vectors` is what `Found.vectors` says where a search asks for them; otherwise all passages are pending."""
        self.vectors = vectors
        self.searched: list[tuple[str, Filters]] = []
        self.failure: Exception | None = None
        """Raised by the next searches, until it is None again."""
        self.closed = False
        self._now = count(int(now))
        self._documents: dict[int, _Kept] = {}
        self._collections: dict[str, Collection] = {}
        self._ids = count(1)
        self._passages = count(1)
        self._lock = threading.RLock()

    def collections(self) -> list[Collection]:
        """All collections, by name."""
        with self._lock:
            return [self._counted(one) for _, one in sorted(self._collections.items())]

    def _counted(self, one: Collection) -> Collection:
        inside = [kept for kept in self._documents.values() if kept.document.collection == one.name]
        passages = sum(len(kept.passages) for kept in inside)
        return replace(
            one, documents=len(inside), passages=passages, embedded=passages if self.vectors else 0,
            characters=sum(len(kept.text) for kept in inside),
        )  # fmt: skip

    def create(self, name: str, description: str = "") -> Collection:
        """A new collection, or the one of that name; its description is replaced where one is given."""
        with self._lock:
            one = self._collections.get(name) or Collection(name, created=float(next(self._now)))
            self._collections[name] = replace(one, description=description or one.description)
            return self._counted(self._collections[name])

    def documents(
        self, collection: str | None = None, *, after: int = 0, limit: int = 100, text: str = "",
        owner: str | None = None,
    ) -> list[Document]:  # fmt: skip
        """Documents by their ids."""
        with self._lock:
            found = [
                kept.document
                for wanted, kept in sorted(self._documents.items())
                if wanted > after
                and collection in {None, kept.document.collection}
                and owner in {None, kept.document.owner}
                and (text.casefold() in kept.document.title.casefold() or text in kept.document.place)
            ]
            return found[:limit]

    def _kept(self, wanted: int) -> _Kept:
        kept = self._documents.get(wanted)
        if kept is None:
            raise NotFoundError(sentence("There is no document with the number {number}", number=wanted))
        return kept

    def document(self, wanted: int) -> tuple[Document, str]:
        """One document and its text."""
        with self._lock:
            kept = self._kept(wanted)
            return kept.document, kept.text

    def passages(self, document: int) -> list[Passage]:
        """The passages of a document."""
        with self._lock:
            return list(self._kept(document).passages.values())

    def conversation(self, wanted: str, owners: Sequence[str] | None = None) -> PastConversation:
        """A conversation by the id of its document, its own id, a beginning of that, or its exact title."""
        with self._lock:
            for kept in self._documents.values():
                one = kept.conversation
                if owners is not None and kept.document.owner not in owners:
                    continue
                if one is not None and (
                    wanted in {str(kept.document.id), one.id, one.title} or (wanted and one.id.startswith(wanted))
                ):
                    return one
        raise NotFoundError(sentence("There is no conversation “{wanted}”", wanted=wanted))

    def put(
        self, collection: str, title: str, text: str, *, place: str = "", owner: str = EVERYBODY,
        kind: Kind = Kind.FILE, time: float | None = None, page: int | None = None,
    ) -> int:  # fmt: skip
        """For tests: keep `text` as a document, in place of one of the same place; its id."""
        with self._lock:
            self.create(collection)
            place = place or f"/documents/{title}"
            self._drop(place, collection, owner)
            wanted = next(self._ids)
            passages: dict[int, Passage] = {}
            headings: list[str] = []
            start = 0
            for block in re.split(r"\n\s*\n", text):
                start = text.index(block, start)
                lines = [line for line in block.splitlines() if line.strip()]
                while lines and lines[0].startswith("#"):
                    level = len(lines[0]) - len(lines[0].lstrip("#"))
                    headings = [*headings[: level - 1], lines.pop(0).lstrip("# ")]
                if not lines:
                    continue
                body = "\n".join(lines)
                passages[next(self._passages)] = Passage(
                    len(passages), start, start + len(block), body, tuple(headings), " > ".join((title, *headings)),
                    page=page, time=time, language=language_of_text(body), tokens=len(body) // 4 + 1,
                )  # fmt: skip
            document = Document(
                wanted, collection, kind, place, title, source="file", form=Form.MARKDOWN, time=time,
                added=float(next(self._now)), language=language_of_text(text),
                digest=hashlib.sha256(text.encode()).hexdigest(), owner=owner, characters=len(text),
                passages=len(passages), embedded=len(passages) if self.vectors else 0,
            )  # fmt: skip
            self._documents[wanted] = _Kept(document, text, passages)
            return wanted

    def _drop(self, place: str, collection: str, owner: str) -> None:
        for wanted, kept in list(self._documents.items()):
            one = kept.document
            if (one.place, one.collection, one.owner) == (place, collection, owner):
                del self._documents[wanted]

    def add(
        self, place: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, keep_in_step: bool = False, include: Sequence[str] = (), exclude: Sequence[str] = (),
        known_as: str = "", roots: Sequence[str] = (), again: bool = True,
    ) -> Report:  # fmt: skip
        """Take in a text file, or those of a folder. `embed` changes nothing here; patterns are of file names."""
        _ = embed, roots, again
        root = Path(place)
        if not root.exists():
            raise UsageError(sentence("{place} does not exist", place=place))
        files = [root]
        if root.is_dir():
            files = sorted(one for one in root.rglob("*") if one.is_file() and _wanted(one.name, include, exclude))
        self.create(collection)
        added = updated = unchanged = passages = 0
        refused = []
        for number, file in enumerate(files):
            if stopped is not None and stopped():
                break
            try:
                text = file.read_bytes().decode()
            except UnicodeDecodeError:
                refused.append(Refused(str(file), "is not text"))
                continue
            name = known_as or str(file)
            earlier = self._at(name, collection)
            if earlier is not None and earlier.text == text:
                unchanged += 1
            else:
                title = name.rpartition("/")[2]
                passages += len(self._documents[self.put(collection, title, text, place=name)].passages)
                added += earlier is None
                updated += earlier is not None
            if watch is not None:
                watch(Progress("reading", number + 1, len(files), "documents", current=str(file)))
        if keep_in_step:
            with self._lock:
                one = self._collections[collection]
                self._collections[collection] = replace(one, folders=tuple(sorted({*one.folders, str(root)})))
        embedded = passages if self.vectors else 0
        return Report(added, updated, unchanged, passages=passages, embedded=embedded, refused=tuple(refused))

    def leave(self, folder: str, collection: str | None = None) -> bool:
        """Keep a folder in step no more; whether it was."""
        with self._lock:
            left = [
                one for one in self._collections.values() if folder in one.folders and collection in {None, one.name}
            ]
            for one in left:
                rest = tuple(other for other in one.folders if other != folder)
                self._collections[one.name] = replace(one, folders=rest)
            return bool(left)

    def state(self) -> State:
        """What there is."""
        with self._lock:
            known = self.collections()
            passages = sum(one.passages for one in known)
            return State(
                len(known), len(self._documents), passages, 0 if self.vectors else passages, "fake", 8, rate=2.0,
                index="memory", folders=tuple((folder, one.name) for one in known for folder in one.folders),
            )  # fmt: skip

    def _at(self, place: str, collection: str) -> _Kept | None:
        with self._lock:
            found = (one for one in self._documents.values() if one.document.place == place)
            return next((one for one in found if one.document.collection == collection), None)

    def import_chats(
        self, path: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, roots: Sequence[str] = (), day_first: bool | None = None,
    ) -> Report:  # fmt: skip
        """Take in a JSON list of `PastConversation` records."""
        _ = embed, roots, day_first
        try:
            conversations = msgspec.json.decode(Path(path).read_bytes(), type=list[PastConversation])
        except (OSError, msgspec.MsgspecError):
            raise UsageError(sentence("{place} is not an export of conversations", place=path)) from None
        self.create(collection)
        report = Report()
        for number, one in enumerate(conversations):
            if stopped is not None and stopped():
                break
            earlier = self._at(f"{one.source}:{one.id}", collection)
            if earlier is not None and earlier.conversation == one:
                report = replace(report, unchanged=report.unchanged + 1)
            else:
                passages = len(self._documents[self.remember(one, collection, EVERYBODY)].passages)
                report = replace(
                    report, added=report.added + (earlier is None), updated=report.updated + (earlier is not None),
                    passages=report.passages + passages,
                )  # fmt: skip
            if watch is not None:
                watch(Progress("reading", number + 1, len(conversations), "conversations", current=one.title))
        return report

    def remember(self, conversation: PastConversation, collection: str, owner: str) -> int:
        """Keep one conversation; each turn of a person or an assistant is a passage."""
        with self._lock:
            text = "\n\n".join(turn.text for turn in conversation.turns)
            place = f"{conversation.source}:{conversation.id}"
            wanted = self.put(
                collection, conversation.title, text, place=place, owner=owner, kind=Kind.CONVERSATION,
                time=conversation.updated or conversation.created,
            )  # fmt: skip
            kept = self._documents[wanted]
            kept.conversation, kept.passages = conversation, {}
            start, question = 0, ""
            for turn in conversation.turns:
                end = start + len(turn.text)
                if turn.speaker in {Speaker.USER, Speaker.ASSISTANT} and turn.text.strip():
                    kept.passages[next(self._passages)] = Passage(
                        len(kept.passages), start, end, turn.text, context=f"{conversation.title} {question}".strip(),
                        author=turn.author or None, role=str(turn.speaker), time=turn.time, turn=turn.id or None,
                        language=language_of_text(turn.text), tokens=len(turn.text) // 4 + 1,
                    )  # fmt: skip
                question = turn.text if turn.speaker is Speaker.USER else ""
                start = end + 2
            kept.document = replace(
                kept.document, source=conversation.source, form=Form.CONVERSATION, passages=len(kept.passages),
                authors=tuple(dict.fromkeys(turn.author for turn in conversation.turns if turn.author)),
                embedded=len(kept.passages) if self.vectors else 0,
            )  # fmt: skip
            return wanted

    def embed(self, *, watch: Watch | None = None, stopped: Stopped | None = None) -> Report:
        """All passages have what stands for vectors from now on."""
        estimate = self.estimate()
        if stopped is not None and stopped():
            return Report()
        with self._lock:
            self.vectors = True
            for kept in self._documents.values():
                kept.document = replace(kept.document, embedded=len(kept.passages))
        if watch is not None:
            watch(Progress("embedding", estimate.passages, estimate.passages, "passages"))
        return Report(embedded=estimate.passages)

    def estimate(self) -> Estimate:
        """Two passages a second, as a small model gives them."""
        with self._lock:
            pending = 0 if self.vectors else sum(len(kept.passages) for kept in self._documents.values())
        return Estimate(pending, "fake", 2.0, pending / 2.0)

    def search(self, query: str, filters: Filters = NO_FILTERS, *, limit: int = 10, vectors: bool = True) -> Found:
        """The passages that hold most words of `query`; the earliest first where they hold as many."""
        self.searched.append((query, filters))
        if self.failure is not None:
            raise self.failure
        wanted = _words(query)
        with self._lock:
            self._known(filters.collections or ())
            searched = [
                (kept.document, number, one)
                for kept in self._documents.values()
                for number, one in kept.passages.items()
                if _passes(kept.document, one, filters)
            ]
        hits = []
        by = ("vector", "text") if vectors and self.vectors else ("text",)
        for document, number, one in searched:
            score = len(wanted & _words(f"{one.context} {' '.join(one.headings)} {one.text}")) / max(1, len(wanted))
            if score:
                hits.append(Hit(number, score, one, document, by))
        hits.sort(key=lambda hit: (-hit.score, hit.id))
        return Found(tuple(hits[:limit]), vectors and self.vectors, 0 if self.vectors else len(searched))

    def _known(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._collections:
                raise NotFoundError(sentence("There is no collection “{name}”", name=name))

    def remove_document(self, wanted: int) -> None:
        """Remove a document."""
        with self._lock:
            self._kept(wanted)
            del self._documents[wanted]

    def remove_collection(self, name: str) -> None:
        """Remove a collection and all its documents."""
        with self._lock:
            self._known((name,))
            del self._collections[name]
            for wanted, kept in list(self._documents.items()):
                if kept.document.collection == name:
                    del self._documents[wanted]

    def forget(self, owner: str, collection: str | None = None) -> int:
        """Remove all documents of an owner; how many there were."""
        with self._lock:
            gone = [
                wanted
                for wanted, kept in self._documents.items()
                if kept.document.owner == owner and collection in {None, kept.document.collection}
            ]
            for wanted in gone:
                del self._documents[wanted]
            return len(gone)

    def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


def _wanted(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    if any(fnmatch(name, pattern) for pattern in exclude):
        return False
    return not include or any(fnmatch(name, pattern) for pattern in include)


def _passes(document: Document, passage: Passage, filters: Filters) -> bool:
    time = passage.time if passage.time is not None else document.time
    pairs: tuple[tuple[Sequence[object] | None, object], ...] = (
        (filters.collections, document.collection), (filters.kinds, document.kind), (filters.sources, document.source),
        (filters.authors, passage.author), (filters.roles, passage.role), (filters.owners, document.owner),
        (filters.languages, passage.language or document.language), (filters.documents, document.id),
    )  # fmt: skip
    return (
        all(allowed is None or value in allowed for allowed, value in pairs)
        and (filters.since is None or (time is not None and time >= filters.since))
        and (filters.until is None or (time is not None and time < filters.until))
    )
