"""What is counted for Prometheus. Names follow the exporters of vLLM and llama.cpp where they have one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ansambl.dialects.openai_chat import Usage
from ansambl.domain.engine import EngineMetrics
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.scheduling import RequestClass
from ansambl.gateway.recent_requests import RecentRequests
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations.conversations import ConversationCounts
from ansambl.runtime.counters import RuntimeCounters, Spread
from ansambl.runtime.scheduling.records import DeviceView, InstanceView
from ansambl.runtime.usage import UsageBook

_LATENCY = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_LEFT = 499
"""The status of a request whose client left: neither answered nor failed."""
BUILT_IN = "builtin"
"""Stands for the model in the count of tasks that got a reply of ours."""


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


class _Instances(Collector):
    """Reads the instances' states when it is asked, so that nothing has to be counted on the way."""

    def __init__(self, statuses: Callable[[], Iterable[InstanceStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
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


class _Runtime(Collector):
    """What the scheduler's driver counted, and how the memory is divided."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        observed, counters = self._observed, self._observed.counters
        yield from _devices(observed.devices())
        yield from _views(observed.views())
        yield _by_model("ansambl_swaps", "Loads for which another instance had to rest", counters.swaps)
        yield _by_model("ansambl_load_failures", "Loads that failed", counters.load_failures)
        yield _by_model("ansambl_sleeps", "Times that an instance was put to sleep", counters.sleeps)
        yield _by_model("ansambl_stops", "Times that an instance was stopped", counters.stops)
        loads = {model: one.count for model, one in counters.load_seconds.items()}
        yield _by_model("ansambl_loads", "Starts that became ready", loads)
        yield _spread("ansambl_load_seconds", "From the start of an engine until it was ready", "model",
                      counters.load_seconds)  # fmt: skip
        yield _spread("ansambl_wake_seconds", "From asleep until it was ready", "model", counters.wake_seconds)
        waited = {one.value: spread for one, spread in counters.waited.items()}
        yield _spread("ansambl_queue_seconds", "From a request to its place on an instance", "class", waited)
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
    for model, view in views.items():
        for device, size in view.reserved.items():
            reserved.add_metric([model, device, "measured" if view.measured else "predicted"], size)
        for request_class in RequestClass:
            waiting.add_metric([model, request_class.value], view.waiting_by_class.get(request_class, 0))
        residency.add_metric([model, view.residency.value], 1)
    return iter((reserved, waiting, residency))


def _by_model(name: str, what: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, what, labels=["model"])
    for model, count in counts.items():
        family.add_metric([model], count)
    return family


def _spread(name: str, what: str, label: str, spreads: Mapping[str, Spread]) -> Metric:
    family = HistogramMetricFamily(name, what, labels=[label])
    for value, spread in spreads.items():
        family.add_metric([value], buckets=spread.cumulative(), sum_value=spread.total)
    return family


class Metrics:
    """The counters of one gateway, and its newest requests (`recent`). `name` is the role, ensemble or model asked for.

    Args:
        statuses: the instances as they are.
        observed: what the scheduler's driver lets be seen; None where there is none (a test).
        usage: where usage is kept by day; None keeps none.
    """

    def __init__(
        self, statuses: Callable[[], Iterable[InstanceStatus]], observed: Observed | None = None,
        usage: UsageBook | None = None,
    ) -> None:  # fmt: skip
        registry = CollectorRegistry()
        registry.register(_Instances(statuses))
        if observed is not None:
            registry.register(_Runtime(observed))
        self._registry = registry
        self.observed = observed
        self.usage = usage
        self.recent = RecentRequests()
        if usage is not None and observed is not None:
            usage.watch(observed.counters.conversations)
        self.requests = Counter("ansambl_requests_total", "Answered requests", ["name", "status"], registry=registry)
        self.running = Gauge("ansambl_requests_running", "Requests being answered", registry=registry)
        self.duration = Histogram(
            "ansambl_request_seconds", "From request to end of answer", ["name"], buckets=_LATENCY, registry=registry
        )
        self.first_token = Histogram(
            "ansambl_time_to_first_token_seconds", "From request to first byte of a stream", ["name"],
            buckets=_LATENCY, registry=registry,
        )  # fmt: skip
        # By class where the scheduler's driver counts it.
        self.queued = Histogram(
            "ansambl_queue_seconds", "From request to a place on an instance", buckets=_LATENCY,
            registry=registry if observed is None else None,
        )  # fmt: skip
        self.prompt = Counter("ansambl_prompt_tokens_total", "Prompt tokens", ["name"], registry=registry)
        self.cached = Counter(
            "ansambl_cached_tokens_total", "Prompt tokens that were in the KV cache", ["name"], registry=registry
        )
        self.generated = Counter("ansambl_generation_tokens_total", "Generated tokens", ["name"], registry=registry)
        self.cancelled = Counter("ansambl_requests_cancelled_total", "Clients that left", ["name"], registry=registry)
        self.built_in = 0
        registry.register(_Tasks(self, observed))
        self.answered = 0
        self.failed = 0

    def count_lease(self, lease: Lease) -> None:
        """A request got its place."""
        self.queued.observe(lease.queued)

    def count_task(self) -> None:
        """A task got a built-in reply. Those that a model answered are counted where they get their place."""
        self.built_in += 1

    def count_request(
        self, name: str, model: str, *, status: int, seconds: float, queued: float = 0.0, first: float | None = None,
        swaps: int = 0,
    ) -> None:  # fmt: skip
        """Add a finished request. One whose client left is neither answered nor failed.

        `model` is the one whose instance answered, "" where none did; `queued` and `first` are seconds from the request
        to its place and to the first byte of a stream.
        """
        self.requests.labels(name, str(status)).inc()
        self.duration.labels(name).observe(seconds)
        failed = status >= 400 and status != _LEFT
        if failed:
            self.failed += 1
        elif status != _LEFT:
            self.answered += 1
        if self.usage is not None and model:
            usage = self.usage.of(model, name)
            usage.requests += 1
            usage.failed += failed
            usage.queued_seconds += queued
            usage.answer_seconds += seconds
            usage.swaps += swaps
            if first is not None:
                usage.first_token_seconds += first
                usage.first_tokens += 1

    def count_usage(self, name: str, usage: Usage | None, model: str = "") -> None:
        """Add an answer's tokens; `model` is the one whose instance answered, "" where there were several."""
        if usage is not None:
            self.prompt.labels(name).inc(usage.prompt_tokens)
            self.generated.labels(name).inc(usage.completion_tokens)
            if usage.cached_tokens:
                self.cached.labels(name).inc(usage.cached_tokens)
            if self.usage is not None and model:
                kept = self.usage.of(model, name)
                kept.prompt_tokens += usage.prompt_tokens
                kept.output_tokens += usage.completion_tokens
                kept.cached_tokens += usage.cached_tokens or 0

    def count_branch(self, role: str, model: str | None, usage: Usage | None, *, seconds: float, failed: bool) -> None:
        """Add a call that an ensemble made for a role to the usage by day; the request itself is counted apart.

        `model` is None for a call that was never made.
        """
        if self.usage is None or model is None:
            return
        kept = self.usage.of(model, role)
        kept.requests += 1
        kept.failed += failed
        kept.answer_seconds += seconds
        if usage is not None:
            kept.prompt_tokens += usage.prompt_tokens
            kept.output_tokens += usage.completion_tokens
            kept.cached_tokens += usage.cached_tokens or 0

    def page(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)


class _Tasks(Collector):
    """Tasks by who answered them."""

    def __init__(self, metrics: Metrics, observed: Observed | None) -> None:
        self._metrics = metrics
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily("ansambl_tasks", "Tasks, by the model that answered them", labels=["model"])
        for model, count in (self._observed.counters.tasks if self._observed else {}).items():
            family.add_metric([model], count)
        family.add_metric([BUILT_IN], self._metrics.built_in)
        yield family
