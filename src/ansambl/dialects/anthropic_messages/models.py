"""The list of models as Anthropic's ``GET /v1/models`` tells it, page by page. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from ansambl.dialects.translation import wrong
from ansambl.domain.text import text

LONGEST_PAGE = 1000


def model_object(found: Mapping[str, Any]) -> dict[str, Any]:
    """One entry, made of one of OpenAI's list (`roles.model_list`); our own fields of that stay."""
    created = dt.datetime.fromtimestamp(found["created"], dt.UTC).isoformat().replace("+00:00", "Z")
    own = {
        name: value for name, value in found.items() if name not in ("object", "created", "owned_by", "capabilities")
    }
    return {
        **own,
        "type": "model",
        "display_name": found["name"],
        "created_at": created,
        "max_input_tokens": found.get("context_length"),
        "lifecycle": "active",
    }


def list_object(listed: Sequence[Mapping[str, Any]], asked: Mapping[str, str]) -> dict[str, Any]:
    """One page of the list. `asked` are ``limit``, ``after_id`` and ``before_id``, as the address says them.

    Without a limit it is all of them.

    Raises:
        RequestError: the limit is not a number from 1 to 1000.
    """
    names = [one["id"] for one in listed]
    begin, end = 0, len(listed)
    if asked.get("after_id") in names:
        begin = names.index(asked["after_id"]) + 1
    if asked.get("before_id") in names:
        end = names.index(asked["before_id"])
    limit = _limit(asked.get("limit"), len(listed))
    if "before_id" in asked and "after_id" not in asked:
        page = range(max(begin, end - limit), end)
        more = page.start > begin
    else:
        page = range(begin, min(end, begin + limit))
        more = page.stop < end
    data = [model_object(listed[place]) for place in page]
    return {
        "data": data,
        "has_more": more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def _limit(found: str | None, all_of_them: int) -> int:
    if found is None:
        return max(1, all_of_them)
    # Compared by digits first, because Python refuses to read a number of thousands of them.
    if not found.isascii() or not found.isdigit() or len(found) > 4 or not 1 <= int(found) <= LONGEST_PAGE:
        raise wrong("limit", text("it is a whole number from 1 to {most}", most=LONGEST_PAGE))
    return int(found)
