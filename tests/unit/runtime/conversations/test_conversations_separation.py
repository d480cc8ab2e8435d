"""When a slot is emptied before another key uses it."""

import dataclasses

import pytest

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.domain.text import text
from ansambl.engines.shared.llama_slots import LlamaSlots
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations.separation import Separation

RUN = Endpoint("http://127.0.0.1:1/v1", key="run")
NEXT = dataclasses.replace(RUN, key="next run")


class Stage:
    def __init__(self, *, adopted=False, **calls):
        self.erased, self.refuses = [], False
        self.calls = LlamaSlots(**{"can_copy": True, **calls})
        self.separation = Separation(self.call, lambda _: adopted)

    async def call(self, lease, call):
        if self.refuses:
            raise EngineError(text("no"))
        assert call.path == f"/slots/{lease.slot}?action=erase"
        self.erased.append(lease.slot)

    async def use(self, slot, key, engine=RUN):
        """Whether it was emptied, whether a saved state may come, and the lease."""
        lease = Lease("m", engine, 0.0, slot=slot, calls=None if slot is None else self.calls)
        before = len(self.erased)
        may = await self.separation.separate(lease, key)
        return len(self.erased) > before, may, lease


@pytest.mark.parametrize("key", [LOCAL_KEY, "one"])
@pytest.mark.parametrize("mixes", [False, True])
async def test_one_key_alone_costs_nothing(key, mixes):
    stage = Stage(mixes_slots=mixes)
    for slot, engine in ((0, RUN), (0, RUN), (1, RUN), (0, NEXT)):
        emptied, may, lease = await stage.use(slot, key, engine)
        assert (emptied, may, lease.alone) == (False, True, False)


async def test_a_slot_is_emptied_whenever_its_owner_changes_and_only_then():
    stage = Stage()
    expected = [(0, "a", False), (0, "b", True), (0, "b", False), (0, LOCAL_KEY, True), (0, "a", True), (0, "a", False)]
    for slot, key, emptied in expected:
        assert (await stage.use(slot, key))[:2] == (emptied, True)
    # What nobody noted here may have come over from a run that failed.
    assert (await stage.use(1, "a"))[0]
    assert not (await stage.use(1, "a"))[0]
    assert (await stage.use(1, "a", NEXT))[0]


async def test_a_slot_of_an_engine_from_before_is_trusted_by_no_key():
    stage = Stage(adopted=True)
    assert (await stage.use(0, "a"))[0]
    assert not (await stage.use(0, "a"))[0]


async def test_where_there_are_no_keys_what_an_engine_from_before_has_read_is_used_again():
    stage = Stage(adopted=True)
    assert not (await stage.use(0, LOCAL_KEY))[0]
    assert (await stage.use(1, "a"))[0]
    # Once there is a key, what nobody noted may be its.
    assert (await stage.use(2, LOCAL_KEY))[0]


@pytest.mark.parametrize(("key", "alone"), [(LOCAL_KEY, False), ("a", True)])
async def test_a_cache_from_before_is_trusted_only_where_there_are_no_keys(key, alone):
    stage = Stage(adopted=True, mixes_slots=True)
    assert (await stage.use(0, key))[0] is alone
    assert (await stage.use(0, key))[2].alone is alone


async def test_slots_that_the_engine_mixes_are_used_for_nothing_twice_once_there_are_two_keys():
    stage = Stage(mixes_slots=True)
    assert not (await stage.use(0, "a"))[0]
    for key in ("b", "b", "a", "a"):
        emptied, may, lease = await stage.use(0, key)
        assert (emptied, may, lease.alone) == (True, False, True)


async def test_where_a_slot_cannot_be_emptied_its_requests_use_nothing():
    stage = Stage(can_copy=False)
    assert not (await stage.use(0, "a"))[2].alone
    assert (await stage.use(0, "b"))[2].alone
    assert not (await stage.use(0, "b"))[2].alone


async def test_a_slot_that_could_not_be_emptied_belongs_to_nobody():
    stage = Stage()
    await stage.use(0, "a")
    stage.refuses = True
    with pytest.raises(EngineError):
        await stage.use(0, "b")
    stage.refuses = False
    assert (await stage.use(0, "a"))[0]


async def test_what_moved_to_another_run_keeps_its_owner():
    stage = Stage()
    await stage.use(0, "a")
    await stage.use(1, "a")
    await stage.use(1, "b")
    stage.separation.moved("m", NEXT, [0])
    assert not (await stage.use(0, "a", NEXT))[0]
    assert (await stage.use(1, "b", NEXT))[0]
    stage.separation.moved("unknown", NEXT, [0])


async def test_salts_are_the_keys_own_and_the_local_key_has_none():
    stage = Stage()
    salts = [(await stage.use(None, key))[2].salt for key in ("a", "b", "a", LOCAL_KEY)]
    assert salts[0] == salts[2]
    assert len({*salts}) == 3
    assert salts[3] == ""
    # Another start has others: nobody can guess them.
    assert (await Stage().use(None, "a"))[2].salt != salts[0]
    assert not stage.erased
