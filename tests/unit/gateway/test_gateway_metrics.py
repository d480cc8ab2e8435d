"""The page for Prometheus: what the runtime counted stands there under the usual names, parsed as Prometheus does."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from ansambl.access.limits import Allowance, Allowances
from ansambl.dialects.openai_chat import Usage
from ansambl.domain.engine import EngineMetrics
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.units import Bytes, TokensPerSecond
from ansambl.foundation.clock import RealClock
from ansambl.gateway.observing import process_metrics
from ansambl.gateway.observing.metrics import Metrics
from ansambl.gateway.observing.request_metrics import MOST, OTHER
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


@pytest.fixture
def full() -> Metrics:
    """Metrics in which everything was counted at least once."""
    machine = Machine()
    counters = machine.counters
    counters.loaded("m", 1.0)
    counters.loaded("m", 1.0, woke=True)
    counters.refuse(RequestClass.BATCH, Refusal.EXPIRED)
    for count in (counters.swaps, counters.load_failures, counters.sleeps, counters.stops, counters.saved):
        count["m"] += 1
    metrics = Metrics(statuses, machine)
    metrics.count_first_byte("coder", 0.5)
    metrics.count_usage("coder", Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=3), "m", "k1")
    metrics.count_request("coder", "m", status=200, seconds=1.0, first=0.5, last=0.9, tokens=5)
    metrics.count_answer("/v1/chat/completions", "interactive", "k1", status=429, code="rate_limit_exceeded")
    metrics.count_left("coder")
    metrics.key_limits.tell = lambda: {"k1": Allowances(0.0, Allowance(60, 59, 1.0), None)}
    return metrics


def families(metrics: Metrics) -> dict[str, Metric]:
    return {one.name: one for one in text_string_to_metric_families(metrics.page().decode())}


def names_of(metrics: Metrics) -> set[str]:
    """All names on the page, as queries and the page for people write them."""
    there = families(metrics)
    return {f"{name}_total" if one.type == "counter" else name for name, one in there.items()} | {
        sample.name for one in there.values() for sample in one.samples
    }


def test_times_of_tokens_follow_their_formula() -> None:
    metrics = Metrics(list)
    # First byte after 1 s, last after 3 s, five tokens: four times of half a second.
    metrics.count_request("coder", "m", status=200, seconds=3.5, first=1.0, last=3.0, tokens=5)
    # Two tokens: one time of 0.1 s.
    metrics.count_request("coder", "m", status=200, seconds=1.0, first=0.5, last=0.6, tokens=2)
    for nothing in (
        {"first": None, "last": 1.0, "tokens": 9}, {"first": 0.5, "last": 1.0, "tokens": 1},
        {"first": 0.5, "last": 1.0, "tokens": None},
    ):  # fmt: skip
        metrics.count_request("coder", "m", status=200, seconds=1.0, **nothing)
    metrics.count_request("coder", "m", status=502, seconds=1.0, first=0.5, last=1.0, tokens=9)
    metrics.count_request("council", "", status=200, seconds=1.0, first=0.5, last=1.0, tokens=9)
    found = samples(metrics)
    assert found[key("ansambl_time_per_output_token_seconds_count", name="coder")] == 2
    assert found[key("ansambl_time_per_output_token_seconds_sum", name="coder")] == pytest.approx(0.6)
    assert found[key("ansambl_inter_token_latency_seconds_count", model="m")] == 5
    assert found[key("ansambl_inter_token_latency_seconds_sum", model="m")] == pytest.approx(2.1)
    assert found[key("ansambl_inter_token_latency_seconds_bucket", model="m", le="0.1")] == 1
    assert found[key("ansambl_inter_token_latency_seconds_bucket", model="m", le="0.5")] == 5
    assert key("ansambl_time_per_output_token_seconds_count", name="council") not in found


def test_what_a_key_asked_is_kept_by_day() -> None:
    book = UsageBook(None, RealClock())
    metrics = Metrics(list, usage=book)
    metrics.count_request("coder", "m", status=200, seconds=1.0, key="k1", queued=0.5, first=0.75, swaps=1)
    metrics.count_request("coder", "m", status=200, seconds=1.0, key="k1", queued=0.25)
    metrics.count_request("unresolved", "", status=404, seconds=1.0, key="k1")
    metrics.count_usage("coder", Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=3), "m", "k1")
    answered, refused = book.of_key("k1", "m"), book.of_key("k1", "")
    assert (answered.requests, answered.failed, answered.prompt_tokens, answered.output_tokens) == (2, 0, 10, 5)
    assert (answered.queued_seconds, answered.first_token_seconds) == (0.75, 0.75)
    assert (answered.first_tokens, answered.swaps) == (1, 1)
    assert (refused.requests, refused.failed) == (1, 1)


def test_tokens_are_told_by_name_model_and_key(full: Metrics) -> None:
    full.count_branch(
        "critic", "n", Usage(prompt_tokens=8, completion_tokens=2, cached_tokens=4), seconds=0.5, failed=False
    )
    found = samples(full)
    expected = {
        key("ansambl_prompt_tokens_total", name="coder"): 10,
        key("ansambl_model_generation_tokens_total", model="m"): 5,
        key("ansambl_model_cached_tokens_total", model="n"): 4,
        key("ansambl_cache_hit_ratio", name="coder"): 0.3,
        key("ansambl_key_tokens_total", key="k1", kind="cached"): 3,
        key("ansambl_rate_limited_total", key="k1"): 1,
        key("ansambl_key_limit", key="k1", kind="requests"): 60,
        key("ansambl_key_limit_remaining", key="k1", kind="requests"): 59,
        key("ansambl_errors_total", code="rate_limit_exceeded"): 1,
        key("ansambl_endpoint_requests_total", dialect="openai", endpoint="/v1/chat/completions", class_="interactive",
            status="429"): 1,
        key("ansambl_requests_cancelled_total", name="coder"): 1,
        key("ansambl_instance_requests_running", model="m"): 1,
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert key("ansambl_prompt_tokens_total", name="critic") not in found


def test_labels_are_bounded_whatever_is_counted() -> None:
    metrics = Metrics(list)
    for number in range(3 * MOST):
        name = f"name-{number}"
        metrics.count_request(name, name, status=200, seconds=1.0, first=0.1, last=0.9, tokens=9)
        metrics.count_usage(name, Usage(prompt_tokens=1, completion_tokens=1), name, name)
        metrics.count_answer("/v1/models", "none", name, status=500, code=f'e"\n{number}')
        metrics.count_left(name)
    found = samples(metrics)
    assert found[key("ansambl_requests_total", name=OTHER, status="200")] == 2 * MOST
    for name in ("ansambl_requests_total", "ansambl_key_requests_total", "ansambl_model_prompt_tokens_total"):
        assert len([one for one in found if one[0] == name]) == MOST + 1
    assert len([one for one in found if one[0] == "ansambl_errors_total"]) == 201
    assert all(re.fullmatch("[A-Za-z0-9_]+", dict(labels).get("code", "x")) for _, labels in found)


def test_the_page_in_both_formats_tells_the_same(full: Metrics) -> None:
    plain, kind = full.page_for(None)
    assert kind == b"text/plain; version=0.0.4; charset=utf-8"
    for accept in (b"*/*", b"text/plain;version=0.0.4;q=0.5", b"text/html", b""):
        assert full.page_for(accept)[1] == kind
    page, kind = full.page_for(b"application/openmetrics-text;version=1.0.0;escaping=x\x00,text/plain;q=0.1")
    assert kind.startswith(b"application/openmetrics-text; version=1.0.0")
    there = {one.name for one in openmetrics_families(page.decode())}  # type: ignore[no-untyped-call]
    assert there >= {"ansambl_requests", "ansambl_build", "ansambl_queue_seconds", "process_cpu_seconds"}
    assert {one.name.removesuffix("_info") for one in text_string_to_metric_families(plain.decode())} == there


UNITS = ("milliseconds", "microseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "gigabytes", "percent")
SHORT = ("_ms", "_s", "_sec", "_secs", "_kb", "_mb", "_gb", "_kib", "_mib", "_gib", "_pct")


def test_the_names_follow_the_rules_of_prometheus(full: Metrics) -> None:
    """What `promtool check metrics` would say, whose rules these are."""
    page = full.page().decode()
    assert len(re.findall("^# TYPE ", page, re.MULTILINE)) == len(set(re.findall("^# TYPE .*", page, re.MULTILINE)))
    for name, family in families(full).items():
        assert family.documentation, name
        assert re.fullmatch("[a-z][a-z0-9_]*", name)
        # The type is no part of the name, and `_total` is what counters end with: the parser takes it off.
        assert not re.search("_(?:counter|gauge|histogram|summary|metric)", name), name
        assert f"# TYPE {name}_total counter" in page or family.type != "counter", name
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", *SHORT)), name
        assert not any(unit in name for unit in UNITS), name
        for sample in family.samples:
            assert all(re.fullmatch("[a-z][a-z_]*", label) for label in sample.labels), name
            assert not set(sample.labels) & ({"le", "quantile"} if family.type != "histogram" else {"quantile"}), name
            assert family.type != "histogram" or math.isfinite(sample.value)


DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_for_people_names_every_metric_and_no_other(full: Metrics) -> None:
    page = (DOCS / "how-to" / "watch-with-prometheus.md").read_text(encoding="utf-8")
    there = names_of(full)
    told = set(re.findall(r"(?:^|[^A-Za-z_:`])`?((?:ansambl|process)_[a-z_]+)", page))
    assert len(told) > 40
    assert told - there == set()
    kinds = {
        name: kind
        for names, kind in re.findall(r"^\| (.*?) \| ((?:counter|gauge|histogram)[a-z, ]*) \|", page, re.MULTILINE)
        for name in re.findall(r"`((?:ansambl|process)_[a-z_]+)", names)
    }
    expected = {f"{name}_total" if one.type == "counter" else name: one.type for name, one in families(full).items()}
    assert {name: kind for name, kind in expected.items() if kind not in kinds.get(name, "")} == {}


def test_the_labels_on_the_page_for_people_are_those_of_the_metrics(full: Metrics) -> None:
    page = (DOCS / "how-to" / "watch-with-prometheus.md").read_text(encoding="utf-8")
    told = {name: set(labels.split(",")) for name, labels in re.findall(r"`(ansambl_\w+)\{([a-z,]+)\}`", page)}
    assert len(told) > 30
    for name, family in families(full).items():
        shown = f"{name}_total" if family.type == "counter" else name
        labels = {one for sample in family.samples for one in sample.labels} - {"le"}
        assert told.get(shown, set()) == labels or not family.samples or name.startswith("process_"), shown


def test_the_dashboard_asks_only_for_what_is_there(full: Metrics) -> None:
    board = json.loads((DOCS / "assets" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    there = names_of(full)
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for one in asked for name in re.findall(r"\b((?:ansambl|process)_\w+)", one)}
    assert len(names) > 20
    assert names - there == set()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(one["x"] >= 0 and one["x"] + one["w"] <= 24 for one in places)
    assert len({(one["x"], one["y"]) for one in places}) == len(places)


async def test_a_late_event_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "LOOK_EVERY", 0.0)
    lag = process_metrics.LoopLag()
    looking = asyncio.create_task(lag.keep_looking())
    await asyncio.sleep(0)
    # Nothing else gets its turn for so long.
    time.sleep(0.03)  # noqa: ASYNC251 - what is measured
    for _ in range(3):
        await asyncio.sleep(0)
    looking.cancel()
    family = next(iter(lag.collect()))
    worst = {one.labels["le"]: one.value for one in family.samples if "le" in one.labels}
    assert worst["0.025"] < worst["+Inf"]


def test_a_request_that_no_instance_answered_counts_by_minute_alone():
    book = UsageBook(None, RealClock())
    metrics = Metrics(lambda: (), usage=book)
    metrics.count_request("coder", "", status=503, seconds=0.1)
    # An ensemble's answers count for the models of its roles.
    metrics.count_request("council", "", status=200, seconds=0.1)
    assert book.totals() == {}
    assert [(one.pair, one.usage.requests, one.usage.failed) for one in book.minutes(2)] == [(("", "coder"), 1, 1)]
