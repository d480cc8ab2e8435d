"""The question "what should I buy?" made into the planner's records, and its answer as a JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansambl.app.plan_documents import Translate, option_document, placement_document, reasons_document
from ansambl.app.plan_question import PlanQuestion, plan_inputs
from ansambl.app.planning import catalog_candidates
from ansambl.domain.errors import UsageError
from ansambl.domain.planning import Goal
from ansambl.domain.purchase import Advice, Build, PurchaseOption, UsdRange
from ansambl.domain.text import text
from ansambl.hardware.prices import load_parts
from ansambl.planner.purchase import advise


@dataclass(frozen=True, slots=True)
class PurchaseQuestion:
    """What ``ansambl buy`` was asked. `machines` are what one has already (empty: this one), `budget` is US dollars."""

    machines: tuple[str, ...] = ()
    goal: Goal = Goal.BALANCED
    budget: float | None = None
    context: int | None = None
    language: str | None = None
    prices: Path | None = None


def answer_purchase(question: PurchaseQuestion, config: Path | None = None) -> Advice:
    """The advice for a second machine.

    Raises:
        AnsamblError: a machine is not known, the price file is wrong, or a number makes no sense.
    """
    parts = load_parts(question.prices)
    asked = PlanQuestion(question.machines, question.goal, context=question.context, language=question.language)
    return advise(plan_inputs(asked, catalog_candidates(), config), parts.values(), question.budget)


def read_budget(words: str | None) -> float | None:
    """The budget in US dollars as people write it: ``3000``, ``"$3,000"`` or ``"3000 USD"``; None when not given.

    Raises:
        UsageError: it is not an amount of money.
    """
    if words is None:
        return None
    plain = words.strip().upper().removesuffix("USD").strip().removeprefix("$").replace(",", "").replace("_", "")
    try:
        amount = float(plain)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise UsageError(
            text("--budget '{value}' is not an amount of US dollars; write for example --budget 3000", value=words[:40])
        )
    return amount


def purchase_document(advice: Advice, translate: Translate = None) -> dict[str, Any]:
    """What ``buy --json`` prints."""
    dates = advice.prices_date
    return {
        "machines": [one.name for one in advice.machines],
        "goal": str(advice.goal),
        "budget": advice.budget,
        "prices_date": None if dates is None else {"oldest": dates[0], "newest": dates[1]},
        "options": [_option(one, translate) for one in advice.options],
        "recommended": advice.recommended,
        "left_out": dict(advice.left_out),
        "beyond": None if advice.beyond is None else _option(advice.beyond, translate),
        "notes": [one.render(translate) for one in advice.notes],
    }  # fmt: skip


def _option(option: PurchaseOption, translate: Translate) -> dict[str, Any]:
    build, plan = option.build, option.plan
    chosen = None if plan is None else plan.best
    per_dollar = option.per_1000_usd
    return {
        "id": option.id,
        "title": option.title.render(translate),
        "parts": [] if build is None else list(_parts(build)),
        "usd": _usd(UsdRange(0.0, 0.0) if build is None else build.usd),
        "watts": None if build is None else build.watts,
        "machine": None if build is None else _machine(build),
        "best": None if option.best is None else placement_document(option.best, translate),
        "adds": reasons_document(option.adds, translate),
        "against": reasons_document(option.against, translate),
        "gain": round(option.gain, 2),
        "gain_per_1000_usd": None if per_dollar is None else round(per_dollar, 2),
        "plan_recommended": None if chosen is None else option_document(chosen, translate),
    }


def _parts(build: Build) -> Iterable[dict[str, Any]]:
    for part, count in build.parts:
        yield {
            "name": part.name, "title": part.title, "count": count, "usd": _usd(part.price.usd * count),
            "kind": str(part.price.kind), "date": part.price.date, "source": "; ".join(part.price.sources),
            "notes": list(part.notes),
        }  # fmt: skip


def _machine(build: Build) -> dict[str, Any]:
    machine = build.machine
    return {
        "name": machine.name,
        "title": machine.title,
        "gpus": [{"device": gpu.model.name, "memory_bytes": gpu.memory} for gpu in machine.gpus],
        "ram_bytes": machine.ram.memory,
        "unified_memory": machine.unified,
    }


def _usd(usd: UsdRange) -> dict[str, float]:
    return {"low": round(usd.low, 2), "high": round(usd.high, 2)}
