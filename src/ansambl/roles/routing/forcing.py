"""A member that the person or the client asks for by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansambl.domain.errors import RequestError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import text
from ansambl.roles.routing.records import Decision, How, Member, RouteInput, plain

_AFTER_NAME = re.compile(r"\s|\Z|[,:;!?…—–]|\.(?:\s|\Z)|-\s")
_LONGEST_NAME = 200


def forced(question: RouteInput, wanted: str | None, members: Sequence[Member]) -> Decision | None:
    """The member that must answer: `wanted` by the client, or named as ``@name`` at the beginning of the message.

    Names and aliases count in any letter case. What stands after the ``@`` and is no member's name (a person, an
    address) forces nothing.

    Raises:
        RequestError: `wanted` is no member.
    """
    if wanted is not None:
        return Decision(_member(wanted, members).name, How.FORCED, text("the request asks for it by name"))
    found = addressed(question.text, members)
    return None if found is None else Decision(found.name, How.FORCED, text("asked for with @{name}", name=found.name))


def addressed(written: str, members: Sequence[Member]) -> Member | None:
    """The member whose name or alias stands as ``@name`` at the beginning of a text."""
    begun = written.lstrip()
    if not begun.startswith("@"):
        return None
    said = plain(begun[1:_LONGEST_NAME])
    names = ((plain(name), member) for member in members for name in (member.name, *member.aliases))
    # The longest first: "@brief note" must not be read as "@brief" where both are names.
    for name, member in sorted(names, key=lambda one: -len(one[0])):
        if name and said.startswith(name) and _AFTER_NAME.match(said, len(name)):
            return member
    return None


def _member(wanted: str, members: Sequence[Member]) -> Member:
    names = {plain(name): member for member in reversed(members) for name in (*member.aliases, member.name)}
    member = names.get(plain(wanted))
    if member is not None:
        return member
    shown = wanted if len(wanted) <= _LONGEST_NAME else wanted[:_LONGEST_NAME] + "…"
    known = [one.name for one in members]
    close = nearest_names(shown, [*known, *(alias for one in members for alias in one.aliases)])
    raise RequestError(
        text(
            "'{name}' is no member of this route; it can choose: {members}; nearest: {nearest}.",
            name=shown,
            members=", ".join(known),
            nearest=", ".join(close),
        )
        if close
        else text(
            "'{name}' is no member of this route; it can choose: {members}.", name=shown, members=", ".join(known)
        ),
        param="ansambl.role",
        code="unknown_role",
    )
