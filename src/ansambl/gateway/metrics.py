"""What is counted for Prometheus. Names follow the exporters of vLLM and llama.cpp where they have one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ansambl.dialects.openai_chat import Usage
from ansambl.domain.instance import InstanceState, InstanceStatus

_LATENCY = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class _Instances(Collector):
    """Reads the instances' states when it is asked, so that nothing has to be counted on the way."""

    def __init__(self, statuses: Callable[[], Iterable[InstanceStatus]]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state = GaugeMetricFamily("ansambl_instance_state", "1 for the state that holds", labels=["model", "state"])
        restarts = GaugeMetricFamily("ansambl_instance_restarts", "Restarts since the start", labels=["model"])
        memory = GaugeMetricFamily("ansambl_instance_memory_bytes", "Memory of the engine in RAM", labels=["model"])
        waiting = GaugeMetricFamily("ansambl_requests_waiting", "Requests that wait for a place", labels=["model"])
        for one in self._statuses():
            for name in InstanceState:
                state.add_metric([one.model, name.value], float(one.state is name))
            restarts.add_metric([one.model], one.restarts)
            waiting.add_metric([one.model], one.waiting)
            if one.memory is not None:
                memory.add_metric([one.model], one.memory)
        yield from (state, restarts, memory, waiting)


class Metrics:
    """The counters of one gateway. `name` is the role, ensemble or model that was asked for."""

    def __init__(self, statuses: Callable[[], Iterable[InstanceStatus]]) -> None:
        registry = CollectorRegistry()
        registry.register(_Instances(statuses))
        self._registry = registry
        self.requests = Counter("ansambl_requests_total", "Answered requests", ["name", "status"], registry=registry)
        self.running = Gauge("ansambl_requests_running", "Requests being answered", registry=registry)
        self.duration = Histogram(
            "ansambl_request_seconds", "From request to end of answer", ["name"], buckets=_LATENCY, registry=registry
        )
        self.first_token = Histogram(
            "ansambl_time_to_first_token_seconds", "From request to first byte of a stream", ["name"],
            buckets=_LATENCY, registry=registry,
        )  # fmt: skip
        self.queued = Histogram(
            "ansambl_queue_seconds", "From request to a place on an instance", buckets=_LATENCY, registry=registry
        )
        self.prompt = Counter("ansambl_prompt_tokens_total", "Prompt tokens", ["name"], registry=registry)
        self.cached = Counter(
            "ansambl_cached_tokens_total", "Prompt tokens that were in the KV cache", ["name"], registry=registry
        )
        self.generated = Counter("ansambl_generation_tokens_total", "Generated tokens", ["name"], registry=registry)
        self.cancelled = Counter("ansambl_requests_cancelled_total", "Clients that left", ["name"], registry=registry)
        self.answered = 0
        self.failed = 0

    def count_usage(self, name: str, usage: Usage | None) -> None:
        """Add an answer's tokens."""
        if usage is not None:
            self.prompt.labels(name).inc(usage.prompt_tokens)
            self.generated.labels(name).inc(usage.completion_tokens)
            if usage.cached_tokens:
                self.cached.labels(name).inc(usage.cached_tokens)

    def page(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)
