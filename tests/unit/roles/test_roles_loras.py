"""LoRA adapters as roles and clients name them: who answers with which, who shares, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansambl.app.configuration.role_settings import RoleSettings
from ansambl.app.configuration.settings import Settings
from ansambl.app.roles.written import check_tables
from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.role import ModelName
from ansambl.domain.units import Bytes
from ansambl.roles.catalog import build_catalog
from ansambl.roles.explaining import explain
from ansambl.roles.prefix_groups import group_roles
from ansambl.roles.records import ModelTarget, RoleCatalog, RoleTarget
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory

MODELS = [ModelName("big", aliases=("large",)), ModelName("small")]


def lora(name: str, model: str = "big", **changes: Any) -> LoraAdapter:
    return LoraAdapter(name, model, {"gguf": f"/{name}"}, 8, Bytes(1), name, **changes)


def catalog(roles: dict[str, Any], *loras: LoraAdapter) -> RoleCatalog:
    return replace(build_catalog(roles, {}, MODELS), loras={one.name: one for one in loras})


def service(roles: dict[str, Any], *loras: LoraAdapter) -> RoleService:
    return RoleService(catalog(roles, *loras), TurnMemory())


def request(**fields: Any) -> ChatRequest:
    return ChatRequest({}).changed({"model": "x", "messages": [{"role": "user", "content": "Hi"}], **fields})


def test_a_role_answers_with_its_adapter_on_the_adapters_model() -> None:
    roles = service({"judge": {"instruction": "Judge.", "lora": "law"}}, lora("law", "small"))
    prepared = roles.prepare(request(), roles.catalog.roles["judge"], key="k")
    assert (prepared.model, prepared.request.lora) == ("small", "law")
    assert b"law" not in prepared.request.encode()
    assert prepared.request.changed({"stream": True}).lora == "law"
    found = explain(roles, request(), RoleTarget(roles.catalog.roles["judge"]), key="k")
    assert (found["model"], found["lora"]) == ("small", "law")


def test_what_another_role_asked_for_does_not_stay_in_a_request() -> None:
    roles = service({"judge": {"lora": "law", "instruction": "Judge."}}, lora("law"))
    first = roles.prepare(request(), roles.catalog.roles["judge"], key="k")
    assert roles.prepare(first.request, roles.catalog.roles["brief"], key="k").request.lora is None
    assert roles.prepare_plain(first.request, MODELS[0]).request.lora is None


@pytest.mark.parametrize(
    ("fields", "loras", "words"),
    [
        ({"lora": "law"}, (), "'law', which is not there"),
        ({"lora": "law", "model": "big"}, (lora("law", "small"),), "for 'small'"),
    ],
)
def test_a_role_whose_adapter_cannot_answer_says_why(
    fields: dict[str, str], loras: tuple[LoraAdapter, ...], words: str
) -> None:
    roles = service({"judge": {"instruction": "Judge.", **fields}}, *loras)
    with pytest.raises(NotSupportedError, match=words):
        roles.prepare(request(), roles.catalog.roles["judge"], key="k")


def test_an_adapters_name_is_a_model_unless_something_else_is_called_so() -> None:
    resolver = Resolver(catalog({}, lora("law"), lora("coder"), lora("Large"), lora("gone", "no such model")))
    found = resolver.resolve("LAW")
    assert isinstance(found, ModelTarget)
    assert (found.name, found.model.name, found.lora and found.lora.name) == ("law", "big", "law")
    assert isinstance(resolver.resolve("coder"), RoleTarget)
    large = resolver.resolve("large")
    assert isinstance(large, ModelTarget)
    assert large.lora is None
    with pytest.raises(Exception, match="gone"):
        resolver.resolve("gone")


def test_models_are_listed_with_their_adapters() -> None:
    roles = service({}, lora("law"), lora("gone", "no such model"))
    listed = [one for one in roles.models_list() if one["kind"] == "lora"]
    assert [(one["id"], one["parent"], one["object"]) for one in listed] == [("law", "big", "model")]


def test_ordinary_adapters_set_roles_apart_and_activated_ones_do_not() -> None:
    names = {"a": None, "b": "law", "c": "law", "d": "poetry", "e": "active", "f": None}
    roles = {name: {"instruction": name, **({"lora": one} if one else {})} for name, one in names.items()}
    found = catalog(roles, lora("law"), lora("poetry"), lora("active", invocation=(1, 2)))
    found = replace(found, roles={name: found.roles[name] for name in names})
    groups = group_roles(found, lambda _: None)
    assert [(one.roles, one.lora) for one in groups] == [
        (("a", "e", "f"), None), (("b", "c"), "law"), (("d",), "poetry"),
    ]  # fmt: skip
    assert "poetry" in str(groups[2].reason)
    assert not groups[2].shares


def test_a_roles_adapter_is_written_and_read_like_its_other_keys() -> None:
    written = {"roles": {"judge": {"instruction": "Judge.", "lora": "law"}}}
    tables = check_tables(written)
    assert tables.roles["judge"]["lora"] == "law"
    assert build_catalog(tables.roles, {}, MODELS).roles["judge"].lora == "law"
    assert Settings.model_validate(written).roles["judge"] == RoleSettings(instruction="Judge.", lora="law")
    taken_back = build_catalog({"judge": {"instruction": "Judge.", "lora": ""}}, {}, MODELS)
    assert taken_back.roles["judge"].lora is None
