"""LoRA adapters by request, on the fake engine: loaded while it runs as vLLM's are, or at its start as llama.cpp's."""

import asyncio
import json

import psutil
import pytest
from fake_instances import (
    ListingCommand,
    LoadingCommand,
    RankedCommand,
    SleepingCommand,
    fake_placement,
    kinds,
    lora,
    say,
    stage,
)

from ansambl.domain.errors import NotSupportedError, UnavailableError, UnknownNameError
from ansambl.domain.instance import InstanceState
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.engine import loras as engine_loras
from ansambl.runtime.upstream import Upstream

A, B, C = (lora(name) for name in ("lawyer", "poet", "nurse"))
COMMON = "the same long question for everybody, word for word"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("ansambl.runtime.engine.instance._LOOK_EVERY", 0.05)


@pytest.fixture
async def make(tmp_path):
    async with stage(tmp_path) as found:
        yield found


class Asking:
    """A coordinator over one instance, and what it is asked."""

    def __init__(self, instance):
        self.instance = instance
        self.coordinator = Coordinator([instance], Upstream())

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.coordinator.stop()

    async def __call__(self, name=None, words=COMMON):
        """The answer, and the tokens of the prompt that were cached."""
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": words}]}).encode()
        async with (
            self.coordinator.lease("m", words.encode(), lora=name) as lease,
            self.coordinator.open(lease, "/chat/completions", body) as answer,
        ):
            found = json.loads(await answer.body())
        assert answer.status == 200, found
        usage = found["usage"]["prompt_tokens_details"]["cached_tokens"]
        return found["choices"][0]["message"]["content"], usage


def adapter_of(answer):
    return answer[0].partition("]")[0][1:] if answer[0].startswith("[") else None


@pytest.mark.parametrize("parallel", [1, 3])
async def test_adapters_of_the_start_never_mix_on_any_number_of_slots(make, parallel, tmp_path):
    words = ("--slot-save-path", "{state_folder}/")
    instance = make(fake_placement(parallel=parallel, loras=(A, B), words=words), ListingCommand())
    names = [None, "lawyer", None, None, "poet", "lawyer", "lawyer", None, "poet", "poet", None]
    async with Asking(instance) as ask:
        for name in names:
            assert adapter_of(await ask(name)) == name
        many = await asyncio.gather(*(ask(name) for name in names))
    assert [adapter_of(one) for one in many] == names


async def test_a_list_left_out_would_mix_them(make):
    """The trap is really there: this is what the rule is for."""
    instance = make(fake_placement(loras=(A,)), ListingCommand())
    async with Asking(instance) as ask:
        assert adapter_of(await ask("lawyer")) == "lawyer"
        endpoint = await instance.ensure_ready()
        assert (await say(endpoint, COMMON)).startswith("[lawyer]")
        assert adapter_of(await ask()) is None


async def test_a_slot_is_taken_for_what_was_read_with_the_same_adapter(make):
    words = ("--slot-save-path", "{state_folder}/")
    instance = make(fake_placement(parallel=2, loras=(A,), words=words), ListingCommand())
    async with Asking(instance) as ask:
        await ask("lawyer")
        plain = await ask()
        again, plain_again = await ask("lawyer"), await ask()
    assert plain[1] == 0
    assert again[1] > 0
    assert plain_again[1] > 0


async def test_adapters_are_loaded_at_their_first_use_and_the_least_used_one_goes(make):
    instance = make(fake_placement(words=("--loads-loras",), settings={"max_loras": 2}), LoadingCommand())
    instance.set_loras((A, B, C))
    async with Asking(instance) as ask:
        for name in ("lawyer", None, "poet", "lawyer", "nurse", "poet", None):
            assert adapter_of(await ask(name)) == name
        assert instance._loras.loaded == ("nurse", "poet")


@pytest.mark.parametrize("broken_off", ["load", "unload"])
async def test_one_whose_loading_was_broken_off_is_used_all_the_same(make, monkeypatch, broken_off):
    instance = make(fake_placement(words=("--loads-loras",), settings={"max_loras": 1}), LoadingCommand())
    instance.set_loras((A, B))
    heard, send = asyncio.Event(), engine_loras.send

    async def unanswered(endpoint, call, **options):
        await send(endpoint, call, **options)
        if call.path == f"/v1/{broken_off}_lora_adapter":
            heard.set()
            await asyncio.Event().wait()

    async with Asking(instance) as ask:
        if broken_off == "unload":
            await ask("poet")
        monkeypatch.setattr(engine_loras, "send", unanswered)
        asking = asyncio.create_task(ask("lawyer"))
        await asyncio.wait_for(heard.wait(), 15)
        asking.cancel()
        await asyncio.wait([asking])
        monkeypatch.setattr(engine_loras, "send", send)
        for name in ("lawyer", "poet", None):
            assert adapter_of(await ask(name)) == name


async def test_one_is_loaded_again_when_the_engine_died_under_a_lease(make):
    instance = make(fake_placement(words=("--loads-loras",), parallel=2), LoadingCommand())
    instance.set_loras((A,))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": COMMON}]}).encode()
    async with Asking(instance) as ask:
        async with ask.coordinator.lease("m", lora="lawyer") as lease, ask.coordinator.lease("m", lora="lawyer") as two:
            psutil.Process(instance.status().pid).kill()
            for one in (lease, two):
                async with ask.coordinator.open(one, "/chat/completions", body) as answer:
                    found = json.loads(await answer.body())
                assert found["choices"][0]["message"]["content"].startswith("[lawyer]"), found
        assert not instance._loras._uses
        assert adapter_of(await ask()) is None


async def test_one_that_is_used_is_not_unloaded_and_the_next_one_waits(make):
    placement = fake_placement(words=("--loads-loras",), settings={"max_loras": 1}, parallel=2)
    instance = make(placement, LoadingCommand())
    instance.set_loras((A, B))
    async with Asking(instance) as ask:
        async with ask.coordinator.lease("m", b"", lora="lawyer"):
            waiting = asyncio.create_task(ask("poet"))
            done, _ = await asyncio.wait([waiting], timeout=0.3)
            assert not done
            assert instance._loras.loaded == ("lawyer",)
        assert adapter_of(await waiting) == "poet"


async def test_added_ones_are_loaded_and_removed_ones_unloaded_while_it_runs(make, quick):
    instance = make(fake_placement(words=("--loads-loras",)), LoadingCommand())
    async with Asking(instance) as ask:
        assert adapter_of(await ask()) is None
        pid = instance.status().pid
        assert instance.set_loras((A, B)) is False
        await until(lambda: instance._loras.loaded == ("lawyer", "poet"))
        assert instance.status().loras == ("lawyer", "poet")
        assert instance.set_loras((B,)) is False
        await until(lambda: instance._loras.loaded == ("poet",))
        with pytest.raises(UnknownNameError, match="lawyer"):
            await ask("lawyer")
        # The same name for other files: the old ones must not answer.
        instance.set_loras((lora("poet", identity="2"),))
        assert adapter_of(await ask("poet")) == "poet"
        assert instance._loras._loaded["poet"].identity == "2"
        assert instance.status().pid == pid


async def test_adapters_are_loaded_again_after_a_crash_and_after_a_sleep(make, quick):
    instance = make(fake_placement(words=("--loads-loras",), memory=64), LoadingCommand())
    instance.set_loras((A,))
    async with Asking(instance) as ask:
        assert adapter_of(await ask("lawyer")) == "lawyer"
        await instance.sleep(2)
        assert adapter_of(await ask("lawyer")) == "lawyer"
        await instance.stop()
        assert adapter_of(await ask("lawyer")) == "lawyer"


async def test_an_adapter_of_a_greater_rank_than_the_engine_was_started_for_comes_with_a_restart(make, quick):
    """vLLM would list it as loaded, and fail at its first use."""
    instance = make(fake_placement(words=("--loads-loras",)), RankedCommand())
    large = lora("large", rank=64)
    async with Asking(instance) as ask:
        assert adapter_of(await ask()) is None
        pid = instance.status().pid
        assert instance.set_loras((A,)) is False
        async with ask.coordinator.lease("m"):
            assert instance.set_loras((A, large)) is True
            with pytest.raises(UnavailableError, match="restarted"):
                await instance.use_lora("large")
            await until(lambda: instance._loras.loaded == ("lawyer",))
        assert adapter_of(await again(ask, "large")) == "large"
        renewed = instance.status().pid
        assert renewed != pid
        assert adapter_of(await ask("lawyer")) == "lawyer"
        # Room that is left over is no reason to start again.
        assert instance.set_loras((A,)) is False
        assert instance.status().pid == renewed
    assert kinds(make.events).count("renewed") == 1


async def test_an_adapter_that_cannot_be_used_is_refused_before_anything_starts(make):
    plain = make(fake_placement(loras=(A,)), SleepingCommand())
    async with Asking(plain) as ask:
        with pytest.raises(NotSupportedError, match="lawyer"):
            await ask("lawyer")
        with pytest.raises(UnknownNameError, match="nobody"):
            await ask("nobody")
    assert plain.status().state is InstanceState.STOPPED
    assert kinds(make.events) == []


async def test_new_adapters_of_the_start_come_with_a_restart_that_keeps_plain_conversations(make, quick):
    words = ("--slot-save-path", "{state_folder}/")
    instance = make(fake_placement(parallel=3, loras=(A,), words=words), ListingCommand())
    async with Asking(instance) as ask:
        await ask()
        await ask("lawyer")
        pid = instance.status().pid
        assert instance.set_loras((A, B)) is True
        with_new = await again(ask, "poet")
        assert adapter_of(with_new) == "poet"
        assert instance.status().pid != pid
        kept = await ask()
        assert adapter_of(kept) is None
        assert kept[1] > 0
        assert adapter_of(await ask("lawyer")) == "lawyer"
        assert instance.status().restarts == 0
    assert kinds(make.events)[:5] == ["started", "ready", "renewed", "started", "ready"]


async def test_a_restart_for_adapters_waits_for_those_who_are_answered(make, quick):
    instance = make(fake_placement(), ListingCommand())
    async with Asking(instance) as ask:
        async with ask.coordinator.lease("m") as lease:
            pid = instance.status().pid
            assert instance.set_loras((A,)) is True
            assert instance.check_lora("lawyer") is A
            assert "hello" in await say(lease.endpoint, "hello")
            with pytest.raises(UnavailableError, match="restarted"):
                await instance.use_lora("lawyer")
            assert instance.status().pid == pid
        assert adapter_of(await again(ask, "lawyer")) == "lawyer"


async def again(ask, name):
    """What it answers as soon as the restart is over."""
    async with asyncio.timeout(15):
        while True:
            try:
                return await ask(name)
            except UnavailableError:
                await asyncio.sleep(0.05)


async def until(condition, seconds=15.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)
