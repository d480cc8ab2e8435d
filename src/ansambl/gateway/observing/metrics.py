"""What is counted for Prometheus. Names follow the exporters of vLLM and llama.cpp where they have one.

Counting on the request path means adding to plain numbers (`request_metrics`); families are made from them for the
page alone, because a labelled child of `prometheus_client` costs two microseconds to find and a lock to add to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from ansambl.dialects.openai_chat import Usage
from ansambl.domain.instance import InstanceStatus
from ansambl.gateway.observing.process_metrics import Build, LoopLag
from ansambl.gateway.observing.recent_requests import RecentRequests
from ansambl.gateway.observing.request_metrics import LATENCIES, KeyLimits, RequestCounts, plain_spread
from ansambl.gateway.observing.runtime_metrics import Instances, Observed, Runtime
from ansambl.runtime.carrying import Lease
from ansambl.runtime.counters import Spread
from ansambl.runtime.usage import UsageBook

_LEFT = 499
"""The status of a request whose client left: neither answered nor failed."""
_TOO_MANY = 429
BUILT_IN = "builtin"
"""Stands for the model in the count of tasks that got a reply of ours."""


class Metrics:
    """The counters of one gateway, and its newest requests (`recent`). `name` is the role, ensemble or model asked for.

    `requests` counts requests, `loop_lag` looks at the event loop while its `keep_looking` runs, `key_limits` tells
    what is left of the limits of API keys. `log_dropped` tells how many lines of the request log were not written.

    Args:
        statuses: the instances as they are.
        observed: what the scheduler's driver lets be seen; None where there is none (a test).
        usage: where usage is kept by day; None keeps none.
    """

    def __init__(
        self, statuses: Callable[[], Iterable[InstanceStatus]], observed: Observed | None = None,
        usage: UsageBook | None = None,
    ) -> None:  # fmt: skip
        self.observed = observed
        self.usage = usage
        self.recent = RecentRequests()
        self.requests = RequestCounts()
        self.loop_lag = LoopLag()
        self.key_limits = KeyLimits()
        self.log_dropped: Callable[[], int] = int
        # By class where the scheduler's driver counts it.
        self.queued = Spread(LATENCIES)
        self.built_in = 0
        self.answered = 0
        self.failed = 0
        registry = self._registry = CollectorRegistry()
        registry.register(Instances(statuses))
        if observed is not None:
            registry.register(Runtime(observed))
        for one in (self.requests, _Own(self, observed), self.key_limits, self.loop_lag, Build()):
            registry.register(one)
        ProcessCollector(registry=registry)
        if usage is not None and observed is not None:
            usage.watch(observed.counters.conversations)

    def count_lease(self, lease: Lease) -> None:
        """A request got its place."""
        self.queued.add(lease.queued)

    def count_task(self) -> None:
        """A task got a built-in reply. Those that a model answered are counted where they get their place."""
        self.built_in += 1

    def count_left(self, name: str) -> None:
        """A client left before its answer was whole."""
        self.requests.names.of(name).left += 1

    def count_first_byte(self, name: str, seconds: float) -> None:
        """The first bytes of a streamed answer go out."""
        self.requests.names.of(name).first.add(seconds)

    def count_answer(self, endpoint: str, request_class: str, key: str, *, status: int, code: str | None) -> None:
        """Add any finished request, also one that asked for no model.

        `endpoint` is a path of the routes, `key` the id of the API key, `code` that of the error that it ended with.
        """
        counts = self.requests
        counts.endpoints[endpoint, request_class, status] += 1
        of_key = counts.keys.of(key)
        of_key.requests += 1
        if status == _TOO_MANY:
            of_key.limited += 1
        if code is not None:
            counts.error(code)

    def count_request(
        self, name: str, model: str, *, status: int, seconds: float, queued: float = 0.0, first: float | None = None,
        swaps: int = 0, last: float | None = None, tokens: int | None = None, key: str = "",
    ) -> None:  # fmt: skip
        """Add a finished request that asked for a model. One whose client left is neither answered nor failed.

        `model` is the one whose instance answered, "" where none did; `queued`, `first` and `last` are seconds from the
        request to its place and to the first and the last bytes of a stream, `tokens` those of its answer. `key` is
        the id of the API key.
        """
        one = self.requests.names.of(name)
        one.statuses[status] += 1
        one.seconds.add(seconds)
        failed = status >= 400 and status != _LEFT
        if failed:
            self.failed += 1
        elif status != _LEFT:
            self.answered += 1
        if model and not failed and first is not None and last is not None and tokens is not None and tokens > 1:
            self.requests.token_times(name, model, seconds=max(last - first, 0.0), tokens=tokens - 1)
        if self.usage is not None and (model or failed):
            usage = self.usage.of(model, name)
            usage.requests += 1
            usage.failed += failed
            usage.queued_seconds += queued
            usage.answer_seconds += seconds
            usage.swaps += swaps
            if first is not None:
                usage.first_token_seconds += first
                usage.first_tokens += 1
        if self.usage is not None and key:
            of_key = self.usage.of_key(key, model)
            of_key.requests += 1
            of_key.failed += failed
            of_key.queued_seconds += queued
            of_key.swaps += swaps
            if first is not None:
                of_key.first_token_seconds += first
                of_key.first_tokens += 1

    def count_usage(self, name: str, usage: Usage | None, model: str = "", key: str = "") -> None:
        """Add an answer's tokens; `model` is the one whose instance answered, "" where there were several."""
        if usage is None:
            return
        prompt, cached, output = usage.prompt_tokens, usage.cached_tokens or 0, usage.completion_tokens
        counts = self.requests
        counts.names.of(name).add(prompt, cached, output)
        if key:
            counts.keys.of(key).add(prompt, cached, output)
        if model:
            counts.models.of(model).add(prompt, cached, output)
            if self.usage is not None:
                kept = self.usage.of(model, name)
                kept.prompt_tokens += prompt
                kept.output_tokens += output
                kept.cached_tokens += cached
        if key and self.usage is not None:
            # An ensemble's answer is of several models.
            of_key = self.usage.of_key(key, model)
            of_key.prompt_tokens += prompt
            of_key.output_tokens += output
            of_key.cached_tokens += cached

    def count_branch(self, role: str, model: str | None, usage: Usage | None, *, seconds: float, failed: bool) -> None:
        """Add a call that an ensemble made for a role to its model and to the usage by day; not to the requests.

        `model` is None for a call that was never made.
        """
        if model is None:
            return
        if usage is not None:
            prompt, cached, output = usage.prompt_tokens, usage.cached_tokens or 0, usage.completion_tokens
            self.requests.models.of(model).add(prompt, cached, output)
        if self.usage is None:
            return
        kept = self.usage.of(model, role)
        kept.requests += 1
        kept.failed += failed
        kept.answer_seconds += seconds
        if usage is not None:
            kept.prompt_tokens += prompt
            kept.output_tokens += output
            kept.cached_tokens += cached

    def page(self) -> bytes:
        """The page that Prometheus reads, as plain text."""
        return generate_latest(self._registry)

    def page_for(self, accept: bytes | None) -> tuple[bytes, bytes]:
        """The page and its content type for a header Accept: OpenMetrics where that is asked for."""
        if accept is not None and b"application/openmetrics-text" in accept:
            page: bytes = openmetrics.generate_latest(self._registry)  # type: ignore[no-untyped-call]
            return page, openmetrics.CONTENT_TYPE_LATEST.encode()
        return self.page(), b"text/plain; version=0.0.4; charset=utf-8"


class _Own(Collector):
    """What the gateway counts of its own doings: tasks by who answered them, and lines that were not written."""

    def __init__(self, metrics: Metrics, observed: Observed | None) -> None:
        self._metrics = metrics
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        family = CounterMetricFamily("ansambl_tasks", "Tasks, by the model that answered them", labels=["model"])
        for model, count in (self._observed.counters.tasks if self._observed else {}).items():
            family.add_metric([model], count)
        family.add_metric([BUILT_IN], self._metrics.built_in)
        yield family
        yield CounterMetricFamily(
            "ansambl_request_log_dropped", "Lines of the request log that were not written", self._metrics.log_dropped()
        )
        if self._observed is None:
            yield plain_spread("ansambl_queue_seconds", "From request to a place on an instance", self._metrics.queued)
