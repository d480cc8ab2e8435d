"""What lists of models say of each name: where it is, and what it can do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansambl.domain.chat_template import Place, TemplateFacts
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model_details import ModelDetails
from ansambl.domain.role import Ensemble, ModelName, Role
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.roles.availability import Availabilities, Availability, Presence, targets_of
from ansambl.roles.model_list import abilities, entries, status_object
from ansambl.roles.records import RoleCatalog
from ansambl.runtime.scheduling.records import InstanceView, Residency

CATALOG = RoleCatalog(
    roles={"coder": Role("coder", "You code."), "critic": Role("critic", "You judge.", model="small")},
    ensembles={"council": Ensemble("council", "council", ("coder", "critic")),
               "debate": Ensemble("debate", "debate", ("coder", "council"), conductor="coder")},
    models={"big": ModelName("big", context=8192), "small": ModelName("small", aliases=("s",))},
    default_model="big",
    loras={"fine": LoraAdapter("fine", "small", {"gguf": "/x"}, 8, Bytes(1), "1")},
)  # fmt: skip


def available(
    statuses: dict[str, InstanceStatus], views: dict[str, InstanceView] | None = None
) -> dict[str, Availability]:
    coordinator: Any = SimpleNamespace(statuses=lambda: list(statuses.values()), views=lambda: views or {})
    found = Availabilities(coordinator, CATALOG)
    return {one.name: found.of(one) for one in targets_of(CATALOG)}


def status(model: str, state: InstanceState, **fields: Any) -> InstanceStatus:
    return InstanceStatus(model, "e", state, **fields)


READY = {one: status(one, InstanceState.READY) for one in ("big", "small")}


@pytest.mark.parametrize(("state", "presence"), [
    (InstanceState.READY, Presence.LOADED), (InstanceState.STOPPED, Presence.UNLOADED),
    (InstanceState.STARTING, Presence.LOADING), (InstanceState.RESTARTING, Presence.LOADING),
    (InstanceState.ASLEEP, Presence.SLEEPING), (InstanceState.STOPPING, Presence.LOADED),
    (InstanceState.FAILED, Presence.UNLOADED), (InstanceState.UNREACHABLE, Presence.UNLOADED),
])  # fmt: skip
def test_the_least_ready_model_decides(state: InstanceState, presence: Presence) -> None:
    found = available({**READY, "small": status("small", state)})
    for name in ("critic", "council", "debate", "small", "fine"):
        assert found[name].presence is presence, name
        assert found[name].failed is (state in {InstanceState.FAILED, InstanceState.UNREACHABLE})
    assert found["coder"].presence is found["big"].presence is Presence.LOADED
    assert found["council"].models == ("big", "small")


def test_a_failure_counts_more_than_anything_else() -> None:
    message = text("it was stopped")
    found = available({"big": status("big", InstanceState.STOPPED),
                       "small": status("small", InstanceState.FAILED, message=message)})  # fmt: skip
    assert (found["council"].failed, found["council"].reason) == (True, message)


def test_contexts_are_those_that_a_request_may_hold() -> None:
    found = available({**READY, "big": status("big", InstanceState.READY, context=4096)})
    assert found["coder"].context == 4096
    assert found["critic"].context is None
    assert found["council"].context is None, "of one model it is not known"
    assert available({"big": status("big", InstanceState.STOPPED)})["big"].context == 8192


def test_what_somebody_waits_for_is_loading() -> None:
    stopped = {**READY, "big": status("big", InstanceState.STOPPED)}
    out = InstanceView(Residency.OUT, 0, 0)
    waited = InstanceView(Residency.OUT, 0, 1)
    assert available(stopped, {"big": out})["big"].presence is Presence.UNLOADED
    assert available(stopped, {"big": waited})["big"].presence is Presence.LOADING
    assert available(stopped, {"big": InstanceView(Residency.LOADING, 0, 0)})["big"].presence is Presence.LOADING


def test_a_server_that_nobody_asked_yet_was_not_looked_at() -> None:
    found = available({**READY, "big": status("big", InstanceState.STARTING, attached=True)})
    assert (found["big"].presence, found["big"].failed) == (Presence.UNLOADED, False)


def test_names_without_a_model_or_an_instance() -> None:
    catalog = RoleCatalog({"lonely": Role("lonely", "?")}, {}, {})
    coordinator: Any = SimpleNamespace(statuses=list, views=dict)
    lonely = Availabilities(coordinator, catalog).of(next(iter(targets_of(catalog))))
    assert (lonely.failed, lonely.models) == (True, ())
    assert lonely.reason is not None
    missing = available({})["big"]
    assert missing.failed
    assert "big" in str(missing.reason)


def test_status_objects() -> None:
    assert status_object(Availability(Presence.LOADED), str) == {"value": "loaded"}
    broken = Availability(Presence.UNLOADED, failed=True, reason=text("it was stopped"))
    assert status_object(broken, str.upper) == {"value": "unloaded", "failed": True, "reason": "IT WAS STOPPED"}


@pytest.mark.parametrize(("facts", "details", "found"), [
    (None, None, ["completion"]),
    (TemplateFacts("d", fields={"tools": Place.HEAD, "chat_template_kwargs.enable_thinking": Place.TAIL}), None,
     ["completion", "tools", "thinking"]),
    (TemplateFacts("d", fields={"tools": Place.LOST, "reasoning_effort": Place.HEAD}), ModelDetails(vision=True),
     ["completion", "vision", "thinking"]),
    (TemplateFacts("d"), ModelDetails(embeds=True), ["embedding"]),
    (None, ModelDetails(reranks=True), ["rerank"]),
])  # fmt: skip
def test_abilities(facts: TemplateFacts | None, details: ModelDetails | None, found: list[str]) -> None:
    assert abilities(facts, details) == found


def test_entries() -> None:
    coordinator: Any = SimpleNamespace(statuses=lambda: list(READY.values()), views=dict)
    details = {"small": ModelDetails(context=2048, vision=True)}
    found = {
        one["id"]: one
        for one in entries(CATALOG, 7, str, lambda _: None, details.get, Availabilities(coordinator, CATALOG))
    }
    assert list(found) == ["coder", "critic", "council", "debate", "big", "small", "fine"]
    assert [one["kind"] for one in found.values()] == ["role", "role", "ensemble", "ensemble", "model", "model", "lora"]
    assert (found["critic"]["context_length"], found["critic"]["info"]["meta"]["capabilities"]["vision"]) == (
        2048,
        True,
    )
    assert found["critic"]["architecture"]["input_modalities"] == ["text", "image"]
    assert found["coder"]["architecture"]["input_modalities"] == ["text"]
    assert (found["fine"]["parent"], found["fine"]["models"]) == ("small", ["small"])
    assert found["small"]["aliases"] == ["s"]
    assert all(one["created"] == 7 and one["status"] == {"value": "loaded"} for one in found.values())
    assert "status" not in entries(CATALOG, 7, str, lambda _: None, details.get, None)[0]
