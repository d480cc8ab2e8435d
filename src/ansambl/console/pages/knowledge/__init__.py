"""The page Knowledge: what was taken in, searching it, adding to it; and the pages of its documents."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.admin_client import AdminApi, AdminError
from ansambl.console.page import Frame, Page, may, wants_fragment
from ansambl.console.pages.knowledge.documents import show_document
from ansambl.console.pages.knowledge.words import knowledge_words
from ansambl.console.words import Speak
from ansambl.domain.access import Endpoint

LISTED: Final = 100
"""Documents on one page of a list."""
HITS: Final = 20
EXCERPT: Final = 700
"""Characters of a passage that are shown with a hit."""
_DAY: Final = dt.timedelta(days=1)


def _name(speak: Speak) -> str:
    return speak("Knowledge")


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        """The page; asked by its search form, the hits alone."""
        api = frame.admin(request)
        # Back and forward ask for the whole page, though htmx asks.
        if wants_fragment(request) and "hx-history-restore-request" not in request.headers:
            return frame.fragment(request, "knowledge/hits.html", **await _found(api, request, frame.speak(request)))
        if not may(request, Endpoint.ADMIN_READ):
            return frame.page(request, PAGE, "knowledge/reading.html", data={"document": None, "passage": None})
        holdings = await _holdings(api)
        found, memory, jobs = await asyncio.gather(
            _found(api, request, frame.speak(request)), _memory(api), api.get("knowledge", "jobs")
        )
        state = holdings["state"]
        limits = {"upload": state["max_upload"], "file": state["max_file"]}
        return frame.page(
            request, PAGE, "knowledge/page.html", **holdings, **found, **memory, when=when,
            data={"jobs": jobs["jobs"], "limits": limits},
        )  # fmt: skip

    async def holdings(request: Request) -> Response:
        return frame.fragment(request, "knowledge/holdings.html", **await _holdings(frame.admin(request)))

    async def memory(request: Request) -> Response:
        return frame.fragment(request, "knowledge/memory.html", **await _memory(frame.admin(request)), when=when)

    async def documents(request: Request) -> Response:
        return frame.page(
            request, PAGE, "knowledge/documents.html", **await _listed(frame.admin(request), request), when=when
        )

    async def document(request: Request) -> Response:
        return await show_document(frame, PAGE, request, when)

    return [
        Route(PAGE.path, get),
        Route(f"{PAGE.path}/holdings", holdings),
        Route(f"{PAGE.path}/memory", memory),
        Route(f"{PAGE.path}/documents", documents),
        Route(f"{PAGE.path}/documents/{{document}}", document),
    ]


def when(epoch: float | None, *, day: bool = False) -> str:
    """A moment in the time of this machine, written so that both languages read it; "" for none."""
    if epoch is None:
        return ""
    try:
        moment = dt.datetime.fromtimestamp(epoch).astimezone()
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%d" if day else "%Y-%m-%d %H:%M")


async def _holdings(api: AdminApi) -> dict[str, Any]:
    # One after the other: the first one opens it, or says in one line why it cannot be opened.
    state = await api.get("knowledge")
    listed = await api.get("knowledge", "collections")
    return {"state": state, "collections": listed["collections"], "links": _collection_links(listed["collections"])}


def _collection_links(collections: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {one["name"]: documents_link(collection=one["name"]) for one in collections}


def documents_link(**query: object) -> str:
    """The list of documents with a filter."""
    given = {name: value for name, value in query.items() if value}
    return "/console/knowledge/documents" + (f"?{urlencode(given)}" if given else "")


async def _memory(api: AdminApi) -> dict[str, Any]:
    listed = await api.get("knowledge", "memory", limit=LISTED)
    owners: dict[str, list[dict[str, Any]]] = {}
    for one in listed["documents"]:
        owners.setdefault(one["owner"], []).append(one)
    names: dict[str, str] = {}
    if owners:
        keys = await api.get("keys", revoked=True)
        names = {one["id"]: one["name"] for one in keys["keys"]}
    return {"owners": owners, "names": names, "more_memory": listed["next"] is not None}


async def _listed(api: AdminApi, request: Request) -> dict[str, Any]:
    asked = request.query_params
    collection, text, after = asked.get("collection") or None, asked.get("text", ""), asked.get("after", "0")
    listed = await api.get("knowledge", "documents", collection=collection, text=text, after=after, limit=LISTED)
    following = documents_link(collection=collection, text=text, after=listed["next"])
    return {
        "documents": listed["documents"], "collection": collection, "text": text,
        "following": following if listed["next"] is not None else None,
        "first": documents_link(collection=collection, text=text) if after != "0" else None,
    }  # fmt: skip


async def _found(api: AdminApi, request: Request, speak: Speak) -> dict[str, Any]:
    """What the search form asks for, and what was found; no search without words."""
    query = request.query_params
    fields = ("q", "collection", "kind", "author", "since", "until", "words")
    asked = {name: query.get(name, "").strip() for name in fields}
    if not asked["q"]:
        return {"asked": asked, "hits": None, "found": None}
    wanted: dict[str, Any] = {"query": asked["q"], "limit": HITS, "marks": True, "words_only": bool(asked["words"])}
    wanted |= {f"{name}s": [asked[name]] for name in ("collection", "kind", "author") if asked[name]}
    since, until = (_day(asked[name], name, speak) for name in ("since", "until"))
    if since is not None:
        wanted["since"] = since[0]
    if until is not None:
        # The last day counts, too.
        wanted["until"] = until[1]
    found = await api.post("knowledge", "search", document=wanted)
    return {"asked": asked, "hits": [found_hit(one) for one in found["hits"]], "found": found}


def _day(written: str, name: str, speak: Speak) -> tuple[float, float] | None:
    """When a day begins and ends, in seconds since the epoch; None where none is written."""
    if not written:
        return None
    try:
        found = dt.datetime.fromisoformat(written)
        return found.timestamp(), (found + _DAY).timestamp()
    except (ValueError, OverflowError):
        message = speak("'{name}' must be a day such as 2025-08-07.").format(name=name)
        raise AdminError(400, message, param=name) from None


def found_hit(one: dict[str, Any]) -> dict[str, Any]:
    """What the list shows of one hit: its link, its day, where it stands, and the part where the words are."""
    link = f"/console/knowledge/documents/{one['document_id']}?passage={one['number']}"
    moment = when(one["time"], day=True)
    label = one["label"]
    if one["kind"] == "conversation" and one["author"] and label.startswith(one["author"]):
        # The label of what somebody said names the author and the day, which the line has anyway.
        label = ""
    # Many passages have no more to say of themselves than their document's title.
    about = dict.fromkeys(words for words in (label, one["heading"]) if words and words != one["document"])
    return {**one, "pieces": excerpt(one["text"], one["marks"]), "link": link, "when": moment, "about": list(about)}


def excerpt(text: str, marks: Sequence[tuple[int, int]]) -> list[tuple[str, bool]]:
    """The part of a passage to show with a hit, where its first marks are, as `pieces`; `EXCERPT` characters."""
    first = marks[0][0] if marks else 0
    start = max(0, min(first - EXCERPT // 4, len(text) - EXCERPT))
    end = start + EXCERPT
    inside = [(begin - start, stop - start) for begin, stop in marks if begin >= start and stop <= end]
    found = pieces(text[start:end], inside)
    return [*([("… ", False)] if start else []), *found, *([(" …", False)] if end < len(text) else [])]


def pieces(text: str, marks: Iterable[tuple[int, int]]) -> list[tuple[str, bool]]:
    """A text in parts, and whether each is marked."""
    found: list[tuple[str, bool]] = []
    at = 0
    for start, end in marks:
        found += [(text[at:start], False), (text[start:end], True)]
        at = end
    found.append((text[at:], False))
    return [one for one in found if one[0]]


PAGE = Page(
    key="knowledge", path="/console/knowledge", name=_name, routes=_routes, script="knowledge/page.js",
    words=knowledge_words, styles=("pages/knowledge/page.css",), part=Endpoint.KNOWLEDGE,
)  # fmt: skip
