"""What an answer tells of the documents that it was made from: events for Open WebUI, annotations for all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.citing import Cited, chat_annotations
from ansambl.dialects.openai_chat import Envelope
from ansambl.domain.knowledge import Kind
from ansambl.domain.text import Text, text
from ansambl.foundation.locales import language_of_header, speak
from ansambl.gateway.asgi import Scope, header
from ansambl.gateway.exchange import speaker_of_scope
from ansambl.roles.knowledge.block import described
from ansambl.roles.knowledge.citing import citations, cited_sources
from ansambl.roles.knowledge.harmless import one_line
from ansambl.roles.knowledge.records import Given, Piece, Source, passage_id

EVENTS_HEADER = b"x-ansambl-events"
_OPEN_WEBUI = b"open-webui"
_OF_OPEN_WEBUI = b"x-openwebui-"
_HTTP = ("http://", "https://")
_LONGEST_HOST = 255


def is_open_webui(scope: Scope) -> bool:
    """Whether a request comes from Open WebUI: it names its users, or the connection's header says so."""
    told = header(scope, EVENTS_HEADER)
    if told is not None:
        return told.strip().lower() == _OPEN_WEBUI
    return any(name.startswith(_OF_OPEN_WEBUI) for name, _ in scope["headers"])


@dataclass(frozen=True, slots=True)
class Citing:
    """The sources of one answer, for its client. `given` is asked when they are needed: an ensemble finds them late."""

    scope: Scope
    given: Callable[[], Sequence[Given]]

    @property
    def sources(self) -> tuple[Source, ...]:
        """All of them, by their numbers."""
        found = {one.number: one for given in self.given() for one in given.sources}
        return tuple(found[number] for number in sorted(found))

    @property
    def searched(self) -> bool:
        """Whether anything was searched at all."""
        return bool(self.given())

    def cited(self, answer: str) -> list[Cited]:
        """The marks of an answer that name a source."""
        whole = self._whole()
        if whole is None:
            return []
        place = {one.number: index for index, one in enumerate(whole.sources)}
        by_number = {one.number: one for one in whole.sources}
        return [
            Cited(
                place[mark.number], mark.start, mark.end, f"document-{by_number[mark.number].piece.document.id}",
                described(by_number[mark.number].piece), self._address(by_number[mark.number].piece),
                by_number[mark.number].piece.text,
            )
            for mark in citations(answer, whole)
        ]  # fmt: skip

    def account(self, answer: str) -> dict[str, Any]:
        """What our own object in the answer says of its sources."""
        whole = self._whole()
        if whole is None:
            return {}
        failure = next((one.failure for one in self.given() if one.failure is not None), None)
        marks = citations(answer, whole)
        return {
            "sources": [
                {
                    **one.as_json(cited=cited),
                    "citation": described(one.piece, self._language()),
                    "url": self._address(one.piece),
                    "passage": passage_id(one.piece.document.id, one.piece.first.number),
                    "link": reading_link(one.piece),
                }
                for one, cited in cited_sources(whole, marks)
            ],
            "knowledge": {
                "query": whole.query.text,
                "collections": list(dict.fromkeys(name for one in self.given() for name in one.collections)),
                "failure": failure.render(speaker_of_scope(self.scope)) if failure is not None else None,
            },
        }

    def _language(self) -> str:
        asked = header(self.scope, b"accept-language")
        return speak.language if asked is None else language_of_header(asked.decode("latin-1"))

    def _whole(self) -> Given | None:
        given = self.given()
        if not given:
            return None
        return Given(given[0].text, given[0].query, given[0].collections, self.sources)

    def header(self) -> tuple[bytes, bytes]:
        """How many sources there are."""
        return (b"x-ansambl-sources", b"%d" % len(self.sources))

    def events(self, envelope: Envelope) -> bytes:
        """What Open WebUI shows of the search and its sources, before the answer."""
        return status_event(envelope, self._status(), done=True) + b"".join(
            _event(envelope, "source", one) for one in _open_webui_sources(self.sources, self._address)
        )

    def _status(self) -> str:
        speak = speaker_of_scope(self.scope)
        failure = next((one.failure for one in self.given() if one.failure is not None), None)
        if failure is not None:
            return text("The documents were not searched: {reason}", reason=failure).render(speak)
        count = len(self.sources)
        found = text("Nothing was found in the documents") if not count else _found(count)
        return found.render(speak)

    def _address(self, piece: Piece) -> str:
        """Where a source can be read: a web page at its own place, all else on the console's page of the document."""
        document = piece.document
        if document.kind is Kind.PAGE and document.place.startswith(_HTTP):
            return document.place
        host = (header(self.scope, b"host") or b"localhost")[:_LONGEST_HOST].decode("latin-1")
        return f"{self.scope.get('scheme', 'http')}://{host}{reading_link(piece)}"


def reading_link(piece: Piece) -> str:
    """The console's page of a document, opened at a passage; a path on this Ansambl, without its address."""
    return f"/console/knowledge/documents/{piece.document.id}?passage={piece.first.number}"


def annotated(message: dict[str, Any], cited: Sequence[Cited]) -> dict[str, Any]:
    """A message or a delta with its annotations."""
    return {**message, "annotations": chat_annotations(cited)} if cited else message


def searching_event(envelope: Envelope, scope: Scope) -> bytes:
    """The event that says that documents are being searched."""
    return status_event(envelope, text("Searching the documents").render(speaker_of_scope(scope)), done=False)


def status_event(envelope: Envelope, words: str, *, done: bool, hidden: bool = False) -> bytes:
    """A line that Open WebUI shows above the answer, or (`hidden`) takes away again."""
    return _event(envelope, "status", {"description": words, "done": done, **({"hidden": True} if hidden else {})})


def _found(count: int) -> Text:
    return text("Passages found in the documents: {count}", count=count)


def _event(envelope: Envelope, kind: str, data: Mapping[str, Any]) -> bytes:
    # On a chunk like any other: clients that do not know the field look at `choices[0]`.
    chunk = openai_chat.chunk(envelope, {"content": ""})
    return openai_chat.event({**chunk, "event": {"type": kind, "data": data}})


def _open_webui_sources(sources: Sequence[Source], address: Callable[[Piece], str]) -> list[dict[str, Any]]:
    """The sources as Open WebUI's events want them.

    It counts its own numbers by distinct ``metadata.source`` values, in their order, so each passage has one of its
    own; that is a plain name, because for an address it would ask another service for the site's picture. Pages count
    from 0.
    """
    found = []
    taken: set[str] = set()
    for one in sources:
        name = described(one.piece).replace("://", ":")
        while name in taken:
            name = f"{name} · {one.number}"
        taken.add(name)
        metadata: dict[str, Any] = {"source": name, "name": name}
        if one.piece.first.page is not None:
            metadata["page"] = max(0, one.piece.first.page - 1)
        likeness = one.piece.likeness if one.piece.likeness is not None else one.piece.score
        found.append(
            {
                "source": {"id": f"{one.piece.document.id}:{one.number}", "name": one_line(name),
                           "url": address(one.piece)},
                "document": [one.piece.text],
                "metadata": [metadata],
                "distances": [round(min(1.0, max(0.0, likeness)), 4)],
            }
        )  # fmt: skip
    return found
