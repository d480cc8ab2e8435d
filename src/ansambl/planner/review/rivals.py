"""Other models of the catalog on the same machine: newer and stronger ones, and those tuned for the language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ansambl.domain.catalog import Basis, CatalogModel, Speciality, Standing
from ansambl.domain.errors import UsageError
from ansambl.domain.languages import language_name
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.review import Finding, Level
from ansambl.domain.text import Text, text
from ansambl.planner.choosing import LOSSLESS_BITS, engines_for
from ansambl.planner.fitting import Wish, partly_in_ram, place
from ansambl.planner.memory import ENGINES
from ansambl.planner.placement.rules import OWN_RULE
from ansambl.planner.placement.worth import strength
from ansambl.planner.review.facts import CATALOG, NEARLY, ReviewFacts, divided, tokens_a_second

# Half a doubling of the parameters: less is within what the rule can tell.
_CLEARLY = 5.0
# One and a half doublings: weaker ones are no match for the strongest of a list.
_MUCH_WEAKER = 15.0
_SHOWN = 3
# Placements are worked out for so many models at most, the strongest on paper first.
_TRIED = 12


def rival_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Newer and stronger models, then those tuned for the language where this one is not."""
    card = facts.card
    if card is not None and not card.kind.writes:
        return
    yield from _tuned(facts)
    if card is not None and facts.best is not None:
        yield from _newer(facts, card)


def _own_points(facts: ReviewFacts) -> float | None:
    """The strength of what is judged, or of what of the model would fit; None when nothing of it fits."""
    choice = facts.choice
    fitting = [one for one in (choice.best, *choice.others) if one.fits] if choice else []
    return max((_points(facts, one.candidate) for one in fitting[:1]), default=None)


def _points(facts: ReviewFacts, candidate: Candidate) -> float:
    return strength(candidate, facts.native, facts.stated.language, facts.rules).points


def _newer(facts: ReviewFacts, card: CatalogModel) -> Iterator[Finding]:
    own = _own_points(facts)
    wanted = [
        one for one in facts.models
        if one.name != card.name and one.kind.answers and _serves(one, card)
        and (not card.released or (one.released or "") > card.released)
    ]  # fmt: skip
    if own is None:
        # Nothing of the choice fits: what could run here instead counts, newer or not.
        wanted = [one for one in facts.models if one.name != card.name and one.kind.answers and _serves(one, card)]
    found = [
        (points, placed) for points, placed in _strongest(facts, wanted, above=own)
        if own is None or points >= own + _CLEARLY
    ]  # fmt: skip
    if not found:
        return
    if own is None:
        yield Finding(Level.WEAK, "fits-instead",
                      text("models that fit this machine, the strongest by our rule first: {list}",
                           list=divided(_named(placed) for _, placed in found[:_SHOWN])), OWN_RULE)  # fmt: skip
        return
    names = divided(
        text("{model} (+{points} points)", model=_named(placed), points=f"{points - own:.0f}")
        for points, placed in found[:_SHOWN]
    )
    words = (
        text("newer models that fit and are stronger by our rule (parameters, date, bits, language; ten points are a "
             "doubling of the parameters): {list}", list=names) if card.released else
        text("models that fit and are stronger by our rule (parameters, date, bits, language; ten points are a "
             "doubling of the parameters): {list}", list=names)
    )  # fmt: skip
    yield Finding(Level.WEAK, "newer-model" if card.released else "stronger-model", words, OWN_RULE)


def _serves(one: CatalogModel, card: CatalogModel) -> bool:
    """Whether a model could stand in for another: its abilities, and it is not for code alone unless the other is."""
    if card.vision and not one.vision:
        return False
    wants_code = Speciality.CODE in card.specialities
    return wants_code == (Speciality.CODE in one.specialities) if wants_code else not one.for_code_alone


def _tuned(facts: ReviewFacts) -> Iterator[Finding]:
    language, card = facts.stated.language, facts.card
    if language is None or language == "en":
        return
    if card is not None and card.quality(language).standing is Standing.TUNED:
        return
    tuned = [one for one in facts.models
             if one.kind.answers and one.quality(language).standing is Standing.TUNED]  # fmt: skip
    found = _strongest(facts, tuned, above=None)
    found = [one for one in found if one[0] >= found[0][0] - _MUCH_WEAKER][:_SHOWN]
    if found:
        yield Finding(
            Level.WEAK, "tuned-for-language",
            text("tuned for {language} and fitting this machine: {list}", language=language_name(language),
                 list=divided(_named(placed) for _, placed in found)), CATALOG,
        )  # fmt: skip


def _named(placed: PlannedPlacement) -> Text:
    candidate, speed = placed.candidate, tokens_a_second(placed)
    if partly_in_ram(placed):
        return text("{model} {quantization} at about {speed}, partly in RAM", model=candidate.model,
                    quantization=candidate.quantization, speed=speed)  # fmt: skip
    return text("{model} {quantization} at about {speed}", model=candidate.model, quantization=candidate.quantization,
                speed=speed)  # fmt: skip


def _strongest(
    facts: ReviewFacts, models: Sequence[CatalogModel], *, above: float | None
) -> list[tuple[float, PlannedPlacement]]:
    """What fits of the models and is quick enough for a chat, the strongest first."""
    by_model: dict[str, list[Candidate]] = {one.name: [] for one in models if facts.card is None
                                            or one.name != facts.card.name}  # fmt: skip
    for one in facts.rivals:
        if one.model in by_model:
            by_model[one.model].append(one)
    hopes = sorted(
        ((max(_points(facts, one) for one in some), name) for name, some in by_model.items() if some),
        key=lambda pair: (-pair[0], pair[1]),
    )
    found: list[tuple[float, PlannedPlacement]] = []
    for hope, name in hopes:
        if len(found) >= _TRIED or (above is not None and hope < above + _CLEARLY):
            break
        placed = _placed(facts, by_model[name])
        if placed is not None:
            found.append((_points(facts, placed.candidate), placed))
    return sorted(found, key=lambda pair: (-pair[0], pair[1].candidate.model))


def _placed(facts: ReviewFacts, candidates: Sequence[Candidate]) -> PlannedPlacement | None:
    """The checkpoint with the most bits that count, of those that somebody published and that answer quickly enough."""
    enough = NEARLY * facts.rules.speeds["chat"].enough
    for one in sorted(candidates, key=lambda each: (each.bits > LOSSLESS_BITS, -each.bits, each.quantization)):
        made_for = one.architecture.context
        if one.weights.total > facts.machine.memory or not _is_published(one):
            continue
        wish = Wish(min(facts.wish.context, made_for or facts.wish.context), facts.wish.parallel)
        for engine in engines_for(one, facts.machine, facts.compatibility).names:
            if engine not in ENGINES:
                continue
            try:
                placed = place(one, engine, facts.machine, wish)
            except UsageError:
                continue
            decode = placed.speed.decode
            if placed.fits and decode is not None and decode.expected >= enough:
                return placed
    return None


def _is_published(one: Candidate) -> bool:
    """Whether somebody reports the files' size or names where they are."""
    if one.basis is Basis.REPORTED or one.card is None:
        return True
    native = one.format == "safetensors" and one.card.native is not None and (
        one.quantization.casefold() == one.card.native.casefold())  # fmt: skip
    return native or one.card.download_of(one.format, one.quantization) is not None
