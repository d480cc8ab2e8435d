"""What prompts have in common, in tokens; and that no file of a state is left."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.instance import Endpoint
from ansambl.engines.shared.llama_slots import LlamaSlots
from ansambl.runtime.carrying import Lease
from ansambl.runtime.cloning import StateCopies, common_tokens

_TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@given(st.lists(_TOKENS, min_size=2, max_size=4))
def test_the_common_beginning_leaves_each_prompt_a_token_of_its_own(prompts):
    found = common_tokens(prompts)
    assert len({tuple(one[:found]) for one in prompts}) == 1
    assert all(len(one) > found for one in prompts)
    longer = found + 1
    assert any(len(one) <= longer for one in prompts) or len({tuple(one[:longer]) for one in prompts}) > 1


def test_a_prompt_that_is_the_beginning_of_another():
    assert common_tokens([[1, 2, 3], [1, 2, 3, 4]]) == 2
    assert common_tokens([[1, 2, 3], [1, 2, 3]]) == 2
    assert common_tokens([[1], [1, 2]]) == 0


class SlowEngine:
    """A coordinator whose engine writes the file of a save when it may, whether or not somebody still listens."""

    def __init__(self, folder):
        self.folder = folder
        self.asked, self.may_write = asyncio.Event(), asyncio.Event()
        self.writing = None

    async def call(self, lease, call):
        self.writing = asyncio.create_task(self.write(call.body["filename"]))
        self.asked.set()
        await asyncio.shield(self.writing)
        return b'{"n_saved": 3, "n_written": 30}'

    async def write(self, name):
        await self.may_write.wait()
        (self.folder / name).write_bytes(b"state")


async def test_a_state_that_is_written_after_its_request_was_cancelled_is_removed(tmp_path):
    engine = SlowEngine(tmp_path)
    lease = Lease("m", Endpoint("", state_folder=str(tmp_path)), 0.0, slot=0, calls=LlamaSlots(can_copy=True))
    copies = StateCopies(engine, lease, [1, 2, 3])

    async def saved():
        try:
            await copies.save()
        finally:
            await copies.remove()

    saving = asyncio.create_task(saved())
    await engine.asked.wait()
    saving.cancel()
    # Whoever does not wait for the engine would have removed the file by now.
    await asyncio.wait([saving], timeout=0.1)
    engine.may_write.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    await engine.writing
    assert list(tmp_path.iterdir()) == []
