"""How good a placement's answers are for a role, in points: an explicit rule whose parts are shown to the user.

Strength comes from parameters, generation, kind, speciality, language and quantization (`rules` says from where); a
role adds what the decode speed is worth to it. Names of models never count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansambl.domain.catalog import ModelKind, Speciality, Standing
from ansambl.domain.compatibility import Verdict
from ansambl.domain.figures import figure
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import text
from ansambl.planner.placement.inputs import RoleNeed, Wants
from ansambl.planner.placement.rules import (
    EXPERTS_SOURCE,
    GENERATION_SOURCE,
    INDEX,
    OWN_RULE,
    QUANTIZATION_SOURCE,
    WorthRules,
    quantization_loss,
)

_MONTH = re.compile(r"(\d{4})-(\d{2})")
# Number formats in which models are made; of others a file is a copy with fewer bits.
_MADE_IN = re.compile(r"(bf|f|fp|mxfp|nvfp)\d+", re.IGNORECASE)
# An embedding model has no decode; what counts is that there is one, and then its size.
_EMBEDDING_BASE = 60.0


@dataclass(frozen=True, slots=True)
class Strength:
    """A checkpoint's strength in points, before any role, with what it was made of; `lost` is by quantization."""

    points: float
    basis: tuple[Reason, ...]
    lost: float = 0.0


def native_bits(candidates: Iterable[Candidate]) -> Mapping[str, float]:
    """By model the bits that it was made with: the most of any checkpoint in a floating format; without one no entry.

    A model that is only known in 4 bits of such a format (MXFP4) was made so, and loses nothing by it.
    """
    known: dict[str, float] = {}
    for one in candidates:
        if _MADE_IN.fullmatch(one.quantization):
            known[one.model] = max(known.get(one.model, 0.0), one.bits)
    return known


def equal_dense(candidate: Candidate) -> float:
    """Parameters of a dense model that would be about as strong."""
    architecture = candidate.architecture
    return math.sqrt(max(1, architecture.parameters) * max(1, architecture.active))


def months_since(released: str | None, start: str) -> float | None:
    """Months from `start` to `released`, both ``"2025-08"``; None when either is not a month."""
    dates = [_MONTH.match(one or "") for one in (start, released)]
    if dates[0] is None or dates[1] is None:
        return None
    (year, month), (year_now, month_now) = ((int(one[1]), int(one[2])) for one in dates if one)
    return (year_now - year) * 12.0 + month_now - month


def strength(candidate: Candidate, made_with: Mapping[str, float], language: str | None, rules: WorthRules) -> Strength:
    """The points of one checkpoint; `made_with` is `native_bits` of all candidates."""
    card = candidate.card
    basis: list[Reason] = []
    measured = rules.measured.get(candidate.model)
    if measured is not None:
        points = measured
        basis.append(Reason("worth.given", text("strength {points} points, as given", points=figure(points, ".1f")),
                            "data passed in"))  # fmt: skip
    else:
        points = _size_points(candidate, rules, basis) + _generation_points(candidate, rules, basis)
        points += _index_points(candidate, points, rules, basis)
    lost = _quantization_points(candidate, made_with, rules, basis)
    points -= lost
    elsewhere = _made_for_another(candidate, language or "en")
    if elsewhere is not None:
        points += rules.tuned_elsewhere
        basis.append(
            Reason("worth.elsewhere", text("made for another language ({language}): {points} points",
                                           language=elsewhere, points=figure(rules.tuned_elsewhere, "+.1f")), OWN_RULE)
        )  # fmt: skip
    if language and language != "en":
        standing = card.quality(language).standing if card else None
        if standing is not None:
            gained = rules.languages.get(standing, 0.0)
            points += gained
            basis.append(
                Reason("worth.language", text("{language}: {standing}, {points} points", language=language,
                                              standing=standing.value, points=figure(gained, "+.1f")),
                       card.quality(language).note or OWN_RULE if card else OWN_RULE)
            )  # fmt: skip
    shown = sorted(set(card.scores) - {INDEX})[:4] if card else []
    if card and shown:
        best = ", ".join(f"{name} {card.scores[name].value:g}" for name in shown)
        basis.append(Reason("worth.scores", text("published scores, shown and not counted: {scores}", scores=best),
                            card.scores[shown[0]].source))  # fmt: skip
    return Strength(points, tuple(basis), lost)


def _made_for_another(candidate: Candidate, language: str) -> str | None:
    """The language that a model was tuned for, where no source says anything of the wanted one."""
    card = candidate.card
    if card is None or card.quality(language).standing is not Standing.UNKNOWN:
        return None
    return next((code for code, one in card.languages.items() if one.standing is Standing.TUNED), None)


def _size_points(candidate: Candidate, rules: WorthRules, basis: list[Reason]) -> float:
    dense = equal_dense(candidate)
    points = rules.points_per_doubling * math.log2(dense / 1e9)
    architecture = candidate.architecture
    if architecture.active < architecture.parameters:
        basis.append(
            Reason("worth.size", text("{total} B parameters, {active} B active: about as strong as {dense} B dense, "
                                      "{points} points", total=figure(architecture.parameters / 1e9, ".3g"),
                                      active=figure(architecture.active / 1e9, ".3g"), dense=figure(dense / 1e9, ".3g"),
                                      points=figure(points, ".1f")), EXPERTS_SOURCE)
        )  # fmt: skip
    else:
        basis.append(Reason("worth.size", text("{dense} B parameters: {points} points",
                                               dense=figure(dense / 1e9, ".3g"), points=figure(points, ".1f")),
                            OWN_RULE))  # fmt: skip
    return points


def _generation_points(candidate: Candidate, rules: WorthRules, basis: list[Reason]) -> float:
    released = candidate.card.released if candidate.card else None
    months = months_since(released, rules.generation_from)
    if months is None:
        basis.append(Reason("worth.generation", text("release date unknown: counted like {month}",
                                                     month=rules.generation_from), OWN_RULE))  # fmt: skip
        return 0.0
    points = rules.points_per_doubling * months / rules.generation_months
    basis.append(Reason("worth.generation", text("released {month}: {points} points", month=released,
                                                 points=figure(points, "+.1f")), GENERATION_SOURCE))  # fmt: skip
    return points


def _index_points(candidate: Candidate, ruled: float, rules: WorthRules, basis: list[Reason]) -> float:
    """What a published index adds to the points of the rule, or takes from them."""
    score = candidate.card.scores.get(INDEX) if candidate.card else None
    if score is None:
        return 0.0
    start, slope = rules.index_line
    points = rules.index_share * (start + slope * score.value - ruled)
    basis.append(Reason("worth.index", text("{index} {value}: {points} points", index=INDEX,
                                            value=figure(score.value, "g"), points=figure(points, "+.1f")),
                        score.source))  # fmt: skip
    return points


def _quantization_points(
    candidate: Candidate, made_with: Mapping[str, float], rules: WorthRules, basis: list[Reason]
) -> float:
    bits = candidate.bits
    made = made_with.get(candidate.model)
    # Sizes are rounded, and a file holds a few tensors of other widths.
    if made is not None and bits >= 0.97 * made:
        return 0.0
    # A GGUF of a model made in MXFP4 holds the same experts and packs only its tables closer.
    if candidate.card is not None and candidate.quantization.lower() == (candidate.card.native or "").lower():
        return 0.0
    lost = quantization_loss(bits, rules)
    if lost >= 0.05:
        basis.append(Reason("worth.quantization", text("{quantization}, {bits} bits a weight: -{points} points",
                                                       quantization=candidate.quantization, bits=figure(bits, ".2f"),
                                                       points=figure(lost, ".1f")), QUANTIZATION_SOURCE))  # fmt: skip
    return lost


def cannot_serve(candidate: Candidate, role: RoleNeed) -> Reason | None:
    """Why a model is not for a role; None when it is."""
    card = candidate.card
    kind = card.kind if card else None
    if role.wants is Wants.EMBEDDING:
        if kind is ModelKind.EMBEDDING:
            return None
        return Reason("role.not-embedding", text("{model} makes no embeddings", model=candidate.model), OWN_RULE)
    if kind is ModelKind.BASE:
        return Reason(
            "role.base-model",
            text("{model} is a base model: it continues text and was not trained to answer", model=candidate.model),
            "; ".join(card.sources[:1]) if card else OWN_RULE,
        )
    if kind is not None and not kind.writes:
        return Reason("role.not-chat", text("{model} is no chat model", model=candidate.model), OWN_RULE)
    if role.tools and card is not None and card.tools is False:
        return Reason(
            "role.no-tools",
            text("role {role} needs tools, and {model} cannot call them", role=role.name, model=candidate.model),
            "; ".join(card.sources[:1]),
        )
    return None


def speed_points(decode: float | None, wants: Wants, rules: WorthRules) -> float:
    """What a decode speed in tokens a second is worth to a role; None is unknown."""
    if decode is None:
        return rules.unknown_speed
    need = rules.speeds[wants.value]
    doublings = math.log2(decode / need.enough)
    return doublings * need.slower if doublings < 0 else min(doublings, need.most_doublings) * need.faster


def worth(
    points: float, placement: PlannedPlacement, role: RoleNeed, rules: WorthRules, verdict: Verdict = Verdict.YES
) -> float | None:
    """The points of a placement in a role, None when it cannot serve it; `points` is the checkpoint's strength."""
    decode = placement.speed.decode
    return worth_at(points, placement.candidate, decode.expected if decode else None, role, rules, verdict)


def worth_at(
    points: float,
    candidate: Candidate,
    decode: float | None,
    role: RoleNeed,
    rules: WorthRules,
    verdict: Verdict = Verdict.YES,
) -> float | None:
    """The points of a checkpoint in a role at a decode speed in tokens a second (None: unknown)."""
    if cannot_serve(candidate, role) is not None:
        return None
    doubt = {Verdict.UNKNOWN: rules.unknown_compatibility, Verdict.SLOW: rules.slow_compatibility}.get(verdict, 0.0)
    if role.wants is Wants.EMBEDDING:
        return max(1.0, _EMBEDDING_BASE + min(points, rules.speeds[role.wants.value].most_points) + doubt)
    if role.wants is Wants.TASK and candidate.weights.total > rules.task_most_bytes:
        return None
    need = rules.speeds[role.wants.value]
    total = min(points, need.most_points) * need.strength + doubt
    total += speed_points(decode, role.wants, rules)
    card = candidate.card
    if card is not None:
        if card.kind is ModelKind.REASONING:
            total += rules.reasoning.get(role.wants.value, 0.0)
        if Speciality.CODE in card.specialities:
            if role.wants is Wants.CODE:
                total += rules.code
            elif card.for_code_alone:
                total -= rules.code
    if role.tools and (card is None or card.tools is None):
        total += rules.tools_unknown
    if role.wants is Wants.TASK:
        # Any answer is better than none: where there is room a helper is always worth having.
        total = max(1.0, total)
    return total
