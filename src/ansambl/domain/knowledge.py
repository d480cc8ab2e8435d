"""Documents, their passages, and what a search finds: plain records of the knowledge that roles read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

EVERYBODY = ""
"""The owner of what all may read who may read its collection."""


class Kind(StrEnum):
    """What a document is, for filters and for how it is cited."""

    FILE = "file"
    PAGE = "page"
    CONVERSATION = "conversation"


class Form(StrEnum):
    """How a document's text is written, so that it is divided where its structure allows it."""

    MARKDOWN = "markdown"
    PLAIN = "plain"
    CODE = "code"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Mark:
    """From character `start` of a material's text on, until the next mark, this holds.

    `page` counts from 1 (a page, slide, sheet or chapter) and `label` is its name where it has one (a sheet's). In a
    conversation each turn begins with a mark: `author` is who speaks, `role` is ``"user"``, ``"assistant"``,
    ``"system"`` or ``"tool"``, `time` is when (seconds since the epoch), `turn` is the id of the turn.
    """

    start: int
    page: int | None = None
    label: str = ""
    author: str | None = None
    role: str | None = None
    time: float | None = None
    turn: str | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """One document as it was read, before it is divided: what readers and importers give.

    `place` says where it is from and stays the same when it is read again: an absolute path, an address, or
    ``chatgpt:ID``. Inside a container it goes on after ``!`` (``/a/mails.zip!one.eml``). `text` is all of its text;
    `marks` are in ascending order. `time` is when it was written, in seconds since the epoch; `language` is an ISO
    639-1 code; `authors` are who wrote it or took part. `facts` holds what else is worth keeping, by name (``format``,
    ``model``, ``url``, ``tags``…), values being plain texts. `warnings` are sentences about what could not be read.
    """

    kind: Kind
    place: str
    title: str
    text: str
    form: Form = Form.MARKDOWN
    marks: tuple[Mark, ...] = ()
    time: float | None = None
    language: str | None = None
    authors: tuple[str, ...] = ()
    source: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk of a document: characters `start` to `end` of its text, which `text` repeats.

    `headings` is the path of headings above it, outermost first. `context` is what makes it findable and does not stand
    in it: the document's title, the headings, in a conversation the question that is answered; it is searched and
    embedded before the text, and never shown as the text. `tokens` is an estimate. `fingerprint` is a 64-bit hash of
    its terms that is nearly the same for nearly the same words.
    """

    number: int
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    context: str = ""
    page: int | None = None
    label: str = ""
    author: str | None = None
    role: str | None = None
    time: float | None = None
    turn: str | None = None
    language: str | None = None
    tokens: int = 0
    fingerprint: int = 0


@dataclass(frozen=True, slots=True)
class Collection:
    """One knowledge base. `folders` are the paths that it is kept in step with."""

    name: str
    description: str = ""
    created: float = 0.0
    folders: tuple[str, ...] = ()
    documents: int = 0
    passages: int = 0
    embedded: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a collection, without its text. Times are seconds since the epoch.

    `owner` is the id of the API key for which alone it is found; `EVERYBODY` for all who may read the collection.
    `digest` is the hash of what was read (file bytes or a canonical export), so that the same is not read twice.
    """

    id: int
    collection: str
    kind: Kind
    place: str
    title: str
    source: str = ""
    form: Form = Form.MARKDOWN
    time: float | None = None
    added: float = 0.0
    language: str | None = None
    authors: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    digest: str = ""
    owner: str = EVERYBODY
    characters: int = 0
    passages: int = 0
    embedded: int = 0


@dataclass(frozen=True, slots=True)
class Filters:
    """Which passages a search may find; None where it does not matter. All that is set must hold.

    `owners` are the owners whose documents are found (those of `EVERYBODY` must be named, too); None finds all, which
    only the machine's owner may. `since` and `until` are seconds since the epoch, the latter exclusive; a passage
    without a time is not found by them. `sources` are such as ``"chatgpt"``; `places` begin a document's place.
    """

    collections: tuple[str, ...] | None = None
    kinds: tuple[Kind, ...] | None = None
    sources: tuple[str, ...] | None = None
    authors: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    since: float | None = None
    until: float | None = None
    owners: tuple[str, ...] | None = None
    documents: tuple[int, ...] | None = None


NO_FILTERS = Filters()
"""Everything may be found."""


@dataclass(frozen=True, slots=True)
class Hit:
    """What a search found. `score` is between 0 and 1, higher is better, and comparable within one search only.

    `id` is the passage's. `by` says how it was found: ``"vector"``, ``"text"``, both, ``"rerank"``. `duplicates` are
    the ids of passages that say nearly the same and were folded into it. `likeness` is the cosine of the question and
    the passage, comparable between searches of one vector space; None where it was not found by meaning.
    """

    id: int
    score: float
    passage: Passage
    document: Document
    by: tuple[str, ...] = ()
    duplicates: tuple[int, ...] = ()
    likeness: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of a search: `hits`, best first, and what is worth knowing about it.

    `pending` counts passages of the searched collections that have no vector yet; `vectors` is whether the meaning was
    searched at all (False: words alone); `seconds` is by part (``embed``, ``vector``, ``text``, ``fuse``, ``rerank``).
    `space` names the model of the vectors that were searched, "" where none were.
    """

    hits: Sequence[Hit] = ()
    vectors: bool = False
    pending: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    space: str = ""
