"""How often the built-in likeness (by words, no model) sends a question to the role that should answer it.

The questions in ``data/routing.jsonl`` (English and Russian, some marked as hard, 20 meant for no role) were written
before the likeness and had no part in its weights, which come from the shipped examples alone. But one author wrote the
questions, the examples and, last, the lists of words that belong together: the figure is what to hope for, and
strangers' questions fare worse. References of the same run: always the role that the shipped route falls back to, and a
role by chance. The interval is Wilson's, 95 %.

The shipped threshold, 0.30, is where most of all questions are right in this table, if a question that is meant for no
role is right below it: it was chosen on these very questions.

    python benchmarks/routing.py
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ansambl.domain.role import Ensemble
from ansambl.roles.catalog import build_catalog
from ansambl.roles.routing.deciding import Route
from ansambl.roles.routing.likeness import WordLikeness
from ansambl.roles.routing.records import Decision, How, Member, read_input
from support.figures import percentile

QUESTIONS = Path(__file__).parent / "data" / "routing.jsonl"
THRESHOLDS = (0.0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
SEED = 4
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Question:
    """One held-out question; `role` None: it is meant for no role."""

    text: str
    language: str
    role: str | None
    hard: bool


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share of `total` cases (Wilson 1927); nothing known gives 0 to 1."""
    if not total:
        return 0.0, 1.0
    share, z2 = right / total, _Z * _Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def told(right: int, total: int) -> str:
    """A share with its interval."""
    low, high = wilson(right, total)
    return f"{right / max(1, total):.0%} ({low:.0%}-{high:.0%})"


def _accuracy(console: Console, questions: Sequence[Question], ways: dict[str, Callable[[Question], str]]) -> None:
    groups: dict[str, Callable[[Question], bool]] = {
        "all": lambda _: True,
        "English": lambda one: one.language == "en",
        "Russian": lambda one: one.language == "ru",
        "hard": lambda one: one.hard,
    }
    table = Table("right role", *(f"{name} (n={sum(map(keep, questions))})" for name, keep in groups.items()))
    for way, choose in ways.items():
        right = {one: choose(one) == one.role for one in questions}
        cells = ([right[one] for one in questions if keep(one)] for keep in groups.values())
        table.add_row(way, *(told(sum(cell), len(cell)) for cell in cells))
    console.print(table)


def _thresholds(console: Console, questions: Sequence[Question], likeness: WordLikeness) -> None:
    best = {one: likeness.of(one.text)[0] for one in questions}
    meant = [one for one in questions if one.role is not None]
    others = [one for one in questions if one.role is None]
    table = Table(
        "threshold", "decided by likeness", "of these right", "below it", "no role, decided anyway", "all right"
    )
    for threshold in THRESHOLDS:
        decided = [one for one in meant if best[one].score >= threshold]
        right = sum(best[one].role == one.role for one in decided)
        wrong = sum(best[one].score >= threshold for one in others)
        table.add_row(
            f"{threshold:.2f}", told(len(decided), len(meant)), told(right, len(decided)),
            str(len(meant) - len(decided)), told(wrong, len(others)),
            told(right + len(others) - wrong, len(questions)),
        )  # fmt: skip
    console.print(table)


def _by_role(console: Console, questions: Sequence[Question], choose: Callable[[Question], str]) -> None:
    table = Table("meant for", "right", "taken for instead")
    for role in dict.fromkeys(one.role for one in questions if one.role):
        got = Counter(choose(one) for one in questions if one.role == role)
        wrong = ", ".join(f"{name} {count}" for name, count in got.most_common() if name != role)
        table.add_row(role, told(got[role], got.total()), wrong)
    console.print(table)


def _shipped(console: Console, questions: Sequence[Question], route: Route) -> None:
    members = {one.name for one in route.members}
    default = route.ensemble.default or route.members[0].name
    reachable = [one for one in questions if one.role in members or one.role is None]
    decisions: dict[Question, Decision] = {}
    seconds = []
    for one in reachable:
        begun = time.perf_counter()
        step = route.decide(read_input([{"role": "user", "content": one.text}]))
        seconds.append(time.perf_counter() - begun)
        if not isinstance(step, Decision):
            raise TypeError("this route needs a model to decide; name none in its 'embedder' and 'asks'")
        decisions[one] = step
    console.print(
        f"\nThe shipped route 'auto' (rules, likeness from {route.ensemble.threshold:.2f}, default {default}):"
    )
    for language in ("en", "ru"):
        some = [one for one in reachable if one.language == language]
        right = sum(decisions[one].role == (one.role or default) for one in some)
        by = Counter(decisions[one].how for one in some)
        how = ", ".join(f"{count} by {name}" for name, count in by.most_common())
        console.print(f"  {language}: {told(right, len(some))} right of {len(some)}; {how}")
    meant = [one for one in reachable if one.role is not None]
    low = sum(decisions[one].how is How.DEFAULT for one in meant)
    console.print(f"  {low} of {len(meant)} questions that are meant for a role fell to the default")
    console.print(
        f"  time per decision: median {percentile(seconds, 0.5) * 1e3:.2f} ms, 99th percentile "
        f"{percentile(seconds, 0.99) * 1e3:.2f} ms, language and code detection included"
    )


def main() -> None:
    """Print the tables."""
    console = Console(width=140)
    catalog = build_catalog({}, {}, ())
    questions = [Question(**json.loads(line)) for line in QUESTIONS.read_text("utf-8").splitlines()]
    roles = tuple(Member.of(role) for role in catalog.roles.values() if role.examples)
    auto: Ensemble = catalog.ensembles["auto"]
    likeness = WordLikeness(roles)
    default = auto.default or auto.roles[0]
    chance = random.Random(SEED)  # noqa: S311 a reference, not a secret
    meant = [one for one in questions if one.role is not None]
    ways: dict[str, Callable[[Question], str]] = {
        "likeness by words": lambda one: likeness.of(one.text)[0].role,
        f"always {default}": lambda _: default,
        "by chance": lambda _: chance.choice(roles).name,
    }
    console.print(f"{len(meant)} questions, {len(roles)} roles, {sum(len(one.examples) for one in roles)} examples")
    _accuracy(console, meant, ways)
    _by_role(console, meant, ways["likeness by words"])
    _thresholds(console, questions, likeness)
    members = [Member.of(catalog.roles.get(name) or catalog.ensembles[name]) for name in auto.roles]
    _shipped(console, questions, Route(auto, members))
    every = dataclasses.replace(auto, roles=tuple(one.name for one in roles))
    console.print("With all roles that have examples as members:", end="")
    _shipped(console, questions, Route(every, roles))


if __name__ == "__main__":
    main()
