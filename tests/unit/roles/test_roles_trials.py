"""Trials of drafts: who may ask for one, how long, and how many there can be."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ansambl.domain.access import ANSWERING, EVERYTHING, OWNER, Caller, Endpoint
from ansambl.domain.role import ModelName, Role
from ansambl.foundation.clock import VirtualClock
from ansambl.roles.catalog import build_catalog
from ansambl.roles.resolver import RoleTarget
from ansambl.roles.trials import LASTS, MOST, PREFIX, Trials, is_over

CATALOG = build_catalog({}, {}, [ModelName("big")])
TARGET = RoleTarget(Role("coder", "Draft."))


def numbered() -> Trials:
    counter = itertools.count()
    return Trials(VirtualClock(), lambda: str(next(counter)))


def test_only_whoever_made_a_trial_finds_it_and_only_while_it_may_change_roles() -> None:
    trials = numbered()
    made = trials.add(TARGET, CATALOG, "admin-key")
    assert made.name.startswith(PREFIX)
    assert made.shown == "coder (trial)"
    assert trials.find(made.name, Caller("admin-key", endpoints=EVERYTHING)) is made
    assert trials.find(made.name, Caller("other-key", endpoints=EVERYTHING)) is None
    assert trials.find(made.name, OWNER) is None
    for endpoints in (ANSWERING, ANSWERING | {Endpoint.ADMIN_READ}):
        assert trials.find(made.name, Caller("admin-key", endpoints=endpoints)) is None
    assert trials.find("coder", Caller("admin-key", endpoints=EVERYTHING)) is None


def test_a_trial_ends() -> None:
    async def scenario() -> None:
        clock = VirtualClock()
        trials = Trials(clock)
        made = trials.add(TARGET, CATALOG, OWNER.key)
        assert made.ends == clock.now() + LASTS
        await clock.advance(LASTS - 1)
        assert trials.find(made.name, OWNER) is made
        await clock.advance(1)
        assert trials.find(made.name, OWNER) is None
        trials.add(TARGET, CATALOG, OWNER.key)
        assert len(trials) == 1

    asyncio.run(scenario())


def test_there_are_never_more_than_so_many_and_the_oldest_goes_first() -> None:
    trials = numbered()
    made = [trials.add(TARGET, CATALOG, OWNER.key) for _ in range(MOST + 3)]
    assert len(trials) == MOST
    assert [trials.find(one.name, OWNER) is not None for one in made] == [False] * 3 + [True] * MOST


def test_names_cannot_be_guessed() -> None:
    trials = Trials(VirtualClock())
    names = {trials.add(TARGET, CATALOG, OWNER.key).name for _ in range(20)}
    assert len(names) == 20
    assert all(len(one) >= len(PREFIX) + 16 for one in names)


def test_a_trial_that_is_over_is_told_as_one() -> None:
    error = is_over(PREFIX + "x" * 500)
    assert (error.status, error.param, error.code) == (404, "model", "unknown_trial")
    assert len(str(error)) < 250


@pytest.mark.parametrize("name", ["", PREFIX, "trial", "\0"])
def test_what_is_no_trial_is_not_found(name: str) -> None:
    assert numbered().find(name, OWNER) is None
