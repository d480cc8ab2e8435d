"""Whatever a client does to its history, a note stands at the turn where it was used, or nowhere."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Answer, ChatRequest, Message
from ansambl.domain.role import ModelName, Role
from ansambl.roles.notes import note_text
from ansambl.roles.records import RoleCatalog
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory

ROLES = {name: Role(name, f"Do as a {name} does.") for name in ("coder", "brief", "critic")}
TURN = st.tuples(st.sampled_from(sorted(ROLES)), st.sampled_from("abc"), st.sampled_from("xyz"))
Talk = list[Message]

EDITS = st.tuples(
    st.sampled_from(["edit", "drop", "insert user", "insert assistant", "swap", "cut"]),
    st.integers(0, 30), st.sampled_from("abcxyz"),
)  # fmt: skip


def edited(talk: Talk, edit: tuple[str, int, str]) -> Talk:
    kind, where, letter = edit
    place = where % len(talk) if talk else 0
    if kind.startswith("insert"):
        return [*talk[:place], {"role": kind.split()[1], "content": letter}, *talk[place:]]
    if not talk:
        return talk
    if kind == "edit":
        return [*talk[:place], {**talk[place], "content": letter}, *talk[place + 1 :]]
    if kind == "drop":
        return talk[:place] + talk[place + 1 :]
    if kind == "swap":
        return [*talk[:place], *reversed(talk[place : place + 2]), *talk[place + 2 :]]
    return talk[:place]


def said(talk: Talk) -> tuple[tuple[str, Any], ...]:
    return tuple((one["role"], one["content"]) for one in talk)


@settings(max_examples=150, deadline=None)
@given(st.lists(TURN, min_size=1, max_size=5), st.lists(EDITS, max_size=4), st.sampled_from(sorted(ROLES)))
def test_a_note_stands_where_it_was_used_or_nowhere(
    turns: list[tuple[str, str, str]], edits: list[tuple[str, int, str]], last: str
) -> None:
    service = RoleService(RoleCatalog(ROLES, {}, {"m": ModelName("m")}, "m"), TurnMemory())
    happened: dict[tuple[tuple[str, Any], ...], str] = {}
    talk: Talk = [{"role": "system", "content": "s"}]
    for name, question, answer in turns:
        talk = [*talk, {"role": "user", "content": question}]
        prepared = service.prepare(ChatRequest({}).changed({"messages": talk}), ROLES[name], key="k")
        prepared.remember(Answer(content=answer))
        talk = [*talk, {"role": "assistant", "content": answer}]
        happened[said(talk)] = note_text(ROLES[name]) or ""
    for edit in edits:
        talk = edited(talk, edit)
    talk = [*talk, {"role": "user", "content": "and now?"}]

    request = ChatRequest({}).changed({"messages": talk})
    sent = service.prepare(request, ROLES[last], key="k").request.messages()
    # Which question an answer belongs to, told by what was said and nothing else.
    expected = [one["content"] for one in talk]
    asked = None
    for index, one in enumerate(talk):
        if one["role"] == "user":
            asked = index
        elif one["role"] == "assistant" and asked is not None and said(talk[: index + 1]) in happened:
            expected[asked] = f"{talk[asked]['content']}\n\n{happened[said(talk[: index + 1])]}"
    expected[-1] = f"and now?\n\n{note_text(ROLES[last])}"
    assert [(one["role"], one["content"]) for one in sent] == list(
        zip([one["role"] for one in talk], expected, strict=True)
    )
    # Another key has no part in it.
    other = service.prepare(request, ROLES[last], key="other").request.messages()
    assert [one["content"] for one in other[:-1]] == [one["content"] for one in talk[:-1]]
