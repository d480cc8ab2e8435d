"""The JSON of the admin API's routes for knowledge, apart from them: who only makes it needs no web framework.

Scripts depend on the keys: add, never rename. All times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LONGEST_QUERY = 4000
"""Characters of a question: more is a document, and no model of embeddings reads it."""
MOST_HITS = 100
_Word = Annotated[str, Field(max_length=300)]
_Words = Annotated[list[_Word], Field(max_length=100)]
_Patterns = Annotated[list[_Word], Field(max_length=100)]
_Collection = Annotated[str, Field(min_length=1, max_length=100, description="The name of a collection.")]
_Place = Annotated[str, Field(min_length=1, max_length=8000)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FolderDocument(BaseModel):
    """A folder that is kept in step: what changes in it is read again, what is gone is removed."""

    path: str
    collection: str


class FoldersDocument(BaseModel):
    """All of them."""

    folders: list[FolderDocument]


class KnowledgeDocument(BaseModel):
    """How much knowledge there is. `pending` counts passages that have no vector yet, and are found by their words.

    `model` is the model of embeddings, "" where there is none; `bundled` is whether it is the small one that comes with
    Ansambl. `seconds_to_embed` is what the pending passages would take, null where that is not known. `bytes` is what
    all of it takes of the disk. `max_upload` is the largest file that may be sent, `max_file` the largest document that
    is read; bytes.
    """

    collections: int
    documents: int
    passages: int
    pending: int
    model: str
    dimension: int
    bundled: bool
    rate: float | None
    seconds_to_embed: float | None
    index: str
    bytes: int
    folders: list[FolderDocument]
    max_upload: int | None = None
    max_file: int | None = None


class CollectionDocument(BaseModel):
    """One collection. `embedded` counts the passages that are found by their meaning, too.

    `characters` is how much text its documents have.
    """

    name: str
    description: str
    created: float
    folders: list[str]
    documents: int
    passages: int
    embedded: int
    characters: int = 0


class CollectionsDocument(BaseModel):
    """All collections, by name."""

    collections: list[CollectionDocument]


class CreateCollectionRequest(_Request):
    """A new collection, or another description of one that is there."""

    name: _Collection
    description: str = Field("", max_length=2000)


class DocumentDocument(BaseModel):
    """One document without its text. `kind` is file, page or conversation; `source` is where it came from.

    `owner` is the id of the API key for which alone it is found, "" for all who may read the collection.
    """

    id: int
    collection: str
    kind: str
    form: str
    place: str
    title: str
    source: str
    time: float | None
    added: float
    language: str | None
    authors: list[str]
    facts: dict[str, str]
    warnings: list[str]
    digest: str
    owner: str
    characters: int
    passages: int
    embedded: int


class DocumentsDocument(BaseModel):
    """Documents by their ids. `next` is what the next page's `after` is, null where this was the last one."""

    documents: list[DocumentDocument]
    next: int | None


class DocumentTextDocument(BaseModel):
    """A document with a part of its text: `characters` from `start` on. `next` is where it goes on, null at its end."""

    document: DocumentDocument
    text: str
    start: int
    next: int | None


class PassageDocument(BaseModel):
    """One passage of a document: characters `start` to `end` of its text. `page` counts from 1."""

    number: int
    start: int
    end: int
    text: str
    heading: str | None
    page: int | None
    label: str
    author: str | None
    role: str | None
    time: float | None
    turn: str | None
    language: str | None
    tokens: int


class PassagesDocument(BaseModel):
    """The passages of a document, in its order. `next` is what the next page's `after` is."""

    document: int
    passages: list[PassageDocument]
    next: int | None


class SearchRequest(_Request):
    """What is looked for, and where. What is left out does not matter; all that is there must hold.

    `until` is exclusive. `words_only` asks no model of embeddings. `marks` asks where the question's words stand.
    """

    query: str = Field(max_length=LONGEST_QUERY)
    collections: _Words | None = None
    kinds: Annotated[list[Annotated[str, Field(pattern="^(file|page|conversation)$")]], Field(max_length=3)] | None = (
        None
    )
    sources: _Words | None = None
    authors: _Words | None = None
    roles: _Words | None = None
    languages: _Words | None = None
    since: float | None = Field(None, allow_inf_nan=False)
    until: float | None = Field(None, allow_inf_nan=False)
    documents: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(max_length=100)] | None = None
    limit: int = Field(10, ge=1, le=MOST_HITS)
    words_only: bool = False
    marks: bool = False


class HitDocument(BaseModel):
    """One passage that was found. `score` is between 0 and 1 and comparable within one answer only.

    `document` is the title of its document, `document_id` its number, `id` the passage's. `label` is its source in
    words, as it is cited. `by` says how it was found: vector, text, rerank. `duplicates` are passages that say nearly
    the same. `number` is the passage's within its document, of whose text it is the characters `start` to `end`.
    `marks` are the beginnings and ends of the question's words within `text`, where they were asked for.
    """

    text: str
    score: float
    document: str
    collection: str
    heading: str | None
    page: int | None
    time: float | None
    author: str | None
    id: int
    document_id: int
    place: str
    kind: str
    source: str
    role: str | None
    language: str | None
    label: str
    by: list[str]
    duplicates: list[int]
    number: int
    start: int
    end: int
    marks: list[tuple[int, int]] = []


class SearchDocument(BaseModel):
    """Hits, best first. `vectors` is whether the meaning was searched; false: words alone."""

    hits: list[HitDocument]
    vectors: bool
    pending: int
    seconds: dict[str, float]


class AddRequest(_Request):
    """A file, a folder or the address of a web page. A path is absolute, or begins with ``~`` or ``file://``.

    `include` and `exclude` are patterns as of .gitignore, for folders. `watch` keeps a folder in step.
    """

    place: _Place
    collection: _Collection = "documents"
    include: _Patterns = []
    exclude: _Patterns = []
    embed: bool = True
    watch: bool = False


class ImportChatsRequest(_Request):
    """An export of conversations on this machine: a file, or a folder of notes.

    `day_first` is how dates such as 07/08/2025 are meant where nothing in the export tells; left out, the day first.
    """

    path: _Place
    collection: _Collection = "chats"
    embed: bool = True
    day_first: bool | None = None


class ProgressDocument(BaseModel):
    """How far a job is. `rate` is units a second, `left` seconds; `note` is the newest thing that was refused."""

    stage: str
    done: int
    total: int | None
    unit: str
    rate: float | None
    left: float | None
    current: str
    note: str


class RefusedDocument(BaseModel):
    """One thing that was not taken in, and why."""

    place: str
    reason: str


class ReportDocument(BaseModel):
    """What a job did. `refused` holds the first ones of `refused_count`; `notes` tells what was passed over rightly.

    Of conversations: `turns`, the times of the first and the last one, and `repairs`, the characters that had been read
    with the wrong character set.
    """

    added: int
    updated: int
    unchanged: int
    removed: int
    passages: int
    embedded: int
    refused: list[RefusedDocument]
    refused_count: int
    repairs: int
    turns: int
    since: float | None
    until: float | None
    seconds: float
    notes: list[RefusedDocument] = []


class JobDocument(BaseModel):
    """Long work. `kind` is add, import-chats or embed; `state` is waiting, running, done, stopped or failed."""

    id: str
    kind: str
    collection: str
    place: str
    state: str
    created: float
    started: float | None
    ended: float | None
    progress: ProgressDocument | None
    report: ReportDocument | None
    error: str | None


class JobsDocument(BaseModel):
    """Jobs since the start, the newest first."""

    jobs: list[JobDocument]


class ConversationSummary(BaseModel):
    """An imported or remembered conversation without its turns; `id` is what continues it."""

    id: str
    document_id: int
    title: str
    source: str
    collection: str
    owner: str
    time: float | None
    characters: int


class ConversationsDocument(BaseModel):
    """Conversations by the ids of their documents. `next` is what the next page's `after` is."""

    conversations: list[ConversationSummary]
    next: int | None


class TurnDocument(BaseModel):
    """One message. `speaker` is user, assistant, system or tool; `attachments` are names of files."""

    speaker: str
    text: str
    time: float | None
    author: str
    id: str
    attachments: list[str]


class BranchDocument(BaseModel):
    """Turns that went another way: they follow the turn with the id `after`."""

    after: str
    turns: list[TurnDocument]


class ConversationDocument(BaseModel):
    """A whole conversation; `turns` is the branch that was seen last."""

    id: str
    source: str
    title: str
    created: float | None
    updated: float | None
    facts: dict[str, str]
    warnings: list[str]
    turns: list[TurnDocument]
    branches: list[BranchDocument]


class RemovedDocument(BaseModel):
    """How many documents were removed."""

    removed: int
