"""What the runtime counted and what instances say, as Prometheus' families; read when the page is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ansambl.domain.engine import EngineMetrics
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.conversations.conversations import ConversationCounts
from ansambl.runtime.counters import RuntimeCounters, Spread
from ansambl.runtime.scheduling.records import DeviceView, InstanceView


class Observed(Protocol):
    """What the scheduler's driver lets be seen; read when the page is asked for."""

    def views(self) -> Mapping[str, InstanceView]:
        """The instances by the name of their model."""
        ...

    def devices(self) -> Sequence[DeviceView]:
        """The devices."""
        ...

    def kept(self) -> ConversationCounts | None:
        """What is kept of conversations; None where nothing is."""
        ...

    @property
    def counters(self) -> RuntimeCounters:
        """What was counted since the start."""
        ...


class Instances(Collector):
    """Reads the instances' states when it is asked, so that nothing has to be counted on the way."""

    def __init__(self, statuses: Callable[[], Iterable[InstanceStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        state = GaugeMetricFamily("ansambl_instance_state", "1 for the state that holds", labels=["model", "state"])
        restarts = GaugeMetricFamily("ansambl_instance_restarts", "Restarts since the start", labels=["model"])
        memory = GaugeMetricFamily("ansambl_instance_memory_bytes", "Memory of the engine in RAM", labels=["model"])
        waiting = GaugeMetricFamily("ansambl_requests_waiting", "Requests that wait for a place", labels=["model"])
        decode = GaugeMetricFamily(
            "ansambl_instance_decode_tokens_per_second", "Tokens of an answer a second, by the engine's own count",
            labels=["model"],
        )  # fmt: skip
        prefill = GaugeMetricFamily(
            "ansambl_instance_prefill_tokens_per_second", "Prompt tokens a second, by the engine's own count",
            labels=["model"],
        )  # fmt: skip
        cache = GaugeMetricFamily(
            "ansambl_instance_kv_cache_share", "The part of the engine's KV cache that is in use, 0 to 1",
            labels=["model"],
        )  # fmt: skip
        cached = CounterMetricFamily(
            "ansambl_instance_cached_prompt_tokens", "Prompt tokens that the engine found in its cache",
            labels=["model"],
        )  # fmt: skip
        output = CounterMetricFamily(
            "ansambl_instance_output_tokens", "Tokens that the engine wrote, by its own count", labels=["model"]
        )
        for one in self._statuses():
            for name in InstanceState:
                state.add_metric([one.model, name.value], float(one.state is name))
            restarts.add_metric([one.model], one.restarts)
            waiting.add_metric([one.model], one.waiting)
            figures = one.metrics or EngineMetrics()
            for family, value in (
                (memory, one.memory),
                (decode, figures.decode_rate),
                (prefill, figures.prefill_rate),
                (cache, figures.kv_cache_share),
                (cached, figures.cached_prompt_tokens),
                (output, figures.output_tokens),
            ):
                if value is not None:
                    family.add_metric([one.model], float(value))
        yield from (state, restarts, memory, waiting, decode, prefill, cache, cached, output)


class Runtime(Collector):
    """What the scheduler's driver counted, and how the memory is divided."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        observed, counters = self._observed, self._observed.counters
        yield from _devices(observed.devices())
        yield from _views(observed.views())
        yield _by_model("ansambl_swaps", "Loads for which another instance had to rest", counters.swaps)
        yield _by_model("ansambl_load_failures", "Loads that failed", counters.load_failures)
        yield _by_model("ansambl_sleeps", "Times that an instance was put to sleep", counters.sleeps)
        yield _by_model("ansambl_stops", "Times that an instance was stopped", counters.stops)
        loads = {model: one.count for model, one in counters.load_seconds.items()}
        yield _by_model("ansambl_loads", "Starts that became ready", loads)
        yield spread_family("ansambl_load_seconds", "From the start of an engine until it was ready", "model",
                      counters.load_seconds)  # fmt: skip
        yield spread_family("ansambl_wake_seconds", "From asleep until it was ready", "model", counters.wake_seconds)
        waited = {one.value: spread for one, spread in counters.waited.items()}
        yield spread_family("ansambl_queue_seconds", "From a request to its place on an instance", "class", waited)
        granted = CounterMetricFamily("ansambl_requests_granted", "Requests that got their place", labels=["class"])
        for request_class in RequestClass:
            granted.add_metric([request_class.value], counters.granted[request_class])
        refused = CounterMetricFamily(
            "ansambl_requests_refused", "Requests that got no place, and why", labels=["class", "reason"]
        )
        for (request_class, refusal), count in counters.refused.items():
            refused.add_metric([request_class.value, refusal.value], count)
        yield from (granted, refused)
        yield _by_model("ansambl_conversations_saved", "Conversations whose state was written to disk", counters.saved)
        yield _by_model("ansambl_conversations_restored", "Conversations whose state was read back", counters.restored)
        if (kept := observed.kept()) is not None:
            yield from _kept(kept)


def _kept(counts: ConversationCounts) -> Iterator[Metric]:
    yield GaugeMetricFamily("ansambl_conversations_kept", "Conversations on the disk", counts.kept)
    yield GaugeMetricFamily("ansambl_conversations_kept_bytes", "What they take there", counts.size)
    yield CounterMetricFamily(
        "ansambl_conversation_tokens_restored", "Tokens that were not read again", counts.restored_tokens
    )
    yield CounterMetricFamily(
        "ansambl_conversations_discarded", "States that were damaged or of no use", counts.discarded
    )
    yield CounterMetricFamily("ansambl_conversations_evicted", "States that made room for others", counts.evicted)


def _devices(devices: Iterable[DeviceView]) -> Iterator[Metric]:
    names = ("capacity", "reserved", "foreign")
    words = ("What models may use of a device", "What is reserved for instances", "What other programs hold of it")
    families = [
        GaugeMetricFamily(f"ansambl_device_{name}_bytes", what, labels=["device"])
        for name, what in zip(names, words, strict=True)
    ]
    for one in devices:
        for family, value in zip(families, (one.capacity, one.reserved, one.foreign), strict=True):
            family.add_metric([one.device], value)
    return iter(families)


def _views(views: Mapping[str, InstanceView]) -> Iterator[Metric]:
    reserved = GaugeMetricFamily(
        "ansambl_instance_reserved_bytes", "What is reserved for an instance", labels=["model", "device", "basis"]
    )
    waiting = GaugeMetricFamily(
        "ansambl_requests_waiting_by_class", "Requests that wait for a place", labels=["model", "class"]
    )
    residency = GaugeMetricFamily(
        "ansambl_instance_residency", "1 for where the instance stands", labels=["model", "residency"]
    )
    running = GaugeMetricFamily(
        "ansambl_instance_requests_running", "Requests that an instance answers now", labels=["model"]
    )
    for model, view in views.items():
        running.add_metric([model], view.running)
        for device, size in view.reserved.items():
            reserved.add_metric([model, device, "measured" if view.measured else "predicted"], size)
        for request_class in RequestClass:
            waiting.add_metric([model, request_class.value], view.waiting_by_class.get(request_class, 0))
        residency.add_metric([model, view.residency.value], 1)
    return iter((reserved, waiting, residency, running))


def _by_model(name: str, what: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, what, labels=["model"])
    for model, count in counts.items():
        family.add_metric([model], count)
    return family


def spread_family(name: str, what: str, label: str, spreads: Mapping[str, Spread]) -> Metric:
    """A histogram for each value of a label."""
    family = HistogramMetricFamily(name, what, labels=[label])
    for value, spread in spreads.items():
        family.add_metric([value], buckets=spread.cumulative(), sum_value=spread.total)
    return family
