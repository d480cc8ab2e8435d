"""The pages of documents: a part of the text, or the turns of a conversation, opened at a passage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from ansambl.console.admin_client import AdminApi, AdminError
from ansambl.console.page import Frame, Page

WINDOW: Final = 20_000
"""Characters of a text on one page."""
BEFORE: Final = 4_000
"""Characters before a passage that are shown with it."""
TURNS: Final = 40
"""Turns of a conversation on one page."""
_LARGEST: Final = 2**63 - 1
_FORBIDDEN = 403
_NOT_FOUND = 404


async def show_document(frame: Frame, page: Page, request: Request, when: Callable[..., str]) -> Response:
    """The page of a document. A key that may not read the admin API reads by ``/v1/knowledge``, what it may read."""
    api = frame.admin(request)
    wanted = request.path_params["document"][:40]
    asked = _number(request.query_params.get("passage"))
    try:
        found = await api.get("knowledge", "documents", wanted, length=0)
    except AdminError as error:
        if error.status != _FORBIDDEN:
            raise
        number = _number(wanted)
        data = {"document": number if number is not None else 0, "passage": asked}
        return frame.page(request, page, "knowledge/reading.html", data=data)
    document = found["document"]
    passage = None if asked is None else await _passage(api, wanted, asked)
    values: dict[str, Any] = {
        "document": document, "passage": passage, "gone": asked is not None and passage is None, "when": when,
        "around": _around(document, passage), "address": f"/console/knowledge/documents/{document['id']}",
        "collection_link": "/console/knowledge/documents?" + urlencode({"collection": document["collection"]}),
        "original": document["place"] if document["place"].startswith(("http://", "https://")) else None,
    }  # fmt: skip
    start = _number(request.query_params.get("start"))
    if document["kind"] == "conversation":
        talk = await _conversation(api, wanted)
        if talk is not None:
            part = part_of(talk, passage, start)
            return frame.page(request, page, "knowledge/conversation.html", talk=talk, part=part, **values)
    window = await _window(api, wanted, passage, start)
    return frame.page(request, page, "knowledge/document.html", window=window, **values)


def _number(written: str | None) -> int | None:
    if written is None or not (written.isascii() and written.isdigit()) or len(written) > len(str(_LARGEST)):
        return None
    return min(int(written), _LARGEST)


async def _passage(api: AdminApi, document: str, number: int) -> dict[str, Any] | None:
    """A passage by its number; None where the document has none of it, as after it was read anew."""
    listed = await api.get("knowledge", "documents", document, "passages", after=number - 1, limit=1)
    found: dict[str, Any] | None = next(iter(listed["passages"]), None)
    return found if found is not None and found["number"] == number else None


def _around(document: Mapping[str, Any], passage: Mapping[str, Any] | None) -> dict[str, int | None]:
    """The numbers of the passages before and after one."""
    if passage is None:
        return {"before": None, "after": None}
    number = passage["number"]
    return {
        "before": number - 1 if number > 0 else None, "after": number + 1 if number + 1 < document["passages"] else None
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """Characters `start` to `end` of a text: what stands before the passage, the passage, what follows it.

    `earlier` and `later` are where the windows beside it begin, None at the ends of the text.
    """

    before: str
    passage: str
    after: str
    start: int
    end: int
    earlier: int | None
    later: int | None


async def _window(api: AdminApi, document: str, passage: Mapping[str, Any] | None, start: int | None) -> Window:
    async def read(begin: int, length: int) -> dict[str, Any]:
        found: dict[str, Any] = await api.get("knowledge", "documents", document, start=begin, length=length)
        return found

    if passage is None or start is not None:
        begin = start or 0
        found = await read(begin, WINDOW)
        later = found["next"]
        end = later if later is not None else begin + len(found["text"])
        return Window(found["text"], "", "", begin, end, max(0, begin - WINDOW) if begin else None, later)
    first, last = passage["start"], passage["end"]
    begin = max(0, first - BEFORE)
    # In three: what cannot be written as it is gets longer, so places within one part would not be those of the text.
    before = await read(begin, first - begin)
    middle = await read(first, min(last - first, WINDOW))
    after = await read(last, WINDOW)
    end = after["next"] if after["next"] is not None else last + len(after["text"])
    earlier = max(0, begin - WINDOW) if begin else None
    return Window(before["text"], middle["text"], after["text"], begin, end, earlier, after["next"])


async def _conversation(api: AdminApi, document: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await api.get("knowledge", "conversations", document)
    except AdminError as error:
        # A document of this kind whose turns are not kept is read as a text.
        if error.status != _NOT_FOUND:
            raise
        return None
    return found


@dataclass(frozen=True, slots=True)
class Part:
    """Some turns of a conversation, numbers `first` to `last` of `whole` ones, which count from 1.

    `at` is the index within `turns` of the turn that holds the passage, None where none of them does. `branch` are the
    turns of another branch, where the passage stands in one. `earlier` and `later` are indexes of the parts beside it.
    """

    turns: Sequence[Mapping[str, Any]]
    first: int
    last: int
    whole: int
    at: int | None
    branch: Sequence[Mapping[str, Any]]
    branch_at: int | None
    earlier: int | None
    later: int | None


def part_of(talk: Mapping[str, Any], passage: Mapping[str, Any] | None, start: int | None) -> Part:
    """The turns to show: from `start` on, else around those of the passage, else the first ones."""
    turns = talk["turns"]
    wanted = passage["turn"] if passage is not None else None
    place = _index(turns, wanted)
    branch: Sequence[Mapping[str, Any]] = ()
    if place is None and wanted:
        found = next((one for one in talk["branches"] if _index(one["turns"], wanted) is not None), None)
        if found is not None:
            branch = found["turns"]
            place = _index(turns, found["after"])
    at = place if not branch else None
    begin = start if start is not None else max(0, (place or 0) - TURNS // 4)
    begin = min(begin, max(0, len(turns) - 1))
    shown = turns[begin : begin + TURNS]
    end = begin + len(shown)
    return Part(
        shown, begin + 1, end, len(turns), at - begin if at is not None and begin <= at < end else None,
        branch, _index(branch, wanted), max(0, begin - TURNS) if begin else None, end if end < len(turns) else None,
    )  # fmt: skip


def _index(turns: Sequence[Mapping[str, Any]], wanted: str | None) -> int | None:
    return next((number for number, one in enumerate(turns) if wanted and one["id"] == wanted), None)
