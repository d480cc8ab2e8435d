"""Asking a model who shall answer: what it is told, and what it said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansambl.roles.canonical import strip_thinking
from ansambl.roles.routing.records import Member, one_line, plain

_ASKED = {
    "en": (
        "Do not answer the message above. Decide who should answer it:",
        "Reply with one name from this list and nothing else.",
    ),
    "ru": (
        "Не отвечай на сообщение выше. Реши, кто должен на него ответить:",
        "Ответь одним именем из этого списка, и больше ничем.",
    ),
}
_LONGEST_TITLE = 160
_LONGEST_SAID = 4_000
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3})(?![\w,]|\.\d)")
_EDGES = " \t\n\r*_`'\"«»“”„().:,;!?#>-—–{}[]"


def question(members: Sequence[Member], language: str | None = None) -> str:
    """The instruction for a model that is asked who shall answer; Russian for a Russian message, else English."""
    head, tail = _ASKED.get(language or "en", _ASKED["en"])
    lines = (
        f"{number}. {member.name}" + (f": {one_line(member.title, _LONGEST_TITLE)}" if member.title else "")
        for number, member in enumerate(members, 1)
    )
    return "\n".join((head, *lines, tail))


def read_answer(said: str, members: Sequence[Member]) -> Member | None:
    """The member that a model named: by its name, an alias or its number, alone or in a sentence; None when unclear.

    Thinking is left out. A reply that names several members means the one that it begins with, if it begins with one.
    """
    reply = plain(strip_thinking(said[:_LONGEST_SAID])).strip(_EDGES)
    if not reply:
        return None
    numbered = dict(enumerate(members, 1))
    if reply.isdecimal():
        return numbered.get(int(reply)) if len(reply) <= 3 else None
    found: dict[str, Member] = {}
    first: Member | None = None
    for member in members:
        for name in (member.name, *member.aliases):
            at = _mentions(plain(name), reply)
            if at is not None:
                found[member.name] = member
                first = member if at == 0 else first
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        return first
    numbers = {int(one) for one in _NUMBER.findall(reply)}
    return numbered.get(numbers.pop()) if len(numbers) == 1 else None


def _mentions(name: str, reply: str) -> int | None:
    """Where a name stands in a reply as a word; Russian names in any case ("кодеру", "философа")."""
    if not name:
        return None
    russian = "а" <= name[-1] <= "я"
    stem = name[:-1] if russian and len(name) > 3 and name[-1] in "аеийоуыьюя" else name
    ending = "[а-я]{0,3}" if russian else ""
    found = re.search(rf"(?<!\w){re.escape(stem)}{ending}(?!\w)", reply)
    return None if found is None else found.start()
