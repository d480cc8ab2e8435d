"""The page for Prometheus: what the runtime counted stands there under the usual names, parsed as Prometheus does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ansambl.dialects.openai_chat import Usage
from ansambl.domain.engine import EngineMetrics
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.units import Bytes, TokensPerSecond
from ansambl.foundation.clock import RealClock
from ansambl.gateway.metrics import Metrics
from ansambl.runtime.conversations.conversations import ConversationCounts
from ansambl.runtime.counters import RuntimeCounters
from ansambl.runtime.scheduling.records import DeviceView, InstanceView, Refusal, Residency
from ansambl.runtime.usage import UsageBook


class Machine:
    """What a coordinator lets be seen."""

    def __init__(self) -> None:
        self.counters = RuntimeCounters()

    def views(self) -> Mapping[str, InstanceView]:
        return {
            "m": InstanceView(
                Residency.IN, running=1, waiting=3, reserved={"gpu0": Bytes(1000), "ram": Bytes(10)}, measured=True,
                waiting_by_class={RequestClass.BATCH: 2, RequestClass.INTERACTIVE: 1},
            )
        }  # fmt: skip

    def kept(self) -> ConversationCounts | None:
        return ConversationCounts(kept=3, size=900, restored_tokens=50, discarded=4, evicted=5)

    def devices(self) -> Sequence[DeviceView]:
        return [DeviceView("gpu0", Bytes(5000), Bytes(1000), Bytes(300))]


def statuses() -> list[InstanceStatus]:
    metrics = EngineMetrics(
        output_tokens=70, cached_prompt_tokens=40, decode_rate=TokensPerSecond(12.5), kv_cache_share=0.25
    )
    return [
        InstanceStatus("m", "llama.cpp", InstanceState.READY, metrics=metrics),
        InstanceStatus("n", "x", InstanceState.STOPPED),
    ]


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for one in family.samples
    }


def key(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset((word.rstrip("_"), value) for word, value in labels.items())


def test_what_the_runtime_counted_is_on_the_page() -> None:
    machine = Machine()
    counters = machine.counters
    counters.swapped("m")
    counters.loaded("m", 12.0)
    counters.loaded("m", 3.0, woke=True)
    counters.loaded("m", None)
    counters.rested("m", None)
    counters.rested("m", 1)
    counters.grant(RequestClass.INTERACTIVE, 0.7)
    counters.grant(RequestClass.TASK, 0.0, "m")
    counters.refuse(RequestClass.BACKGROUND, Refusal.EXPIRED)
    counters.saved["m"] += 2
    counters.restored["m"] += 1
    metrics = Metrics(statuses, machine)
    metrics.count_task()
    found = samples(metrics)
    expected = {
        key("ansambl_swaps_total", model="m"): 1,
        key("ansambl_loads_total", model="m"): 1,
        key("ansambl_sleeps_total", model="m"): 1,
        key("ansambl_stops_total", model="m"): 1,
        key("ansambl_load_seconds_count", model="m"): 1,
        key("ansambl_load_seconds_sum", model="m"): 12,
        key("ansambl_load_seconds_bucket", model="m", le="10.0"): 0,
        key("ansambl_load_seconds_bucket", model="m", le="20.0"): 1,
        key("ansambl_wake_seconds_sum", model="m"): 3,
        key("ansambl_queue_seconds_bucket", class_="interactive", le="0.5"): 0,
        key("ansambl_queue_seconds_bucket", class_="interactive", le="1.0"): 1,
        key("ansambl_queue_seconds_count", class_="batch"): 0,
        key("ansambl_requests_granted_total", class_="task"): 1,
        key("ansambl_requests_refused_total", class_="background", reason="expired"): 1,
        key("ansambl_tasks_total", model="m"): 1,
        key("ansambl_tasks_total", model="builtin"): 1,
        key("ansambl_conversations_saved_total", model="m"): 2,
        key("ansambl_conversations_restored_total", model="m"): 1,
        key("ansambl_conversations_kept"): 3,
        key("ansambl_conversations_kept_bytes"): 900,
        key("ansambl_conversation_tokens_restored_total"): 50,
        key("ansambl_conversations_discarded_total"): 4,
        key("ansambl_conversations_evicted_total"): 5,
        key("ansambl_device_capacity_bytes", device="gpu0"): 5000,
        key("ansambl_device_reserved_bytes", device="gpu0"): 1000,
        key("ansambl_device_foreign_bytes", device="gpu0"): 300,
        key("ansambl_instance_reserved_bytes", model="m", device="gpu0", basis="measured"): 1000,
        key("ansambl_requests_waiting_by_class", model="m", class_="batch"): 2,
        key("ansambl_requests_waiting_by_class", model="m", class_="task"): 0,
        key("ansambl_instance_residency", model="m", residency="in"): 1,
        key("ansambl_instance_decode_tokens_per_second", model="m"): 12.5,
        key("ansambl_instance_kv_cache_share", model="m"): 0.25,
        key("ansambl_instance_cached_prompt_tokens_total", model="m"): 40,
        key("ansambl_instance_output_tokens_total", model="m"): 70,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert key("ansambl_instance_decode_tokens_per_second", model="n") not in found


def test_a_request_is_counted_once_under_its_name_and_by_instance() -> None:
    book = UsageBook(None, RealClock())
    metrics = Metrics(statuses, usage=book)
    metrics.count_request("coder", "m", status=200, seconds=2.0, queued=0.5, first=0.75, swaps=1)
    metrics.count_request("coder", "m", status=502, seconds=1.0)
    metrics.count_request("coder", "m", status=499, seconds=1.0)
    metrics.count_request("coder", "", status=503, seconds=1.0)
    metrics.count_usage("coder", Usage(prompt_tokens=100, completion_tokens=7, cached_tokens=90), "m")
    metrics.count_usage("council", Usage(prompt_tokens=5, completion_tokens=1))
    metrics.count_branch(
        "critic", "n", Usage(prompt_tokens=8, completion_tokens=2, cached_tokens=4), seconds=0.5, failed=False
    )
    metrics.count_branch("critic", "n", None, seconds=0.1, failed=True)
    branch = book.totals()["n"]
    assert (branch.requests, branch.failed, branch.prompt_tokens, branch.cached_tokens) == (2, 1, 8, 4)
    one = book.totals()["m"]
    assert (metrics.answered, metrics.failed) == (1, 2)
    assert (one.requests, one.failed, one.queued_seconds, one.answer_seconds) == (3, 1, 0.5, 4.0)
    assert (one.first_tokens, one.first_token_seconds, one.swaps) == (1, 0.75, 1)
    assert (one.prompt_tokens, one.cached_tokens, one.output_tokens) == (100, 90, 7)
    assert samples(metrics)[key("ansambl_requests_total", name="coder", status="200")] == 1


def test_without_a_scheduler_the_page_is_there_all_the_same() -> None:
    metrics = Metrics(list)
    metrics.queued.add(0.2)
    found = samples(metrics)
    assert found[key("ansambl_queue_seconds_count")] == 1
    assert found[key("ansambl_tasks_total", model="builtin")] == 0


def test_the_names_on_the_page_for_people_exist() -> None:
    machine = Machine()
    machine.counters.loaded("m", 1.0)
    machine.counters.loaded("m", 1.0, woke=True)
    metrics = Metrics(statuses, machine)
    there = {family.name for family in text_string_to_metric_families(metrics.page().decode())}
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "watch-with-prometheus.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(ansambl_\w+)", page))
    assert len(told) > 20
    assert {name for name in told if name.removesuffix("_total") not in there} == set()
