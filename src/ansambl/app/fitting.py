"""The question "will it fit?" as a user puts it, answered: names become records, the planner chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.measured_fits import measurements_here, with_measurements
from ansambl.app.planning import find_candidates, planned_machines
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import AnsamblError, NotSupportedError, UnknownNameError
from ansambl.domain.planning import USUAL_CONTEXT, Candidate, PlannedPlacement
from ansambl.domain.text import text
from ansambl.engines.compatibility import compatibility_rows
from ansambl.model_catalog.references import parse_reference
from ansambl.planner.choosing import Choice, Engines, choose, engines_for
from ansambl.planner.fitting import Limits, Wish, check_context, limits
from ansambl.planner.nearest import Change, nearest_changes


@dataclass(frozen=True, slots=True)
class Question:
    """What ``ansambl fit`` was asked; what is None was left open (any quantization, this machine, a usual context).

    `remote` reads the headers of a checkpoint on a hub; nothing else asks the network.
    """

    model: str
    quantization: str | None = None
    engine: str | None = None
    machine: str | PlannedMachine | None = None
    context: int | None = None
    parallel: int = 1
    kv_type: str = "f16"
    settings: Mapping[str, Any] = field(default_factory=dict)
    remote: bool = False

    @property
    def machine_name(self) -> str | None:
        """What the machine is called."""
        return self.machine.name if isinstance(self.machine, PlannedMachine) else self.machine


@dataclass(frozen=True, slots=True)
class Answer:
    """The best placement with the most that fits, the others, and, where it does not fit, what would fit instead.

    The nearest change comes first.
    """

    choice: Choice
    limits: Limits
    instead: tuple[Change, ...] = ()


def as_arguments(question: Question, placement: PlannedPlacement) -> list[str]:
    """Arguments of ``fit`` or ``command`` that give this placement again, whatever the question left open."""
    candidate = placement.candidate
    words = [question.model, "--quantization", candidate.quantization, "--engine", placement.engine]
    if question.machine_name is not None:
        words += ["--machine", question.machine_name]
    words += ["--context", str(placement.context)]
    if placement.parallel > 1:
        words += ["--parallel", str(placement.parallel)]
    if placement.kv_type != "f16":
        words += ["--kv-type", placement.kv_type]
    for name, value in question.settings.items():
        # What was set for one engine may have been left out for another.
        if name in placement.settings:
            words += ["--set", f"{name}={value}"]
    return words


def answer_with_changes(question: Question, config: Path | None = None) -> Answer:
    """The same as `answer`, and what to change where nothing fits.

    Raises:
        AnsamblError: as `answer`.
    """
    choice = answer(question, config)
    best = choice.best
    most = limits(best)
    if best.fits:
        return Answer(choice, most)
    wish = Wish(best.context, best.parallel, best.kv_type, question.settings)
    changes = nearest_changes(best, wish)
    if question.quantization is not None or question.engine is not None:
        changes += _otherwise(question, choice, config)
    return Answer(choice, most, changes or _smallest(choice, wish))


def _smallest(choice: Choice, wish: Wish) -> tuple[Change, ...]:
    """What would make the smallest checkpoint fit."""
    smallest = min((choice.best, *choice.others), key=lambda one: one.candidate.weights.span[1])
    chosen = ("--quantization", smallest.candidate.quantization, "--engine", smallest.engine)
    return tuple(replace(one, options=(*chosen, *one.options)) for one in nearest_changes(smallest, wish))


def _otherwise(question: Question, choice: Choice, config: Path | None) -> tuple[Change, ...]:
    """The best other checkpoint or engine that fits."""
    other = next((one for one in choice.others if one.fits), None)
    if other is None and question.engine is not None:
        try:
            other = answer(replace(question, quantization=None, engine=None), config).best
        except AnsamblError:
            # Settings of the named engine that no other has.
            return ()
    if other is None or not other.fits:
        return ()
    options = ("--quantization", other.candidate.quantization, "--engine", other.engine)
    return (Change(options, other),)


def wish_of(question: Question, candidates: Sequence[Candidate]) -> Wish:
    """What is wanted of a model with these checkpoints (none where nothing is known of them).

    Raises:
        UsageError: the context is far beyond what the model was made for.
    """
    made_for = candidates[0].architecture.context if candidates else None
    context = question.context
    if context is None:
        context = min(USUAL_CONTEXT, made_for or USUAL_CONTEXT)
    if candidates:
        check_context(candidates[0], context)
    return Wish(context, question.parallel, question.kv_type, question.settings)


def _candidates(question: Question, config: Path | None) -> tuple[Candidate, ...]:
    paths = load_data_paths(config)
    try:
        return find_candidates(question.model, question.quantization, paths, remote=question.remote)
    except UnknownNameError as unknown:
        if parse_reference(question.model) is None:
            raise
        raise UnknownNameError(
            text("{problem}; if it is on a hub, its headers are read there with --remote", problem=unknown.message)
        ) from None


def answer(question: Question, config: Path | None = None) -> Choice:
    """The best placement of the model on the machine, and the others.

    Raises:
        AnsamblError: the model, machine, engine or a setting is not known or makes no sense; nothing can run it there.
    """
    machine = planned_machines([] if question.machine is None else [question.machine])[0]
    candidates = _candidates(question, config)
    wish = wish_of(question, candidates)
    facts = compatibility_rows()
    version = question.settings.get("engine_version")

    def engines(candidate: Candidate) -> Engines:
        return engines_for(candidate, machine, facts, wanted=question.engine, version=version)

    here = measurements_here(question.model, load_data_paths(config)) if question.machine is None else None

    def chosen(among: tuple[Candidate, ...]) -> Choice | None:
        found = choose(among, engines, machine, wish)
        if found is None or here is None:
            return found
        return with_measurements(found, here, engine=question.engine, settings=question.settings)

    choice = chosen(candidates)
    if choice is None:
        reasons = [one for candidate in candidates for one in engines(candidate).left_out]
        raise NotSupportedError(
            text("nothing is known that runs {model} on {machine}: {why}; see: ansambl compat {model} --machine "
                 "{machine}", model=question.model, machine=machine.name,
                 why=reasons[0].text if reasons else text("no rules for such a checkpoint"))
        )  # fmt: skip
    if choice.best.fits or question.quantization is None or question.remote:
        return choice
    # What was asked for does not fit: tell what would.
    others = chosen(find_candidates(question.model, None, load_data_paths(config)))
    fitting = [one for one in (others.best, *others.others) if one.fits] if others else []
    return replace(choice, others=(*choice.others, *fitting))
