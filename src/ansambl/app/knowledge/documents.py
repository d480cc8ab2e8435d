"""Records of knowledge as the JSON that commands and the admin API show; one shape for both.

Places come from file systems, whose names may be any bytes; what is no Unicode in them is written in hexadecimal behind
a backslash, because JSON cannot hold it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ansambl.api.knowledge_schemas import (
    BranchDocument,
    CollectionDocument,
    ConversationDocument,
    ConversationSummary,
    DocumentDocument,
    FolderDocument,
    HitDocument,
    JobDocument,
    KnowledgeDocument,
    PassageDocument,
    ProgressDocument,
    RefusedDocument,
    ReportDocument,
    SearchDocument,
    TurnDocument,
)
from ansambl.app.knowledge.jobs import Job
from ansambl.domain.errors import NotFoundError, UsageError
from ansambl.domain.knowledge import Collection, Document, Filters, Found, Hit, Kind, Passage
from ansambl.domain.names import nearest_names
from ansambl.domain.past_conversation import Branch, PastConversation, Speaker, Turn
from ansambl.domain.text import Text, text
from ansambl.knowledge.analysis.marking import spans_of, telling_terms
from ansambl.knowledge.contract import Estimate, Knowledge, Progress, Refused, Report, State

Translate = Callable[[str], str]

MOST_REFUSED: Final = 200
"""Refused things that one report names; the rest is counted."""
_LONGEST_REASON = 1000
_SOURCES: Final = {
    "chatgpt": "ChatGPT", "claude": "Claude", "open-webui": "Open WebUI", "lm-studio": "LM Studio", "nexus": "ChatGPT",
    "ansambl": "Ansambl",
}  # fmt: skip


def printable(words: str) -> str:
    """`words` without what no JSON can hold: half surrogates, which stand for bytes that are no Unicode."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if _has_halves(words) else words


def _has_halves(words: str) -> bool:
    try:
        words.encode()
    except UnicodeEncodeError:
        return True
    return False


def _escaped(words: str) -> str:
    try:
        return printable(words)
    except UnicodeEncodeError:
        # Halves that stand for no byte, as a damaged export may hold them.
        return words.encode("utf-8", "backslashreplace").decode()


def _texts(mapping: Mapping[str, str]) -> dict[str, str]:
    return {_escaped(str(name)): _escaped(str(value)) for name, value in mapping.items()}


def _all(words: Sequence[str]) -> list[str]:
    return [_escaped(one) for one in words]


def _or_none(words: str | None) -> str | None:
    return None if words is None else _escaped(words)


def state_document(state: State, estimate: Estimate) -> KnowledgeDocument:
    """How much there is, and what giving vectors to the rest would take."""
    return KnowledgeDocument(
        collections=state.collections, documents=state.documents, passages=state.passages, pending=state.pending,
        model=state.model, dimension=state.dimension, bundled=state.bundled, rate=state.rate,
        seconds_to_embed=estimate.seconds, index=state.index, bytes=state.bytes,
        folders=[FolderDocument(path=_escaped(path), collection=name) for path, name in state.folders],
    )  # fmt: skip


def collection_document(one: Collection) -> CollectionDocument:
    """A collection."""
    return CollectionDocument(
        name=_escaped(one.name), description=_escaped(one.description), created=one.created, folders=_all(one.folders),
        documents=one.documents, passages=one.passages, embedded=one.embedded, characters=one.characters,
    )  # fmt: skip


def document_document(one: Document) -> DocumentDocument:
    """A document without its text."""
    return DocumentDocument(
        id=one.id, collection=_escaped(one.collection), kind=one.kind.value, form=one.form.value,
        place=_escaped(one.place), title=_escaped(one.title), source=_escaped(one.source), time=one.time,
        added=one.added, language=one.language, authors=_all(one.authors), facts=_texts(one.facts),
        warnings=_all(one.warnings), digest=one.digest, owner=one.owner, characters=one.characters,
        passages=one.passages, embedded=one.embedded,
    )  # fmt: skip


def text_window(text: str, start: int, length: int) -> tuple[str, int | None]:
    """`length` characters of a text from `start` on, and where the next ones begin, None at its end."""
    end = start + length
    return _escaped(text[start:end]), end if end < len(text) else None


def passage_document(one: Passage) -> PassageDocument:
    """A passage."""
    return PassageDocument(
        number=one.number, start=one.start, end=one.end, text=_escaped(one.text), heading=heading_of(one),
        page=one.page, label=_escaped(one.label), author=_or_none(one.author), role=one.role, time=one.time,
        turn=_or_none(one.turn), language=one.language, tokens=one.tokens,
    )  # fmt: skip


def heading_of(passage: Passage) -> str | None:
    """The path of headings above a passage, in one line."""
    return _escaped(" > ".join(passage.headings)) or None


def filters_of(wanted: Mapping[str, Any], owners: tuple[str, ...] | None) -> Filters:
    """The filters of a request of search; `owners` are those whose documents may be found, None for all."""

    def several(name: str) -> tuple[Any, ...] | None:
        values = wanted.get(name)
        return None if values is None else tuple(values)

    kinds = several("kinds")
    return Filters(
        collections=several("collections"), kinds=None if kinds is None else tuple(map(Kind, kinds)),
        sources=several("sources"), authors=several("authors"), roles=several("roles"), languages=several("languages"),
        since=wanted.get("since"), until=wanted.get("until"), owners=owners, documents=several("documents"),
    )  # fmt: skip


def search(
    knowledge: Knowledge, wanted: Mapping[str, Any], owners: tuple[str, ...] | None, translate: Translate
) -> SearchDocument:
    """Answer a request of search (`SearchRequest` as a mapping). Blocks.

    Raises:
        UsageError: there is nothing to look for.
        AnsamblError: it cannot be searched.
    """
    query = str(wanted["query"]).strip()
    if not query:
        raise UsageError(text("say what is looked for; the question is empty"), param="query")
    limit, words_only = int(wanted.get("limit", 10)), bool(wanted.get("words_only"))
    found = knowledge.search(query, filters_of(wanted, owners), limit=limit, vectors=not words_only)
    document = search_document(found, translate)
    if wanted.get("marks"):
        terms = telling_terms(query)
        for one in document.hits:
            one.marks = spans_of(one.text, terms, one.language)
    return document


def find_collection(knowledge: Knowledge, name: str) -> Collection:
    """The collection of this name. Blocks.

    Raises:
        NotFoundError: there is none; names the nearest.
    """
    known = {one.name: one for one in knowledge.collections()}
    if name in known:
        return known[name]
    shown = name[:100]
    close = nearest_names(name, list(known))
    if close:
        raise NotFoundError(
            text("there is no collection '{name}'; nearest: {nearest}", name=shown, nearest=", ".join(close))
        )
    raise NotFoundError(text("there is no collection '{name}'; see: ansambl knowledge list", name=shown))


def search_document(found: Found, translate: Translate) -> SearchDocument:
    """What a search found."""
    return SearchDocument(
        hits=[hit_document(one, translate) for one in found.hits], vectors=found.vectors, pending=found.pending,
        seconds=dict(found.seconds),
    )  # fmt: skip


def hit_document(hit: Hit, translate: Translate) -> HitDocument:
    """One hit."""
    passage, document = hit.passage, hit.document
    moment = passage.time if passage.time is not None else document.time
    return HitDocument(
        text=_escaped(passage.text), score=hit.score, document=_escaped(document.title),
        collection=_escaped(document.collection), heading=heading_of(passage), page=passage.page, time=moment,
        author=_or_none(passage.author) or (_escaped(", ".join(document.authors)) or None), id=hit.id,
        document_id=document.id, place=_escaped(document.place), kind=document.kind.value,
        source=_escaped(document.source), role=passage.role, language=passage.language or document.language,
        label=label_of(hit, translate), by=list(hit.by), duplicates=list(hit.duplicates), number=passage.number,
        start=passage.start, end=passage.end,
    )  # fmt: skip


def label_of(hit: Hit, translate: Translate) -> str:
    """Where a hit stands, in a few words: ``ChatGPT, 07.08.2025``; ``handbook.pdf, page 3``."""
    passage, document = hit.passage, hit.document
    moment = passage.time if passage.time is not None else document.time
    if document.kind is Kind.CONVERSATION:
        who = _escaped(passage.author or "") or _SOURCES.get(document.source, _escaped(document.source))
        parts = [who, time.strftime("%d.%m.%Y", time.localtime(moment)) if moment is not None else ""]
        return ", ".join(one for one in parts if one) or _escaped(document.title)
    title = _escaped(document.title)
    if passage.label:
        return f"{title}, {_escaped(passage.label)}"
    if passage.page is not None:
        return f"{title}, {translate('page {number}').format(number=passage.page)}"
    return title


def progress_document(one: Progress) -> ProgressDocument:
    """How far something is."""
    return ProgressDocument(
        stage=one.stage, done=one.done, total=one.total, unit=one.unit, rate=one.rate, left=one.left,
        current=_escaped(one.current), note=_escaped(one.note),
    )  # fmt: skip


def refused_document(one: Refused, translate: Translate) -> RefusedDocument:
    """One thing that was not taken in; its reason is one line."""
    reason = one.reason.render(translate) if isinstance(one.reason, Text) else one.reason
    return RefusedDocument(place=_escaped(one.place), reason=_escaped(" ".join(reason.split()))[:_LONGEST_REASON])


def report_document(report: Report, translate: Translate) -> ReportDocument:
    """What an ingest did."""
    return ReportDocument(
        added=report.added, updated=report.updated, unchanged=report.unchanged, removed=report.removed,
        passages=report.passages, embedded=report.embedded,
        refused=[refused_document(one, translate) for one in report.refused[:MOST_REFUSED]],
        refused_count=len(report.refused), repairs=report.repairs, turns=report.turns, since=report.since,
        until=report.until, seconds=report.seconds, notes=[refused_document(one, translate) for one in report.notes],
    )  # fmt: skip


def job_document(job: Job, translate: Translate) -> JobDocument:
    """Long work as it stands."""
    report = None if job.report is None else report_document(job.report, translate)
    if report is not None:
        report.refused_count = job.refused
    return JobDocument(
        id=job.id, kind=job.kind, collection=_escaped(job.collection), place=_escaped(job.place),
        state=job.state.value, created=job.created, started=job.started, ended=job.ended,
        progress=None if job.progress is None else progress_document(job.progress), report=report,
        error=None if job.error is None else _escaped(job.error.render(translate)),
    )  # fmt: skip


def conversation_summary(one: Document) -> ConversationSummary:
    """A conversation's document; its id is what stands behind the source in its place."""
    return ConversationSummary(
        id=_escaped(one.place.partition(":")[2]) or str(one.id), document_id=one.id, title=_escaped(one.title),
        source=_escaped(one.source), collection=_escaped(one.collection), owner=one.owner, time=one.time,
        characters=one.characters,
    )  # fmt: skip


def conversation_document(one: PastConversation) -> ConversationDocument:
    """A whole conversation."""
    return ConversationDocument(
        id=_escaped(one.id), source=_escaped(one.source), title=_escaped(one.title), created=one.created,
        updated=one.updated, facts=_texts(one.facts), warnings=_all(one.warnings), turns=_turns(one.turns),
        branches=[BranchDocument(after=_escaped(branch.after), turns=_turns(branch.turns)) for branch in one.branches],
    )  # fmt: skip


def _turns(turns: Sequence[Turn]) -> list[TurnDocument]:
    return [
        TurnDocument(
            speaker=one.speaker.value, text=_escaped(one.text), time=one.time, author=_escaped(one.author),
            id=_escaped(one.id), attachments=_all(one.attachments),
        )
        for one in turns
    ]  # fmt: skip


def conversation_of(document: Mapping[str, Any]) -> PastConversation:
    """The conversation that a document of `conversation_document` tells, as a command gets it from a running Ansambl.

    Raises:
        KeyError: it is no such document.
    """
    return PastConversation(
        source=document["source"], id=document["id"], title=document["title"], turns=_turns_of(document["turns"]),
        branches=tuple(Branch(one["after"], _turns_of(one["turns"])) for one in document["branches"]),
        created=document["created"], updated=document["updated"], facts=document["facts"],
        warnings=tuple(document["warnings"]),
    )  # fmt: skip


def _turns_of(found: Sequence[Mapping[str, Any]]) -> tuple[Turn, ...]:
    return tuple(
        Turn(
            Speaker(one["speaker"]), one["text"], one["time"], one["author"], one["id"], tuple(one["attachments"])
        )
        for one in found
    )  # fmt: skip
