"""What is counted of requests on their way: plain numbers that a dictionary finds, put into families only for the page.

Labels are bounded: names are those of the catalog (whoever asks for another name is counted as "unresolved"), keys are
ids, paths are those of the routes. Should one of them grow all the same, what comes after `MOST` values is "other".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ansambl.access.limits import Allowances
from ansambl.gateway.observing.runtime_metrics import spread_family
from ansambl.runtime.counters import Spread

LATENCIES = (
    0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200,
)  # fmt: skip
"""Upper ends of the buckets for whole requests and first tokens, in seconds: from an embedding to a long debate."""
PER_TOKEN = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5)
"""Upper ends of the buckets for one token, in seconds: 400 tokens a second to two in five seconds."""
MOST = 1000
"""Values of one label."""
OTHER = "other"
"""Stands for values beyond those."""
NO_CLASS = "none"
"""Stands for the class of a request that has none: it asks for no model, or was refused before it was known."""

T = TypeVar("T")


class Bounded(Generic[T]):
    """Things by the value of a label, made when it is first seen; at most `most`, and one more for all others."""

    __slots__ = ("_make", "_most", "found")

    def __init__(self, make: Callable[[], T], most: int = MOST) -> None:
        self.found: dict[str, T] = {}
        self._make, self._most = make, most

    def of(self, value: str) -> T:
        """The one of a value."""
        one = self.found.get(value)
        if one is None:
            value = value if len(self.found) < self._most else OTHER
            one = self.found.get(value) or self.found.setdefault(value, self._make())
        return one


class Tokens:
    """Sums of tokens."""

    __slots__ = ("cached", "output", "prompt")

    def __init__(self) -> None:
        self.prompt = self.cached = self.output = 0

    def add(self, prompt: int, cached: int, output: int) -> None:
        """Add an answer's."""
        self.prompt += prompt
        self.cached += cached
        self.output += output


class OfName(Tokens):
    """What is counted for one role, ensemble or model."""

    __slots__ = ("first", "left", "per_token", "seconds", "statuses")

    def __init__(self) -> None:
        super().__init__()
        self.statuses: Counter[int] = Counter()
        self.seconds, self.first, self.per_token = Spread(LATENCIES), Spread(LATENCIES), Spread(PER_TOKEN)
        self.left = 0


class OfModel(Tokens):
    """What is counted for the model whose instance answered. `between` spreads the times between two tokens."""

    __slots__ = ("between",)

    def __init__(self) -> None:
        super().__init__()
        self.between = Spread(PER_TOKEN)


class OfKey(Tokens):
    """What is counted for an API key, by its id. `limited` are answers with status 429."""

    __slots__ = ("limited", "requests")

    def __init__(self) -> None:
        super().__init__()
        self.requests = self.limited = 0


class KeyLimits(Collector):
    """What is left of the limits of API keys, asked for when the page is; `tell` gives it by the keys' ids."""

    def __init__(self) -> None:
        self.tell: Callable[[], Mapping[str, Allowances]] = dict

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        words = ("What an API key may use within the period of its tightest limit", "What is left of it")
        names = ("ansambl_key_limit", "ansambl_key_limit_remaining")
        families = [
            GaugeMetricFamily(name, what, labels=["key", "kind"]) for name, what in zip(names, words, strict=True)
        ]
        for key, left in islice(self.tell().items(), MOST):
            for kind, one in (("requests", left.requests), ("tokens", left.tokens)):
                if one is not None:
                    families[0].add_metric([key, kind], one.limit)
                    families[1].add_metric([key, kind], one.remaining)
        yield from families


class RequestCounts(Collector):
    """All that is counted of requests, since the start. Used on one event loop."""

    def __init__(self) -> None:
        self.names = Bounded(OfName)
        self.models = Bounded(OfModel)
        self.keys = Bounded(OfKey)
        self.errors = Bounded(lambda: [0], most=200)
        self.endpoints: Counter[tuple[str, str, int]] = Counter()
        self.running = 0

    def token_times(self, name: str, model: str, *, seconds: float, tokens: int) -> None:
        """Count how fast an answer was written: `tokens` of them between its first and its last byte.

        The first byte carries the first token, so `tokens` is one less than the answer has. Per request that is one
        time per output token, the formula of OpenTelemetry's ``gen_ai.server.time_per_output_token`` and of vLLM's
        ``request_time_per_output_token_seconds``. The times between tokens are counted as `tokens` equal ones: their
        sum and their number, so also their mean, are exact, and nothing is done for each chunk; what varies within one
        answer does not show.
        """
        each = seconds / tokens
        self.names.of(name).per_token.add(each)
        self.models.of(model).between.add(each, tokens)

    def error(self, code: str) -> None:
        """Count an error by its code; one that an engine made up may be anything, and is written as a plain word."""
        self.errors.of("".join(one if one.isascii() and one.isalnum() else "_" for one in code[:60]) or "none")[0] += 1

    def collect(self) -> Iterator[Metric]:
        """The families, for the page."""
        names = self.names.found
        requests = CounterMetricFamily("ansambl_requests", "Answered requests", labels=["name", "status"])
        for name, one in names.items():
            for status, count in one.statuses.items():
                requests.add_metric([name, str(status)], count)
        yield requests
        yield GaugeMetricFamily("ansambl_requests_running", "Requests being answered", self.running)
        yield spread_family("ansambl_request_seconds", "From request to end of answer", "name",
                            {name: one.seconds for name, one in names.items() if one.seconds.count})  # fmt: skip
        yield spread_family("ansambl_time_to_first_token_seconds", "From request to first byte of a stream", "name",
                            {name: one.first for name, one in names.items() if one.first.count})  # fmt: skip
        yield spread_family("ansambl_time_per_output_token_seconds",
                            "Mean time of a token of a streamed answer after the first one, one for each answer",
                            "name",
                            {name: one.per_token for name, one in names.items() if one.per_token.count})  # fmt: skip
        models = self.models.found
        yield spread_family("ansambl_inter_token_latency_seconds",
                            "Time between two tokens of a streamed answer, as many for each answer as it has", "model",
                            {model: one.between for model, one in models.items() if one.between.count})  # fmt: skip
        yield from self._tokens(names, models)
        yield _counter("ansambl_requests_cancelled", "Clients that left", "name",
                       ((name, one.left) for name, one in names.items() if one.left))  # fmt: skip
        yield _counter("ansambl_errors", "Answers that were errors, also as the end of a stream", "code",
                       ((code, one[0]) for code, one in self.errors.found.items()))  # fmt: skip
        yield self._endpoints()
        yield from self._keys()

    def _tokens(self, names: Mapping[str, OfName], models: Mapping[str, OfModel]) -> Iterator[Metric]:
        for kind, what in (
            ("prompt", "Prompt tokens"),
            ("cached", "Prompt tokens that were in the KV cache"),
            ("generation", "Generated tokens"),
        ):
            field = "output" if kind == "generation" else kind
            yield _counter(f"ansambl_{kind}_tokens", what, "name", _sums(names, field))
            yield _counter(
                f"ansambl_model_{kind}_tokens", f"{what}, by the model whose instance answered", "model",
                _sums(models, field),
            )  # fmt: skip
        share = GaugeMetricFamily(
            "ansambl_cache_hit_ratio", "The part of all prompt tokens since the start that were in KV caches, 0 to 1",
            labels=["name"],
        )  # fmt: skip
        for name, one in names.items():
            if one.prompt:
                share.add_metric([name], one.cached / one.prompt)
        yield share

    def _endpoints(self) -> Metric:
        family = CounterMetricFamily(
            "ansambl_endpoint_requests", "Answered requests by where they came in",
            labels=["dialect", "endpoint", "class", "status"],
        )  # fmt: skip
        for (endpoint, request_class, status), count in self.endpoints.items():
            family.add_metric([dialect_of(endpoint), endpoint, request_class, str(status)], count)
        return family

    def _keys(self) -> Iterator[Metric]:
        keys = self.keys.found
        yield _counter("ansambl_key_requests", "Answered requests, by the id of the API key", "key",
                       ((key, one.requests) for key, one in keys.items()))  # fmt: skip
        yield _counter("ansambl_rate_limited", "Answers with status 429, by the id of the API key", "key",
                       ((key, one.limited) for key, one in keys.items()))  # fmt: skip
        tokens = CounterMetricFamily(
            "ansambl_key_tokens", "Tokens, by the id of the API key", labels=["key", "kind"]
        )  # fmt: skip
        for key, one in keys.items():
            for kind, count in (("prompt", one.prompt), ("cached", one.cached), ("output", one.output)):
                tokens.add_metric([key, kind], count)
        yield tokens


def dialect_of(endpoint: str) -> str:
    """Whose way of asking an endpoint speaks."""
    if endpoint.startswith("/v1/messages"):
        return "anthropic"
    if endpoint.startswith("/api/"):
        return "ollama"
    return "openai" if endpoint.startswith("/v1/") else "ansambl"


def _sums(found: Mapping[str, Tokens], field: str) -> Iterator[tuple[str, float]]:
    return ((value, getattr(one, field)) for value, one in found.items() if one.prompt or one.output)


def _counter(name: str, what: str, label: str, counts: Iterable[tuple[str, float]]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for value, count in counts:
        family.add_metric([value], count)
    return family


def plain_spread(name: str, what: str, spread: Spread) -> Metric:
    """A histogram without labels."""
    return HistogramMetricFamily(name, what, buckets=spread.cumulative(), sum_value=spread.total)
