"""Saving and restoring with a stand-in of the engine: what is kept, for whom, and what goes when something is wrong."""

import asyncio
import errno
import json
import os
from types import SimpleNamespace

import pytest
from kept_conversations import Keeping

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text
from ansambl.engines.shared.llama_slots import LlamaSlots
from ansambl.foundation.clock import VirtualClock
from ansambl.runtime import slot_states
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations import shelf
from ansambl.runtime.conversations.worth import HALF_LIFE
from ansambl.runtime.marks import lora_mark, owner_mark, with_adapter_tail

TALK = b"[" + b"a conversation " * 200 + b"]"
OTHER = b"[" + b"something else " * 200 + b"]"
BYTES = 1000


class Engine:
    """Slots that hold text; each byte of it is a token, and a state takes `BYTES` for each 100 of them."""

    def __init__(self, folder):
        self.folder = folder
        self.slots = {}
        self.restores_less = 0
        self.refuses = False
        self.slow, self.asked = None, asyncio.Event()
        self.calls = []

    async def send(self, endpoint, call, *, patience, loras=None):
        del endpoint, patience, loras
        self.calls.append(call.path)
        if self.slow is not None:
            self.asked.set()
            await self.slow.wait()
        if self.refuses:
            raise EngineError(text("no"))
        if call.path == "/completion":
            return b"{}"
        slot, action = call.path.removeprefix("/slots/").split("?action=")
        file = self.folder / call.body["filename"]
        if action == "save":
            held = self.slots[int(slot)]
            file.write_bytes(held + b"\n" + b"k" * (len(held) // 100 * BYTES))
            return json.dumps({"n_saved": len(held), "n_written": file.stat().st_size}).encode()
        held = self.slots[int(slot)] = file.read_bytes().partition(b"\n")[0]
        return json.dumps({"n_restored": len(held) - self.restores_less, "n_read": file.stat().st_size}).encode()


@pytest.fixture
def stage(tmp_path, monkeypatch):
    (tmp_path / "states").mkdir()
    engine = Engine(tmp_path / "states")
    monkeypatch.setattr(slot_states, "send", engine.send)
    monkeypatch.setattr(shelf, "SPARE_SHARE", 0.0)
    clock = VirtualClock()
    found = SimpleNamespace(engine=engine, keeping=Keeping(tmp_path / "data", clock), clock=clock)
    found.endpoint = Endpoint("http://127.0.0.1:1/v1", state_folder=str(engine.folder))
    found.calls = LlamaSlots(can_copy=True)

    def lease(prompt, slot=0):
        return Lease("m", found.endpoint, 0.0, slot=slot, calls=found.calls, prompt=prompt)

    async def save(kept, held, identity="i", *, model="m"):
        engine.slots.update(held)
        return await kept.save(model, found.endpoint, found.calls, identity, held, patience=10)

    found.lease, found.save = lease, save
    return found


async def test_what_was_saved_comes_back_after_a_restart(stage):
    async with stage.keeping.opened() as kept:
        assert await stage.save(kept, {0: TALK, 1: OTHER}) == 2
    stage.engine.slots.clear()
    async with stage.keeping.opened() as kept:
        lease = stage.lease(TALK + b"and more", 1)
        assert await kept.bring_back(lease, "i", b"") == len(TALK)
        assert stage.engine.slots == {1: TALK}
        await kept.proved(lease, len(TALK))
        counts = kept.counts()
    assert (counts.kept, counts.restored, counts.restored_tokens, counts.discarded) == (2, 1, len(TALK), 0)
    assert not list(stage.engine.folder.iterdir()), "nothing is left where the engine reads"


async def test_no_text_of_it_is_in_the_database(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: owner_mark("the key") + TALK})
    content = b"".join(one.read_bytes() for one in stage.keeping.folder.parent.glob("test.db*"))
    assert b"a conversation" not in content
    assert b"the key" not in content


@pytest.mark.parametrize("asks", [b"", owner_mark("other"), owner_mark("one") + lora_mark("l"), lora_mark("l")])
async def test_it_comes_back_only_for_its_key_and_the_plain_model(stage, asks):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: owner_mark("one") + TALK})
        assert await kept.bring_back(stage.lease(asks + TALK), "i", b"") == 0
        assert await kept.bring_back(stage.lease(owner_mark("one") + TALK), "other engine", b"") == 0
        assert await kept.bring_back(stage.lease(owner_mark("one") + TALK), None, b"") == 0
        assert stage.engine.calls == ["/slots/0?action=save"]
        assert await kept.bring_back(stage.lease(owner_mark("one") + TALK), "i", b"") > 0


async def test_what_cannot_come_back_is_not_saved(stage):
    async with stage.keeping.opened() as kept:
        short, adapter = b"[" + b"x" * 50 + b"]", lora_mark("l") + TALK
        assert await stage.save(kept, {0: short, 1: adapter, 2: with_adapter_tail(TALK)}) == 0
        assert await stage.save(kept, {0: TALK}, None) == 0
        stage.engine.refuses = True
        assert await stage.save(kept, {0: TALK, 1: OTHER}) == 0
        assert stage.keeping.told() == ["conversation_unsaved"]
        stage.engine.refuses = False
        # A long hint of which the engine read little, as with a picture.
        stage.engine.slots[0] = b"x" * 100
        assert await kept.save("m", stage.endpoint, stage.calls, "i", {0: TALK}, patience=10) == 0
    assert not list(stage.engine.folder.iterdir())
    assert stage.keeping.rows() == []


async def test_a_longer_conversation_takes_the_place_of_its_beginning(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK, 1: owner_mark("k") + TALK})
        await stage.save(kept, {0: TALK + OTHER})
        assert sorted(one["length"] for one in stage.keeping.rows()) == [len(TALK), len(TALK + OTHER)]
        # And its beginning is not kept beside it.
        assert await stage.save(kept, {0: TALK[:2000]}) == 1
        assert len(stage.keeping.files()) == 2


async def test_a_slot_that_holds_it_already_gets_nothing(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK})
        assert await kept.bring_back(stage.lease(TALK + b"more"), "i", TALK) == 0
        assert await kept.bring_back(stage.lease(TALK + b"more"), "i", TALK[:100]) > 0


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_one_byte(path):
    path.write_bytes(b"X" + path.read_bytes()[1:])


def damage_longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def damage_link(path):
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


@pytest.mark.parametrize("damage", [damage_cut, damage_one_byte, damage_longer, damage_link, os.unlink])
async def test_a_damaged_file_never_reaches_the_engine(stage, damage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK})
        damage(stage.keeping.files()[0])
        assert await kept.bring_back(stage.lease(TALK), "i", b"") == 0
        assert await kept.bring_back(stage.lease(TALK), "i", b"") == 0
        assert kept.counts().kept == 0
        assert kept.counts().discarded == 1
    assert stage.engine.calls == ["/slots/0?action=save"]
    assert stage.keeping.rows() == []
    assert not list(stage.engine.folder.iterdir())
    assert len(stage.keeping.told()) == 1


async def test_a_file_of_another_owner_in_its_place_never_reaches_the_engine(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: owner_mark("one") + TALK})
        (first,) = stage.keeping.files()
        await stage.save(kept, {0: owner_mark("two") + TALK})
        (second,) = (one for one in stage.keeping.files() if one != first)
        assert first.stat().st_size == second.stat().st_size
        second.replace(first)
        assert await kept.bring_back(stage.lease(owner_mark("one") + TALK), "i", b"") == 0
    assert stage.keeping.told() == ["conversation_corrupt"]


async def test_what_an_engine_does_not_restore_or_use_is_discarded_and_told_once(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK})
        stage.engine.restores_less = 1
        assert await kept.bring_back(stage.lease(TALK), "i", b"") == 0
        assert kept.counts().kept == 0
        stage.engine.restores_less = 0
        for _ in range(2):
            assert await stage.save(kept, {0: TALK}) == 1
            lease = stage.lease(TALK)
            assert await kept.bring_back(lease, "i", b"") > 0
            await kept.proved(lease, 10)
            # Said once more it changes nothing.
            await kept.proved(lease, 10)
            assert kept.counts().kept == 0
        # This engine never uses any: to save more would only cost.
        assert await stage.save(kept, {0: TALK}) == 0
        assert await stage.save(kept, {0: TALK}, "another") == 1
        assert kept.counts().discarded == 3
    assert stage.keeping.told() == ["conversation_refused", "conversation_unproven"]


@pytest.mark.parametrize(("cached", "stays"), [(0.96, True), (0.94, False)])
async def test_95_percent_must_be_cached(stage, cached, stays):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK})
        lease = stage.lease(TALK + b"more")
        tokens = await kept.bring_back(lease, "i", b"")
        await kept.proved(lease, round(cached * tokens))
        assert (kept.counts().kept == 1) is stays


async def test_the_budget_holds_and_the_oldest_go(stage):
    size = len(TALK) // 100 * BYTES + len(TALK) + 1
    async with stage.keeping.opened(3 * size) as kept:
        for number in range(5):
            await stage.save(kept, {0: b"[%d" % number + TALK[:-2]})
            await stage.clock.advance(HALF_LIFE)
            assert kept.counts().size <= 3 * size
        assert kept.counts().evicted == 2
        assert len(stage.keeping.files()) == 3
        for number, found in enumerate([False, False, True, True, True]):
            assert bool(await kept.bring_back(stage.lease(b"[%d" % number + TALK[:-2]), "i", b"")) is found
    # A smaller budget at the next start.
    async with stage.keeping.opened(size) as kept:
        assert kept.counts().kept == 1
        assert await stage.save(kept, {0: TALK + OTHER}) == 0, "larger than all of the budget"
    async with stage.keeping.opened(0) as kept:
        assert await stage.save(kept, {0: TALK}) == 0
    assert not stage.keeping.folder.exists()
    assert stage.keeping.rows() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_disk_that_fills_up_leaves_nothing_half_written(stage, monkeypatch, number):
    def write(_descriptor, _part):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shelf.Shelf, "_same_disk", lambda *_: False)
    async with stage.keeping.opened() as kept:
        assert await stage.save(kept, {0: TALK}) == 1
        with monkeypatch.context() as full:
            full.setattr(shelf, "_write", write)
            assert await stage.save(kept, {0: OTHER, 1: owner_mark("k") + TALK}) == 0
            # Neither can it be given to an engine then, and it is not to blame.
            if number != errno.EIO:
                assert await kept.bring_back(stage.lease(TALK), "i", b"") == 0
        assert len(stage.keeping.files()) == len(stage.keeping.rows()) == 1
        assert not list(stage.engine.folder.iterdir())
        # Everything goes on.
        assert await stage.save(kept, {0: OTHER}) == 1
        assert await kept.bring_back(stage.lease(TALK), "i", b"") > 0
    assert len(stage.keeping.told()) == 1


async def test_a_nearly_full_disk_is_left_alone(stage, monkeypatch):
    monkeypatch.setattr(shelf, "SPARE_SHARE", 1.0)
    monkeypatch.setattr(shelf, "SPARE_MOST", 2**80)
    async with stage.keeping.opened() as kept:
        assert await stage.save(kept, {0: TALK}) == 0
    assert stage.keeping.told() == ["conversation_full"]
    assert stage.keeping.files() == []


async def test_leftovers_are_cleaned_at_the_start(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK, 1: OTHER})
    first, second = stage.keeping.files()
    # A file without a row, a row without a file, a half of one, and what is not ours.
    first.rename(first.with_stem("0" * 32))
    (stage.keeping.folder / "half.partial").write_bytes(b"x")
    (stage.keeping.folder / "note.txt").write_bytes(b"x")
    async with stage.keeping.opened() as kept:
        assert kept.counts().kept == 1
    assert stage.keeping.files() == sorted([second, stage.keeping.folder / "note.txt"])
    assert [one["name"] for one in stage.keeping.rows()] == [second.stem]
    # Without the secret nothing can be proven.
    (stage.keeping.folder / "secret").unlink()
    async with stage.keeping.opened() as kept:
        assert kept.counts().kept == 0
    assert [one.name for one in stage.keeping.files()] == ["note.txt"]


async def test_a_key_is_forgotten_with_all_that_is_kept_of_it(stage):
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: owner_mark("one") + TALK, 1: owner_mark("two") + TALK, 2: TALK})
        assert await kept.forget_key("one") == 1
        assert await kept.forget_key("one") == 0
        assert len(stage.keeping.files()) == len(stage.keeping.rows()) == 2
        assert await kept.bring_back(stage.lease(owner_mark("one") + TALK), "i", b"") == 0
        assert await kept.bring_back(stage.lease(owner_mark("two") + TALK), "i", b"") > 0
        assert await kept.remove_all() == 2
    assert stage.keeping.files() == []
    assert stage.keeping.rows() == []


async def test_a_client_that_leaves_waits_until_the_state_has_arrived(stage):
    """Or it would arrive in a slot that somebody else has got meanwhile."""
    async with stage.keeping.opened() as kept:
        await stage.save(kept, {0: TALK})
        stage.engine.slots.clear()
        stage.engine.slow = asyncio.Event()
        coming = asyncio.create_task(kept.bring_back(stage.lease(TALK), "i", b""))
        async with asyncio.timeout(10):
            await stage.engine.asked.wait()
        coming.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not coming.done()
        stage.engine.slow.set()
        with pytest.raises(asyncio.CancelledError):
            await coming
        assert stage.engine.slots == {0: TALK}
    assert not list(stage.engine.folder.iterdir())


async def test_a_folder_that_cannot_be_made_keeps_nothing_and_hinders_nothing(stage):
    stage.keeping.folder.write_text("a file", encoding="utf-8")
    async with stage.keeping.opened() as kept:
        assert await stage.save(kept, {0: TALK}) == 0
        assert await kept.bring_back(stage.lease(TALK), "i", b"") == 0
    assert stage.keeping.told() == ["conversation_folder"]


async def test_another_budget_holds_at_once_and_none_removes_all(stage):
    async with stage.keeping.opened() as kept:
        assert await stage.save(kept, {0: TALK}) == 1
        await stage.clock.advance(60)
        assert await stage.save(kept, {0: OTHER}) == 1
        (least, most) = sorted(one.stat().st_size for one in stage.keeping.files())
        await kept.use(most)
        assert kept.counts().kept == 1
        assert await kept.bring_back(stage.lease(OTHER), "i", b"") == len(OTHER), "the newer one stayed"
        await kept.use(0)
        assert (kept.counts().kept, stage.keeping.files(), stage.keeping.rows()) == (0, [], [])
        assert await stage.save(kept, {0: TALK}) == 0
        await kept.use(least + most)
        assert await stage.save(kept, {0: TALK}) == 1
