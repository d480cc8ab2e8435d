from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.role import Role
from ansambl.roles import notes
from ansambl.roles.notes import instruction_text, note_text, text_of
from ansambl.roles.tool_limits import TOOL_FIELDS, limit_tools

CODER = Role("coder", "Write code first.", instructions={"ru": "Сначала код."})


def test_the_note_speaks_the_language_of_the_message_where_the_role_can() -> None:
    assert note_text(CODER, "ru") == "[Role: coder]\nСначала код.\n[/Role]"
    for language in ("en", "de", None):
        assert note_text(CODER, language) == "[Role: coder]\nWrite code first.\n[/Role]"
    assert note_text(Role("mute", " ", instructions={"ru": " "}), "ru") is None


@pytest.mark.parametrize(
    ("thinking", "answer", "language", "line"),
    [
        ("en", "ru", "en", "Think in English. Write the answer in Russian."),
        ("en", "ru", "ru", "Думай по-английски. Пиши ответ по-русски."),
        ("ru", "ru", "ru", "Думай и отвечай по-русски."),
        ("de", "de", "en", "Think and answer in German."),
        (None, "hi", "ru", "Пиши ответ на хинди."),
        (None, "cs", "en", "Write the answer in the language 'cs'."),
        ("cs", None, "ru", "Думай на языке «cs»."),
    ],
)
def test_the_languages_are_asked_for_in_words(
    thinking: str | None, answer: str | None, language: str, line: str
) -> None:
    role = Role("r", "Write code first.", instructions={"ru": "Сначала код."},
                thinking_language=thinking, answer_language=answer)  # fmt: skip
    assert instruction_text(role, language).splitlines()[1:] == [line]


def test_languages_alone_make_a_note() -> None:
    assert note_text(Role("r", "", answer_language="ru")) == "[Role: r]\nПиши ответ по-русски.\n[/Role]"
    assert note_text(Role("r", "", answer_language="fr")) == "[Role: r]\nWrite the answer in French.\n[/Role]"
    # The instruction is Russian, whatever the message is.
    assert instruction_text(Role("r", "Отвечай так, как это делает учитель.", answer_language="en"), "en").endswith(
        "Пиши ответ по-английски."
    )


def test_the_text_of_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    assert text_of([{"type": "text", "text": "a"}, image, "odd", {"text": 3}, {"text": "b"}]) == "a\n\nb"
    assert text_of("a") == "a"
    assert text_of(None) == text_of(3) == ""


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {}}}


def test_a_role_sees_the_tools_that_it_may() -> None:
    tools = [tool("look"), tool("write"), {"type": "web_search"}]
    fields = {"tools": tools, "tool_choice": "auto", "parallel_tool_calls": True}
    assert limit_tools(fields, None) == {}
    assert limit_tools(fields, ("look", "write", "web_search")) == {}
    assert limit_tools(fields, ("look",)) == {"tools": [tool("look")]}
    assert limit_tools(fields, ("web_search",)) == {"tools": [{"type": "web_search"}]}
    assert limit_tools(fields, ()) == {"tools": None, "tool_choice": None, "parallel_tool_calls": None}
    assert limit_tools({}, ()) == {}


@pytest.mark.parametrize(
    ("choice", "stays"),
    [
        ("required", True), ("none", True),
        ({"type": "function", "function": {"name": "look"}}, True),
        ({"type": "function", "function": {"name": "write"}}, False),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("look")]}}, True),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("look"), tool("write")]}}, False),
        ({"type": "odd"}, False),
    ],
)  # fmt: skip
def test_a_choice_cannot_name_what_the_role_may_not_use(choice: Any, *, stays: bool) -> None:
    changes = limit_tools({"tools": [tool("look"), tool("write")], "tool_choice": choice}, ("look",))
    assert changes == {"tools": [tool("look")], **({} if stays else {"tool_choice": None})}


def test_the_older_spelling_of_tools_is_limited_too() -> None:
    fields = {"functions": [{"name": "look"}, {"name": "write"}], "function_call": {"name": "write"}}
    assert limit_tools(fields, ("look",)) == {"functions": [{"name": "look"}], "function_call": None}
    assert limit_tools(fields, ("other",)) == {"functions": None, "function_call": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "type", "function", "tools",
                                                                                 "allowed_tools"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(TOOL_FIELDS), JSON, max_size=5), st.sets(st.text(max_size=5), max_size=2))
def test_whatever_a_client_sends_no_other_tool_is_left(fields: dict[str, Any], allowed: set[str]) -> None:
    left = {**fields, **limit_tools(fields, allowed)}
    for one in left.get("tools") or []:
        inner = one.get(one["type"]) if isinstance(one.get("type"), str) else None
        assert (inner if isinstance(inner, dict) else {"name": one.get("type"), **one})["name"] in allowed
    if not allowed:
        assert all(left.get(name) is None for name in TOOL_FIELDS)


RUSSIAN = "Объясни, пожалуйста, почему этот файл такой большой."
ENGLISH = "Please explain why this file is so large."


def asked(role: Role, written: str) -> str | None:
    return notes.language_for(role, [{"role": "user", "content": written}], 0)


def test_the_newest_message_decides_the_language_of_the_note() -> None:
    assert asked(CODER, RUSSIAN) == "ru"
    assert asked(CODER, ENGLISH) is None
    assert asked(CODER, "") is None


def test_a_language_in_latin_letters_is_found_in_plain_ascii() -> None:
    assert asked(Role("r", "Кратко.", instructions={"en": "Be brief.", "ru": "Кратко."}), ENGLISH) == "en"


def test_what_cannot_change_the_note_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: str) -> str:
        raise AssertionError(text)

    monkeypatch.setattr(notes, "_language_of_text", refuse)
    assert asked(Role("r", "Be brief."), RUSSIAN) is None
    assert asked(CODER, ENGLISH) is None
    with pytest.raises(AssertionError):
        asked(CODER, RUSSIAN)


def test_of_a_long_message_both_ends_decide() -> None:
    pasted = "The quick brown fox jumps over the lazy dog. " * 200
    assert asked(CODER, f"{RUSSIAN * 10}\n{pasted}\n{RUSSIAN * 10}") == "ru"
