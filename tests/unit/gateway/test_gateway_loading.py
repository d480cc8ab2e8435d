"""Models that are loaded and unloaded by the names of what runs on them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansambl.domain.access import ANSWERING, OWNER, Caller
from ansambl.domain.errors import AnsamblError, NotSupportedError, UnavailableError
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.role import Ensemble, ModelName, Role
from ansambl.domain.scheduling import ORDINARY
from ansambl.gateway.loading import Loading
from ansambl.roles.records import EnsembleTarget, ModelTarget, RoleCatalog, RoleTarget
from ansambl.runtime.wishes import Wish

CODER, CRITIC = Role("coder", "You code.", model="big"), Role("critic", "You judge.", model="small")
COUNCIL = Ensemble("council", "council", ("coder", "critic"))
CATALOG = RoleCatalog({"coder": CODER, "critic": CRITIC}, {"council": COUNCIL},
                      {"big": ModelName("big"), "small": ModelName("small")})  # fmt: skip
TARGET = EnsembleTarget(COUNCIL, (), CODER)


def loading(**statuses: InstanceStatus) -> tuple[Loading, list[Any]]:
    told: list[Any] = []

    async def wake(model: str, *, standing: Any) -> None:
        told.append((model, standing))

    coordinator: Any = SimpleNamespace(
        instance=lambda model: SimpleNamespace(status=lambda: statuses[model]), wake=wake,
        wishes=SimpleNamespace(begin=lambda model, wish: told.append((model, wish))),
    )  # fmt: skip
    service: Any = SimpleNamespace(catalog=CATALOG)
    return Loading(service, coordinator), told


def status(model: str, state: InstanceState = InstanceState.READY, *, attached: bool = False) -> InstanceStatus:
    return InstanceStatus(model, "e", state, attached=attached)


async def test_every_model_of_an_ensemble_is_loaded() -> None:
    found, told = loading(big=status("big"), small=status("small", InstanceState.STOPPED))
    await found.load(TARGET, ORDINARY)
    assert told == [("big", ORDINARY), ("small", ORDINARY)]
    told.clear()
    found.begin_load(TARGET)
    assert told == [("small", Wish.LOAD)]


def test_what_is_ours_is_unloaded() -> None:
    found, told = loading(big=status("big", attached=True), small=status("small"))
    found.begin_unload(TARGET, OWNER)
    assert told == [("small", Wish.UNLOAD)]
    with pytest.raises(NotSupportedError, match="big"):
        found.begin_unload(ModelTarget(CATALOG.models["big"]), OWNER)
    with pytest.raises(AnsamblError) as raised:
        found.begin_unload(TARGET, Caller("k", endpoints=ANSWERING))
    assert raised.value.status == 403


async def test_a_role_without_a_model() -> None:
    found, told = loading()
    lonely = RoleTarget(Role("lonely", "?"))
    with pytest.raises(UnavailableError, match="lonely"):
        await found.load(lonely, ORDINARY)
    for ask in (lambda: found.begin_load(lonely), lambda: found.begin_unload(lonely, OWNER)):
        with pytest.raises(UnavailableError, match="lonely"):
            ask()
    assert not told
