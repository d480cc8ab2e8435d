"""The figures by which models are compared, each with where it comes from. All of them are data that may be replaced.

One scale serves all: ten points are a doubling of a dense model's parameters. No measured figure compares all models
in all roles, so this is a rule and not a measurement, and every plan says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import log

from ansambl.domain.catalog import Standing

OWN_RULE = "rule of Ansambl, not a measurement"
"""The source of a figure that we chose."""

EXPERTS_SOURCE = (
    "rule of thumb attributed to Mistral: geometric mean of total and active parameters; later models with many "
    "experts tend to do better than it"
)
"""Where the strength of a model with experts comes from."""

GENERATION_SOURCE = (
    "densing law, arXiv 2412.04315 (Nature Machine Intelligence 2025: capability for each parameter doubles in about "
    "3.5 months); only half of it is counted, as it is of the best models on known benchmarks"
)
"""Where the gain of later models comes from."""

INDEX = "Artificial Analysis Intelligence Index"
"""The published score that the catalog has for the most models, and so the only one that counts."""

QUANTIZATION_SOURCE = (
    "llama.cpp tools/perplexity/README.md: Llama 3 8B on Wikitext-2; a doubling of parameters is worth 0.156 in the "
    "logarithm of perplexity (Llama 2 7B 5.795, 70B 3.431 there)"
)
"""Where the loss by quantization comes from."""

# Bits for each weight and the perplexity beyond that of 16 bits (6.2316), as the table's file sizes and rows give them
# for 8.03e9 weights: with an importance matrix below 4.95 bits, as most who publish such files use one.
_PERPLEXITY = (
    (16.0, 0.0), (8.51, 0.00265), (6.57, 0.02175), (5.70, 0.05697), (4.90, 0.1513), (4.67, 0.1781), (4.43, 0.2281),
    (4.00, 0.5026), (3.78, 0.6667), (3.66, 0.7339), (3.51, 0.9314), (3.26, 1.2268), (3.17, 2.4162), (2.60, 4.5297),
    (2.40, 7.8601), (2.15, 19.262),
)  # fmt: skip
_BASE_PERPLEXITY = 6.2316
_LOG_PER_DOUBLING = 0.156


def _no_change() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class SpeedNeeds:
    """How a role takes a model's decode speed.

    `enough` is tokens a second. Each halving below it costs `slower` points, each doubling above it gains `faster`, of
    which `most_doublings` count. `strength` is the part of a model's strength that counts for the role, of which more
    than `most_points` are not needed.
    """

    enough: float
    slower: float
    faster: float
    strength: float = 1.0
    most_doublings: float = 4.0
    most_points: float = 1000.0


@dataclass(frozen=True, slots=True)
class WorthRules:
    """All figures of the rule, in points unless said otherwise.

    `generation_months` are the months in which a later model gains a doubling, counted from `generation_from`.
    `languages` is for a language that is not English; `tuned_elsewhere` is for a model that was made for another
    language than the wanted one, of which no source speaks. `reasoning` is what thinking before the answer is worth,
    by what a role wants. `code` is gained by a model made for code in a role that wants code and lost in any other.
    `tools_unknown` is for a role that needs tools and a model of which no source says that it calls them.
    `measured` replaces the strength of models by name, before quantization and language. `index_line` turns the
    published `INDEX` into points (at 0, and for each of its points): the straight line through the catalog's models
    that have both, whose correlation is 0.83; `index_share` is how much of the strength it makes up, where it is known.
    `rates` are points that a
    doubling of the speed of all roles at once is worth to each role, by goal; `weakest` is how often the worst served
    role counts once more for each role, by goal; `task_most_bytes` is the most that the weights of a helper for short
    replies may take (a resident chat model does it as well); `clone` is what each role of a council gains that does
    not wait for another; `swap` is what a role loses when its model must be loaded first; `placement` is what each
    further resident model costs (another start, another thing to watch).
    """

    points_per_doubling: float = 10.0
    generation_months: float = 7.0
    generation_from: str = "2024-01"
    languages: Mapping[Standing, float] = field(
        default_factory=lambda: {
            Standing.TUNED: 8.0, Standing.LISTED: 0.0, Standing.UNKNOWN: -4.0, Standing.WEAK: -15.0,
        }
    )  # fmt: skip
    tuned_elsewhere: float = -8.0
    reasoning: Mapping[str, float] = field(
        default_factory=lambda: {"depth": 8.0, "code": 5.0, "chat": 0.0, "speed": -6.0, "task": -6.0}
    )
    code: float = 5.0
    tools_unknown: float = -8.0
    unknown_speed: float = -10.0
    unknown_compatibility: float = -1.0
    slow_compatibility: float = -5.0
    speeds: Mapping[str, SpeedNeeds] = field(
        default_factory=lambda: {
            "depth": SpeedNeeds(8.0, 8.0, 0.25),
            "code": SpeedNeeds(20.0, 10.0, 0.5),
            "chat": SpeedNeeds(12.0, 10.0, 0.5),
            "speed": SpeedNeeds(30.0, 10.0, 5.0, strength=0.5),
            "task": SpeedNeeds(20.0, 10.0, 1.0, strength=0.25, most_points=30.0),
            "embedding": SpeedNeeds(1.0, 0.0, 0.0, most_points=15.0),
        }
    )
    rates: Mapping[str, float] = field(
        default_factory=lambda: {"depth": 0.0, "balanced": 2.0, "parallel": 10.0, "no-swap": 3.0}
    )
    weakest: Mapping[str, float] = field(
        default_factory=lambda: {"depth": 1.0, "balanced": 0.5, "parallel": 0.25, "no-swap": 0.5}
    )
    task_most_bytes: int = 6 * 2**30
    clone: float = 3.0
    swap: float = 8.0
    placement: float = 1.0
    perplexity: tuple[tuple[float, float], ...] = _PERPLEXITY
    measured: Mapping[str, float] = field(default_factory=_no_change)
    index_share: float = 0.5
    index_line: tuple[float, float] = (50.26, 1.241)


def quantization_loss(bits: float, rules: WorthRules) -> float:
    """Points that a checkpoint of `bits` for each weight loses against 16 bits; between rows by straight lines."""
    rows = rules.perplexity
    if bits >= rows[0][0]:
        return 0.0
    extra = rows[-1][1]
    for (more, better), (less, worse) in pairwise(rows):
        if bits >= less:
            extra = better + (worse - better) * (more - bits) / (more - less)
            break
    return rules.points_per_doubling * log(1 + extra / _BASE_PERPLEXITY) / _LOG_PER_DOUBLING
