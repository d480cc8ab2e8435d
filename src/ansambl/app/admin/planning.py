"""Answers the admin API's questions to the planner and the simulation, as the commands answer them.

Both are imported where they are asked, in the thread that answers: they bring numpy and a solver, which a gateway that
is asked for nothing else neither waits for nor holds in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ansambl.api.planning_schemas import CompatRequest, FitRequest, PlanRequest, ReviewRequest, SimulateRequest
from ansambl.app.admin.desk import Desk
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.simulation.trace_files import shipped_traces
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.foundation.paths import expanded
from ansambl.hardware.catalog import machine_names
from ansambl.model_catalog.embedded import REFERENCE

MOST_REQUESTS = 20_000
"""Requests of a trace that comes in a body; a longer one is a job for `ansambl simulate`."""
MOST_MACHINES = 4
"""Machines of one plan: with each the integer program grows, and a desk is not for minutes."""

_FILES = (".gguf", ".safetensors", ".json", ".toml")

Translate = Callable[[str], str]


class ProductPlanning:
    """Implements `ansambl.api.planning.PlanningControls` on the settings in effect, which `loaded` gives.

    What the commands take as a path is refused here: who asks from elsewhere has no business in this machine's files.
    """

    def __init__(self, desk: Desk, loaded: Callable[[], LoadedSettings]) -> None:
        self._desk = desk
        self._loaded = loaded

    async def plan(self, wanted: PlanRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl plan --json`."""
        loaded = self._loaded()
        if len(wanted.machines) > MOST_MACHINES:
            raise UsageError(
                text("a plan for more than {most} machines is not made here; use: ansambl plan", most=MOST_MACHINES),
                param="machines",
            )
        machines = _machines(wanted.machines)
        models = tuple(_model(one, loaded) for one in wanted.models)

        def work() -> dict[str, Any]:
            from ansambl.app.plan_documents import plan_document
            from ansambl.app.plan_question import PlanQuestion, answer_plan, read_goal

            question = PlanQuestion(
                machines=machines, goal=read_goal(wanted.goal), models=models, roles=tuple(wanted.roles),
                context=wanted.context, parallel=wanted.parallel, language=wanted.language,
            )  # fmt: skip
            return plan_document(answer_plan(question, loaded.file), translate)

        return await self._desk.answer(work)

    async def fit(self, wanted: FitRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl fit --json`."""
        loaded = self._loaded()
        fields = _fit_fields(wanted, loaded)

        def work() -> dict[str, Any]:
            from ansambl.app.fitting import Question, answer_with_changes
            from ansambl.app.plan_documents import fit_document

            found = answer_with_changes(Question(**fields), loaded.file)
            return fit_document(found.choice.best, found.limits, translate, found.instead)

        return await self._desk.answer(work)

    async def review(self, wanted: ReviewRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl review --json`."""
        loaded = self._loaded()
        fields = _fit_fields(wanted, loaded)

        def work() -> dict[str, Any]:
            from ansambl.app.review import ReviewQuestion, review_choice, review_document

            question = ReviewQuestion(**fields, ui=wanted.ui, language=wanted.language)
            return review_document(review_choice(question, loaded.file), translate)

        return await self._desk.answer(work)

    async def compat(self, wanted: CompatRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl compat --json`."""
        loaded = self._loaded()
        model = _model(wanted.model, loaded) if wanted.model is not None else None
        machine = _machine(wanted.machine)

        def work() -> dict[str, Any]:
            from ansambl.app.compatibility import CompatibilityQuestion, answer_compatibility, compatibility_document

            question = CompatibilityQuestion(model, machine, wanted.engine, wanted.ui, wanted.settings)
            return compatibility_document(answer_compatibility(question, loaded.file), translate)

        return await self._desk.answer(work)

    async def simulate(self, wanted: SimulateRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl simulate --compare --json`."""
        loaded, lines = self._loaded(), wanted.trace
        if isinstance(lines, str) and lines not in shipped_traces():
            raise UsageError(
                text("there is no shipped trace '{name}'; give one of {known}, or the lines of your own",
                     name=lines[:80], known=", ".join(shipped_traces())),
                param="trace",
            )  # fmt: skip
        if len(lines) > MOST_REQUESTS:
            raise UsageError(
                text("the trace has more than {most} requests; simulate it with: ansambl simulate", most=MOST_REQUESTS),
                param="trace",
            )
        policies = tuple(dict.fromkeys(wanted.policies))
        name = lines if isinstance(lines, str) else "trace"
        machine = _machine(wanted.machine)

        def work() -> dict[str, Any]:
            from ansambl.app.simulation.simulating import SimulationQuestion, answer_simulation, simulation_document

            question = SimulationQuestion(name, machine, policies)
            given = None if isinstance(lines, str) else io.BytesIO(b"\n".join(map(msgspec.json.encode, lines)))
            found = answer_simulation(question, loaded.file, given=given)
            return {"policies": [simulation_document(found, one, translate) for one in policies]}

        return await self._desk.answer(work)


def _fit_fields(wanted: FitRequest, loaded: LoadedSettings) -> dict[str, Any]:
    return {
        "model": _model(wanted.model, loaded), "quantization": wanted.quantization, "engine": wanted.engine,
        "machine": _machine(wanted.machine), "context": wanted.context, "parallel": wanted.parallel,
        "kv_type": wanted.kv_type, "settings": dict(wanted.settings),
    }  # fmt: skip


def _machines(wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in map(_machine, wanted) if one is not None)


def _machine(wanted: str | None) -> str | None:
    """The machine of this name.

    Raises:
        UsageError: it is none of the list.
    """
    if wanted is not None and wanted not in machine_names():
        raise UsageError(
            text("there is no machine '{name}'; choose one of {known}", name=wanted[:80],
                 known=", ".join(machine_names())),
            param="machine",
        )  # fmt: skip
    return wanted


def _model(wanted: str, loaded: LoadedSettings) -> str:
    """What a name means: the checkpoint of a model of the configuration, else a name of the catalog.

    Raises:
        UsageError: it is a path.
    """
    configured = loaded.settings.models.get(wanted)
    if configured is not None and configured.checkpoint is not None:
        return configured.checkpoint
    path = expanded(wanted)
    try:
        looks = wanted != REFERENCE and (
            wanted.startswith((".", "~", "/")) or wanted.endswith(_FILES) or "\\" in wanted or path.exists()
        )
    except (OSError, ValueError):
        # No name of a file: too long, or with a zero byte.
        looks = True
    if looks:
        raise UsageError(
            text("'{name}' is a path, which is not taken here; name the model in the configuration and use that name",
                 name=wanted[:80]),
            param="model",
        )  # fmt: skip
    return wanted
