from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Answer, ChatRequest, Message
from ansambl.domain.errors import RequestError, UnavailableError
from ansambl.domain.languages import language_of_text
from ansambl.domain.role import ModelName
from ansambl.roles.catalog import build_catalog
from ansambl.roles.explaining import explain
from ansambl.roles.notes import note_text
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory

MODELS = [ModelName("big", output_limit=900, description="A big one"), ModelName("small")]
ROLES = ("coder", "reasoner", "brief", "philosopher")


def service(roles: dict[str, Any] | None = None, **more: Any) -> RoleService:
    return RoleService(build_catalog(roles or {}, {}, more.pop("models", MODELS)), TurnMemory(), **more)


def request(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest({}).changed({"model": "coder", "messages": list(messages) or [user("Hi")], **fields})


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def test_a_role_fills_only_what_the_client_left_open() -> None:
    roles = service({"coder": {"top_k": 5}})
    prepared = roles.prepare(request(temperature=0, user_field={"kept": True}), roles.catalog.roles["coder"], key="k")
    sent = prepared.request
    assert prepared.model == "big"
    assert (sent.value("model"), sent.value("temperature"), sent.value("top_p")) == ("big", 0, 0.95)
    assert (sent.value("top_k"), sent.value("max_tokens"), sent.value("user_field")) == (5, 900, {"kept": True})
    assert "stream_options" not in sent.fields


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_clients_limit_stays_the_only_one(name: str) -> None:
    roles = service()
    for prepared in (
        roles.prepare(request(**{name: 7}), roles.catalog.roles["brief"], key="k"),
        roles.prepare_plain(request(**{name: 7}), MODELS[0]),
    ):
        assert [one for one in prepared.request.fields if one.startswith("max_")] == [name]


def test_the_roles_own_limit_comes_before_the_models() -> None:
    roles = service()
    assert roles.prepare(request(), roles.catalog.roles["brief"], key="k").request.value("max_tokens") == 512


def test_a_plain_models_messages_keep_the_clients_bytes() -> None:
    body = request(user("Hi"))
    plain = service().prepare_plain(body, MODELS[0])
    assert plain.request.fields["messages"] is body.fields["messages"]
    assert plain.request.value("max_tokens") == 900
    plain.remember(Answer(content="Hello"))
    assert "max_tokens" not in service().prepare_plain(body, MODELS[1]).request.fields


def test_without_any_model_a_role_cannot_run() -> None:
    roles = service(models=[])
    with pytest.raises(UnavailableError, match="'coder' has no model"):
        roles.prepare(request(), roles.catalog.roles["coder"], key="k")


def test_messages_that_are_none_are_refused() -> None:
    roles = service()
    with pytest.raises(RequestError, match="'messages'"):
        roles.prepare(ChatRequest({}), roles.catalog.roles["coder"], key="k")


def test_the_list_shows_roles_then_ensembles_then_models() -> None:
    roles = service(created=5)
    listed = roles.models_list()
    kinds = (("role", roles.catalog.roles), ("ensemble", roles.catalog.ensembles), ("model", ["big", "small"]))
    assert [(one["kind"], one["id"]) for one in listed] == [(kind, name) for kind, names in kinds for name in names]
    assert listed[0]["aliases"] == ["кодер"]
    big = listed[-2]
    assert big["info"]["meta"]["description"] == big["description"] == "A big one"
    for one in listed:
        assert (one["object"], one["created"], one["owned_by"], one["name"]) == ("model", 5, "ansambl", one["id"])
        assert one["info"]["meta"]["capabilities"] == {"builtin_tools": False, "usage": True, "vision": False}
    json.dumps(listed)


def rendered(prepared: ChatRequest) -> bytes:
    """The prompt as an engine's cache sees it: one message after another."""
    return b"".join(json.dumps(one, sort_keys=True).encode() + b"\n" for one in prepared.messages())


@given(
    st.lists(st.sampled_from(ROLES), min_size=10, max_size=10),
    st.lists(st.text(min_size=1, max_size=20), min_size=10, max_size=10),
    st.sampled_from([None, "Be truthful."]),
)
def test_ten_turns_with_changing_roles_only_ever_append(names: list[str], texts: list[str], common: str | None) -> None:
    roles = service(common_instruction=common)
    history: list[Message] = [{"role": "system", "content": "The client's own."}]
    before = b""
    for name, content in zip(names, texts, strict=True):
        history.append(user(content))
        prepared = roles.prepare(request(*history), roles.catalog.roles[name], key="k")
        now = rendered(prepared.request)
        assert now.startswith(before)
        before = now
        answer = f"{content} to you, too."
        prepared.remember(Answer(content=f"<think>hm</think> {answer}\n"))
        history.append({"role": "assistant", "content": answer.strip()})
    last = [one for one in prepared.request.messages() if one["role"] == "user"]
    for name, content, message in zip(names, texts, last, strict=True):
        note = note_text(roles.catalog.roles[name], language_of_text(content))
        assert note is not None
        assert message["content"] == f"{content}\n\n{note}"


def test_an_unknown_history_gets_no_notes() -> None:
    roles = service()
    history = [user("Hi"), {"role": "assistant", "content": "Hello from elsewhere."}, user("And now?")]
    sent = roles.prepare(request(*history), roles.catalog.roles["coder"], key="k").request.messages()
    assert sent[:2] == history[:2]


def test_a_classic_role_and_a_request_without_a_user_message_leave_nothing_to_remember() -> None:
    roles = service({"coder": {"layout": "classic"}})
    prepared = roles.prepare(request(user("Hi")), roles.catalog.roles["coder"], key="k")
    prepared.remember(Answer(content="Hello"))
    roles.prepare(request({"role": "system", "content": "x"}), roles.catalog.roles["brief"], key="k").remember(
        Answer(content="Hello")
    )
    assert len(roles._turns) == 0


def test_an_explanation_says_what_is_sent_and_why() -> None:
    roles = service(common_instruction="Be truthful.")
    resolver = Resolver(roles.catalog)
    first = roles.prepare(request(user("Hi")), roles.catalog.roles["brief"], key="k")
    first.remember(Answer(content="Hello"))
    asked = request(user("Hi"), {"role": "assistant", "content": "Hello"}, user("Why?"), reasoning_effort=None)
    found = explain(roles, asked, resolver.resolve("кодер"), key="k")
    assert (found["role"], found["model"], found["layout"]) == ("coder", "big", "shared-prefix")
    assert found["shared_messages"] == found["note_message"] == 3
    assert found["messages"][3]["content"] == f"Why?\n\n{found['note']}"
    assert found["remembered"] == [
        {"message": 1, "turn": 1, "role": "brief", "note": note_text(roles.catalog.roles["brief"])}
    ]
    assert found["fields"] == {"model": "big", "temperature": 0.2, "top_p": 0.95, "max_tokens": 900}
    assert any("message 4" in reason for reason in found["reasons"])
    assert explain(roles, asked, resolver.resolve("coder"), key="k", translate=lambda _: "по-русски")["reasons"] == [
        "по-русски"
    ] * len(found["reasons"])
    json.dumps(found)


def test_explanations_of_ensembles_models_and_head_material() -> None:
    roles = service({"coder": {"reasoning_effort": "high"}, "brief": {"layout": "classic"}, "mute": {}})
    resolver = Resolver(roles.catalog)
    council = explain(roles, request(), resolver.resolve("council"), key="k")
    assert [one["role"] for one in council["roles"]] == ["coder", "reasoner", "philosopher"]
    assert council["roles"][0]["head_material"] == {"reasoning_effort": "high"}
    groups = [one["prefix_group"] for one in council["roles"]]
    assert groups[0] != groups[1] == groups[2]
    plain = explain(roles, request(), resolver.resolve("small"), key="k")
    assert (plain["role"], plain["model"], plain["messages"]) == (None, "small", [user("Hi")])
    assert "classic" in explain(roles, request(), resolver.resolve("brief"), key="k")["reasons"][0]
    assert "no note" in explain(roles, request(), resolver.resolve("mute"), key="k")["reasons"][0]
