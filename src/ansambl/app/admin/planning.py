"""Answers the admin API's questions to the planner and the simulation, as the commands answer them.

Both are imported where they are asked, in the thread that answers: they bring numpy and a solver, which a gateway that
is asked for nothing else neither waits for nor holds in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from ansambl.api.plan_schemas import ApplyingDocument, CatalogDocument, MachinesDocument, PreviewDocument
from ansambl.api.planning_schemas import (
    ApplyRequest,
    CompatRequest,
    DescribedMachine,
    FitRequest,
    PlanRequest,
    PreviewRequest,
    ReviewRequest,
    SimulateRequest,
)
from ansambl.app.admin.desk import Desk
from ansambl.app.admin.plan_applying import PlanApplying
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.simulation.trace_files import shipped_traces
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.names import folded
from ansambl.domain.text import text
from ansambl.foundation.locales import LANGUAGES, speak, translator
from ansambl.foundation.paths import DataPaths, expanded
from ansambl.hardware.catalog import described_machine, machine_names
from ansambl.model_catalog.embedded import REFERENCE

if TYPE_CHECKING:
    from ansambl.app.plan_change import Change
    from ansambl.domain.planning import Plan

THIS = "this"
"""What questions call this machine."""

MOST_REQUESTS = 20_000
"""Requests of a trace that comes in a body; a longer one is a job for `ansambl simulate`."""
MOST_MACHINES = 4
"""Machines of one plan: with each the integer program grows, and a desk is not for minutes."""

_FILES = (".gguf", ".safetensors", ".json", ".toml")

Translate = Callable[[str], str]
_Result = TypeVar("_Result")


class ProductPlanning:
    """Implements `ansambl.api.planning.PlanningControls` on the settings in effect, which `loaded` gives.

    What the commands take as a path is refused here: who asks from elsewhere has no business in this machine's files.
    """

    def __init__(
        self, desk: Desk, loaded: Callable[[], LoadedSettings], paths: DataPaths, applying: PlanApplying
    ) -> None:
        self._desk = desk
        self._loaded = loaded
        self._paths = paths
        self._applying = applying

    async def plan(self, wanted: PlanRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl plan --json`."""
        return await self._planned(wanted, lambda plan, _: _plan_document(plan, translate))

    async def page(self, wanted: PlanRequest, translate: Translate) -> str:
        """As `ansambl plan --html`."""
        language = next((one for one in LANGUAGES if translator(one) is translate), speak.language)

        def page_of(plan: Plan, _: LoadedSettings) -> str:
            from ansambl.app.plan_page import plan_page

            return plan_page(plan, translate, language)

        return await self._planned(wanted, page_of)

    async def machines(self, translate: Translate) -> MachinesDocument:
        """Machines and devices to plan with."""

        def work() -> MachinesDocument:
            from ansambl.app.admin.plan_choices import machines_document

            return machines_document(translate)

        return await self._desk.answer(work)

    async def catalog(self) -> CatalogDocument:
        """Models to plan with."""
        loaded = self._loaded()

        def work() -> CatalogDocument:
            from ansambl.app.admin.plan_choices import catalog_document

            return catalog_document(loaded, self._paths)

        return await self._desk.answer(work)

    async def preview(self, wanted: PreviewRequest, translate: Translate) -> PreviewDocument:
        """What putting an option into effect would do."""

        def preview(plan: Plan, loaded: LoadedSettings) -> PreviewDocument:
            from ansambl.app.admin.plan_previews import preview_document

            return preview_document(
                plan, wanted.option, loaded, self._paths, self._applying, translate, here=_is_here(wanted)
            )

        return await self._planned(wanted, preview)

    async def apply(self, wanted: ApplyRequest, translate: Translate) -> ApplyingDocument:
        """Begin to put an option into effect."""
        if not _is_here(wanted):
            raise UsageError(
                text("a plan for another machine is put into effect there; copy its tables"), param="machines"
            )
        applying = self._applying

        def change_of(plan: Plan, loaded: LoadedSettings) -> Change:
            from ansambl.app.plan_change import change_for, option_of

            return change_for(option_of(plan, wanted.option), loaded, self._paths)

        change = await self._planned(wanted, change_of)
        applying.begin(change, wanted.agreed, frozenset(map(folded, wanted.accept_licences)))
        return cast("ApplyingDocument", applying.document(translate))

    def applying(self, translate: Translate) -> ApplyingDocument | None:
        """The newest plan of this run that was put into effect, or is."""
        return self._applying.document(translate)

    def stop_applying(self, translate: Translate) -> ApplyingDocument | None:
        """Stop fetching for it."""
        self._applying.stop()
        return self._applying.document(translate)

    async def _planned(self, wanted: PlanRequest, use: Callable[[Plan, LoadedSettings], _Result]) -> _Result:
        """What `use` makes of the plan that answers a question."""
        loaded = self._loaded()
        if len(wanted.machines) > MOST_MACHINES:
            raise UsageError(
                text("a plan for more than {most} machines is not made here; use: ansambl plan", most=MOST_MACHINES),
                param="machines",
            )
        named = () if _is_here(wanted) else wanted.machines
        models = tuple(_model(one, loaded) for one in wanted.models)

        def work() -> _Result:
            from ansambl.app.plan_question import PlanQuestion, answer_plan, read_goal

            question = PlanQuestion(
                machines=tuple(one for one in map(_given, named) if one is not None), goal=read_goal(wanted.goal),
                models=models, roles=tuple(wanted.roles), context=wanted.context, parallel=wanted.parallel,
                language=wanted.language, helpers=wanted.helpers, fetchable=wanted.fetchable,
            )  # fmt: skip
            return use(answer_plan(question, loaded.file), loaded)

        return await self._desk.answer(work)

    async def fit(self, wanted: FitRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl fit --json`."""
        loaded = self._loaded()
        fields = _fit_fields(wanted, loaded)

        def work() -> dict[str, Any]:
            from ansambl.app.fitting import Question, answer_with_changes
            from ansambl.app.plan_documents import fit_document

            asked = None if wanted.machine == THIS else wanted.machine
            found = answer_with_changes(Question(**{**fields, "machine": _given(asked)}), loaded.file)
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


def _plan_document(plan: Plan, translate: Translate) -> dict[str, Any]:
    from ansambl.app.plan_documents import plan_document

    return plan_document(plan, translate)


def _fit_fields(wanted: FitRequest, loaded: LoadedSettings) -> dict[str, Any]:
    machine = wanted.machine
    return {
        "model": _model(wanted.model, loaded), "quantization": wanted.quantization, "engine": wanted.engine,
        "machine": None if isinstance(machine, DescribedMachine) else _machine(machine), "context": wanted.context,
        "parallel": wanted.parallel, "kv_type": wanted.kv_type, "settings": dict(wanted.settings),
    }  # fmt: skip


def _is_here(wanted: PlanRequest) -> bool:
    """Whether a question is about this machine alone."""
    return not wanted.machines or wanted.machines == [THIS]


def _given(wanted: str | DescribedMachine | None) -> str | PlannedMachine | None:
    """A machine as questions take it: by its name, or as it is.

    Raises:
        UsageError: it is none of the list, or what is described cannot be.
    """
    if not isinstance(wanted, DescribedMachine):
        from ansambl.app.planning import this_machine

        return this_machine() if wanted == THIS else _machine(wanted)
    gpus = [one.model_dump(exclude_none=True) for one in wanted.gpus]
    ram = {"memory": wanted.ram, **({"device": wanted.processor} if wanted.processor else {})}
    return described_machine({"gpus": gpus, "ram": ram}, wanted.name)


def _machine(wanted: str | None) -> str | None:
    """The machine of this name.

    Raises:
        UsageError: it is none of the list.
    """
    if wanted == THIS:
        return None
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
