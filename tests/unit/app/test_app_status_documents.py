"""What the admin API tells of instances and devices: the words of engine, scheduler and book of usage joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from ansambl.app.status_documents import device_documents, instance_documents
from ansambl.domain.engine import EngineMetrics
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, TokensPerSecond
from ansambl.runtime.counters import RuntimeCounters
from ansambl.runtime.scheduling.records import DeviceView, InstanceView, Residency
from ansambl.runtime.usage import UsageBook


class Hands:
    def now(self) -> float:
        return 1_000_000.0

    def monotonic(self) -> float:
        return 50.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class Machine:
    def __init__(self, **views: InstanceView) -> None:
        self.counters = RuntimeCounters()
        self._views = views

    def views(self) -> Mapping[str, InstanceView]:
        return self._views

    def kept(self) -> None:
        return None

    def devices(self) -> Sequence[DeviceView]:
        return [DeviceView("ram", Bytes(10), Bytes(4), Bytes(1))]


def status(model: str = "m", metrics: EngineMetrics | None = None) -> InstanceStatus:
    return InstanceStatus(model, "llama.cpp", InstanceState.READY, message=text("hello"), metrics=metrics)


def test_an_instance_without_a_scheduler_is_told_as_it_is() -> None:
    (one,) = instance_documents([status()], None, None, str)
    assert (one.state, one.message, one.residency, one.reserved, one.cached_share) == ("ready", "hello", None, {}, None)
    assert device_documents(None) == []


def test_what_the_scheduler_knows_is_joined() -> None:
    view = InstanceView(
        Residency.DRAINING, running=2, waiting=3, reserved={"ram": Bytes(4)}, measured=True, wanted="n", rests_at=80.0,
        waiting_by_class={RequestClass.BATCH: 3, RequestClass.TASK: 0}, sleep_levels=(1, 2),
    )  # fmt: skip
    machine = Machine(m=view)
    machine.counters.swapped("m")
    one, other = instance_documents([status(), status("other")], machine, None, str, Hands())
    assert (one.residency, one.wanted, one.reserved, one.measured) == ("draining", "n", {"ram": 4}, True)
    assert (one.running, one.waiting, one.waiting_by_class, one.swaps) == (2, 3, {"batch": 3}, 1)
    # 30 s from now, as seconds since the epoch.
    assert one.rests_at == 1_000_030.0
    assert one.sleep_levels == [1, 2]
    assert (other.residency, other.sleep_levels) == (None, [])
    assert [one.model_dump() for one in device_documents(machine)] == [
        {"device": "ram", "capacity": 10, "reserved": 4, "foreign": 1}
    ]


def test_memory_is_told_by_part_and_adds_up_to_what_is_reserved() -> None:
    view = InstanceView(Residency.IN, running=0, waiting=0, reserved={"ram": Bytes(100), "gpu0": Bytes(7)})
    parts = {"m": {"ram": {"weights": 60, "kv_cache": 30, "compute": 0, "overhead": 0}}}
    one, other = instance_documents(
        [status(), status("other")], Machine(m=view, other=view), None, str, parts=lambda model: parts.get(model, {})
    )
    # Of the GPU nobody knows what is what.
    assert one.parts == {"ram": {"weights": 60, "kv_cache": 30, "overhead": 10}}
    assert other.parts == {}


@pytest.mark.parametrize(
    ("metrics", "share"),
    [
        # llama.cpp: what was computed, and what was not.
        (EngineMetrics(prompt_tokens=30, cached_prompt_tokens=70, prefilled_tokens=30.0), 0.7),
        (EngineMetrics(prompt_tokens=100, cached_prompt_tokens=25), 0.25),
        (EngineMetrics(cached_prompt_tokens=0, prefilled_tokens=0.0), None),
    ],
)
def test_the_share_of_the_cache_is_that_of_all_prompt_tokens(metrics: EngineMetrics, share: float | None) -> None:
    (one,) = instance_documents([status(metrics=metrics)], None, None, str)
    assert one.cached_share == share


def test_an_engine_that_tells_no_cache_is_known_by_its_answers() -> None:
    book = UsageBook(None, Hands())
    used = book.of("m", "coder")
    used.prompt_tokens, used.cached_tokens = 200, 50
    metrics = EngineMetrics(
        decode_rate=TokensPerSecond(9.5), kv_cache_share=0.5, output_tokens=7, cached_prompt_tokens=0,
        prefilled_tokens=0.0,
    )  # fmt: skip
    (one,) = instance_documents([status(metrics=metrics)], None, book, str)
    assert (one.cached_share, one.speed.decode, one.kv_cache_share, one.output_tokens) == (0.25, 9.5, 0.5, 7)
