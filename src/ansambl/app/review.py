"""A choice as a user states it, judged: names become records, the planner's findings become a report."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.fitting import Question, as_arguments, wish_of
from ansambl.app.plan_documents import Translate, device_document, fit_document
from ansambl.app.planning import catalog_candidates, find_candidates, local_path, planned_machines
from ansambl.domain.catalog import CatalogModel
from ansambl.domain.compatibility import CompatibilityFacts, KnownUi, Verdict
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.languages import language_code
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.review import Review, TrainingFinding
from ansambl.domain.text import Text, text
from ansambl.engines.command_lines import inputs_of
from ansambl.engines.compatibility import compatibility_rows
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog.catalog import catalog, find_model
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.licences import find_licence
from ansambl.planner.choosing import Choice, Engines, choose, engines_for
from ansambl.planner.compatibility import find_engine, find_ui, judge
from ansambl.planner.fitting import Limits, Wish, limits
from ansambl.planner.memory import ENGINES
from ansambl.planner.placement.rules import WorthRules
from ansambl.planner.placement.worth import native_bits
from ansambl.planner.review import ReviewFacts, Stated, review_findings, training_findings
from ansambl.planner.review.facts import Fetched
from ansambl.planner.review.preferred import preferred

LEAST_CONTEXT = 8192
"""Tokens. Where the usual context does not fit and nobody asked for it, one down to this is taken instead."""

_STEP = 1024


@dataclass(frozen=True, slots=True)
class ReviewQuestion(Question):
    """What ``ansambl review`` was asked: what ``fit`` would be, and where and in which language it will be used."""

    ui: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """The review, and the forecast behind it, None where nothing could be forecast."""

    review: Review
    placement: PlannedPlacement | None
    limits: Limits | None


@dataclass(frozen=True, slots=True)
class _Subject:
    """The model that is meant: its card or what its files say, and all its checkpoints."""

    card: CatalogModel | None
    candidates: tuple[Candidate, ...]
    wanted: tuple[Candidate, ...]
    licence: str | None
    untried: Text | None = None


def review_choice(question: ReviewQuestion, config: Path | None = None) -> ReviewReport:
    """Judge the choice.

    Raises:
        AnsamblError: a model, machine, engine, interface, language, quantization or setting is not known or makes no
            sense.
    """
    facts = compatibility_rows()
    ui = find_ui(facts, question.ui) if question.ui is not None else None
    language = language_code(question.language) if question.language is not None else None
    engine = find_engine(facts, question.engine).name if question.engine is not None else None
    subject = _subject(question, load_data_paths(config))
    machine = planned_machines([question.machine] if question.machine else [])[0]
    wish = wish_of(question, subject.wanted)
    version = question.settings.get("engine_version")
    choice, needed = _chosen(subject.wanted, machine, wish, facts, engine, version, ui)
    shorter = _shorter(choice, wish) if question.context is None else None
    if shorter is not None:
        wish = shorter
        choice, needed = _chosen(subject.wanted, machine, wish, facts, engine, version, ui)
    rivals = catalog_candidates()
    native = native_bits(rivals)
    if choice is not None and question.quantization is None:
        choice = preferred(choice, _has_files, native, WorthRules())
    if choice is not None and (question.quantization is not None or engine is not None):
        first = choice.best.engine if engine or needed else None
        choice = _with_others(choice, subject.candidates, machine, wish, facts, ui, first)
        choice = preferred(choice, _has_files, native, WorthRules(), stated=True)
    untried = subject.untried
    if choice is None and untried is None:
        left_out = [one for each in subject.wanted for one in engines_for(
            each, machine, facts, wanted=engine, version=version).left_out]  # fmt: skip
        untried = left_out[0].text if left_out else text("no rules of memory are known for such files")
    card = subject.card
    review_facts = ReviewFacts(
        name=question.model, machine=machine, wish=wish, compatibility=facts,
        stated=Stated(
            machine=question.machine is not None, ui=ui, language=language, engine=engine,
            quantization=question.quantization, context=question.context is not None, version=version,
        ),
        card=card, candidates=subject.candidates, choice=choice, untried=untried, taken_for_ui=needed,
        licence=subject.licence, terms=find_licence(subject.licence, card.repo if card else None),
        fetched=_fetched(choice), models=tuple(catalog().values()), rivals=rivals, native=native,
    )  # fmt: skip
    best = choice.best if choice else None
    review = Review(
        model=card.repo if card else question.model, machine=machine, ui=ui.name if ui else None, language=language,
        engine=best.engine if best else engine, findings=review_findings(review_facts),
        training=training_findings(review_facts), commands=_commands(question, review_facts),
    )  # fmt: skip
    return ReviewReport(review, best, limits(best) if best else None)


def _subject(question: ReviewQuestion, paths: DataPaths) -> _Subject:
    try:
        candidates = find_candidates(question.model, None, paths)
    except NotSupportedError as error:
        # Of a model whose inside nobody knows, everything but memory can still be judged.
        if local_path(question.model, paths) is not None:
            raise
        known = find_model(question.model)
        return _Subject(known, (), (), known.licence, error.message)
    wanted = candidates
    if question.quantization is not None:
        wanted = find_candidates(question.model, question.quantization, paths)
    card = candidates[0].card
    if card is not None:
        return _Subject(card, candidates, wanted, card.licence)
    path = local_path(question.model, paths)
    return _Subject(None, candidates, wanted, inspect_checkpoint(path).licence if path else None)


def _shorter(choice: Choice | None, wish: Wish) -> Wish | None:
    """The wish with the longest context that fits, where nobody asked for the usual one and it does not fit."""
    if choice is None or choice.best.fits:
        return None
    most = limits(choice.best).context
    if most is None or not LEAST_CONTEXT <= most < wish.context:
        return None
    return replace(wish, context=most // _STEP * _STEP)


def _chosen(
    candidates: tuple[Candidate, ...], machine: PlannedMachine, wish: Wish, facts: CompatibilityFacts,
    engine: str | None, version: str | None, ui: KnownUi | None,
) -> tuple[Choice | None, bool]:  # fmt: skip
    """The choice with the stated engine, else the usual one, else one that the interface can use; then also True."""
    choice = _choose(candidates, machine, wish, facts, engine, version)
    if engine is not None or ui is None or choice is None:
        return choice, False
    if judge(facts, choice.best.engine, ui=ui.name).verdict is not Verdict.NO:
        return choice, False
    usable = [one for one in facts.engines
              if one in ENGINES and judge(facts, one, ui=ui.name).verdict is Verdict.YES]  # fmt: skip
    tried = [found for one in usable if (found := _choose(candidates, machine, wish, facts, one, version)) is not None]
    best = min(tried, key=lambda one: not one.best.fits, default=None)
    return (choice, False) if best is None else (best, True)


def _choose(
    candidates: Iterable[Candidate], machine: PlannedMachine, wish: Wish, facts: CompatibilityFacts,
    engine: str | None, version: str | None,
) -> Choice | None:  # fmt: skip
    def engines(candidate: Candidate) -> Engines:
        return engines_for(candidate, machine, facts, wanted=engine, version=version)

    return choose(candidates, engines, machine, wish)


def _has_files(one: PlannedPlacement) -> bool:
    """Whether a source names the very files, or they are here."""
    found = inputs_of(one)
    return one.candidate.card is None or (found.repo is not None and found.exact_repo)


def _with_others(
    choice: Choice, candidates: tuple[Candidate, ...], machine: PlannedMachine, wish: Wish, facts: CompatibilityFacts,
    ui: KnownUi | None, first: str | None,
) -> Choice:  # fmt: skip
    """The same, and what of the model would fit with the engine `first`, then the usual ones; for the interface."""
    best = choice.best
    others = []
    for engine in dict.fromkeys((first, None)):
        # A setting of one engine means nothing to another.
        asked = wish if engine else replace(wish, settings={}, kv_type="f16")
        found = _choose(candidates, machine, asked, facts, engine, None)
        others += [one for one in (found.best, *found.others) if one.fits] if found else []
    if ui is not None:
        others = [one for one in others if judge(facts, one.engine, ui=ui.name).verdict is not Verdict.NO]
    known = {(one.candidate.quantization, one.engine) for one in (best, *choice.others)}
    new = {(one.candidate.quantization, one.engine): one for one in others}
    return replace(choice, others=(*choice.others, *(one for key, one in new.items() if key not in known)))


def _fetched(choice: Choice | None) -> Fetched | None:
    if choice is None or choice.best.candidate.card is None:
        return None
    found = inputs_of(choice.best)
    return Fetched(found.repo, found.exact_repo)


def _commands(question: ReviewQuestion, facts: ReviewFacts) -> tuple[str, ...]:
    """What to type next; every command exists."""
    model = question.model
    machine = ["--machine", question.machine_name] if question.machine_name else []
    found: list[list[str]] = []
    best = facts.best
    if best is not None and facts.choice is not None:
        shown = best if best.fits else next((one for one in facts.choice.others if one.fits), best)
        candidate = shown.candidate
        exactly = as_arguments(question, shown)
        found.append(["fit", *exactly])
        if shown.fits:
            repo = inputs_of(shown) if facts.card else None
            if repo is not None and repo.repo and repo.exact_repo:
                tag = f":{candidate.quantization}" if candidate.format == "gguf" else ""
                found.append(["models", "pull", f"{repo.repo}{tag}"])
            found.append(["command", *exactly])
            if not machine and shown.engine in ("llama.cpp", "llama.cpp-bundled"):
                found.append(["up"])
    elif facts.candidates:
        found.append(["fit", model, *machine])
    ui = ["--ui", facts.stated.ui.name] if facts.stated.ui else []
    found.append(["compat", model, *machine, *ui])
    language = ["--language", facts.stated.language] if facts.stated.language else []
    if facts.writes_text:
        found.append(["plan", *machine, *language])
    return tuple(shlex.join(["ansambl", *one]) for one in found)


def review_document(report: ReviewReport, translate: Translate = None) -> dict[str, Any]:
    """What ``review --json`` prints."""
    review = report.review
    placement = report.placement
    return {
        "model": review.model,
        "machine": review.machine.name,
        "ui": review.ui,
        "language": review.language,
        "engine": review.engine,
        "verdict": review.verdict.value,
        "findings": [
            {"level": one.level.value, "code": one.code, "text": one.text.render(translate), "source": one.source}
            for one in review.findings
        ],
        "fit": fit_document(placement, report.limits, translate) if placement and report.limits else None,
        "training": [_training_document(one, translate) for one in review.training],
        "commands": list(review.commands),
    }


def _training_document(found: TrainingFinding, translate: Translate) -> dict[str, Any]:
    footprint = found.footprint
    return {
        "method": found.method,
        "fits": found.fits,
        "text": found.note.render(translate),
        "source": found.source,
        "devices": [device_document(one) for one in footprint.devices] if footprint else [],
    }
