"""What to run when nobody configured anything: the best of what is installed, and a plan that may be fetched.

Nothing here uses the network before the owner has agreed; sizes and licences come from the shipped catalog until then.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.role_settings import RoleSettings
from ansambl.app.configuration.settings import BudgetSettings, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.engine_choice import LLAMA_CPP, EngineFinder, card_of_repo, uses_gpus
from ansambl.app.planning import candidate_from_files, catalog_candidates, hub_reference, this_machine
from ansambl.domain.device import PlannedMachine
from ansambl.domain.engine import Installed
from ansambl.domain.errors import AnsamblError
from ansambl.domain.planning import Candidate, Goal, Plan, PlannedPlacement, PlanOption, Residency
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths, write_atomically
from ansambl.model_catalog import download
from ansambl.model_catalog.acceptance import still_asked
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.library import InstalledCheckpoint

CONTEXTS = (16_384, 8192, 4096)
"""Tokens for each conversation in a first plan: long enough for work, then what small models and machines can do."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One checkpoint of a proposal: what the hub calls it, its bytes as the catalog knows them, its licence."""

    placement: PlannedPlacement
    reference: str
    size: Bytes
    licence: str | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What could be fetched and run here. `free` is the disk's room in the models' folder."""

    plan: Plan
    option: PlanOption
    fetches: tuple[Fetch, ...]
    free: Bytes
    folder: Path

    @property
    def size(self) -> Bytes:
        """Bytes to fetch in all."""
        return Bytes(sum(one.size for one in self.fetches))

    @property
    def identity(self) -> str:
        """Tells one proposal from another: an owner is asked once for each."""
        return " ".join(sorted(one.reference for one in self.fetches))


def with_installed(loaded: LoadedSettings, found: Iterable[InstalledCheckpoint], paths: DataPaths) -> LoadedSettings:
    """The settings with the best of the GGUF checkpoints that were `found` here, in place of the embedded model alone.

    Unchanged when nothing of it fits.
    """
    candidates: list[Candidate] = []
    for one in found:
        try:
            candidate = candidate_from_files(inspect_checkpoint(Path(one.path)), one.path)
        except AnsamblError:
            # Damaged, or of an architecture that no forecast knows: `ansambl models list` and `inspect` tell.
            continue
        candidates.append(replace(candidate, card=None if one.repo is None else card_of_repo(one.repo)))
    best = _best(loaded, candidates, paths)
    return loaded if best is None else _with_option(loaded, best[1])


def propose(loaded: LoadedSettings, paths: DataPaths) -> Proposal | None:
    """What would be better than the embedded model, from the catalog; None when there is nothing or no room for it."""
    free = Bytes(shutil.disk_usage(paths.models).free)
    fetchable: dict[str, tuple[Candidate, str]] = {}
    for one in catalog_candidates():
        reference = hub_reference(one)
        if reference is not None and one.weights.total < free and not _wants_acceptance(one, reference, paths):
            fetchable[f"{one.model} {one.quantization}"] = (one, reference)
    found = _best(loaded, [candidate for candidate, _ in fetchable.values()], paths)
    if found is None:
        return None
    plan, option = found
    fetches = []
    for placement in option.placements:
        candidate = placement.candidate
        _, reference = fetchable[f"{candidate.model} {candidate.quantization}"]
        licence = candidate.card.licence if candidate.card else None
        fetches.append(Fetch(placement, reference, candidate.size, licence))
    return Proposal(plan, option, tuple(fetches), free, paths.models)


def _wants_acceptance(candidate: Candidate, reference: str, paths: DataPaths) -> bool:
    """Whether a licence must be accepted first: `models pull` asks for that, one question about a whole plan cannot."""
    return still_asked(paths.root, candidate.card.licence if candidate.card else None, reference) is not None


def fetch_all(proposal: Proposal, paths: DataPaths, progress: Callable[[int, int], None]) -> None:
    """Fetch what was agreed to. Blocks; what has come stays when it is broken off.

    Raises:
        AnsamblError: the hub cannot be reached, has other files than the catalog says, or the disk has no room.
    """
    done = 0
    for one in proposal.fetches:
        announced = download.announce(one.reference, paths.models)
        before = done

        def told(here: int, _: int, before: int = before) -> None:
            progress(before + here, proposal.size)

        download.fetch(announced, told)
        done += announced.size


def is_declined(proposal: Proposal, paths: DataPaths) -> bool:
    """Whether the owner said no to this very proposal before."""
    try:
        return bool(json.loads(_declined(paths).read_text("utf-8")).get("proposal") == proposal.identity)
    except (OSError, ValueError, AttributeError):
        return False


def remember_declined(proposal: Proposal, paths: DataPaths) -> None:
    """Keep that the owner said no, so that the question comes once."""
    write_atomically(_declined(paths), json.dumps({"proposal": proposal.identity}).encode())


def _declined(paths: DataPaths) -> Path:
    return paths.root / "declined-plan.json"


def _best(loaded: LoadedSettings, candidates: Sequence[Candidate], paths: DataPaths) -> tuple[Plan, PlanOption] | None:
    """The plan with the longest context that anything fits, and its option to take."""
    chat = [one for one in candidates if one.card is None or one.card.kind.answers]
    if not chat:
        return None
    # The solver and its library take longer to load than all the rest of a start that plans nothing.
    from ansambl.app.plan_question import planned_engines, role_needs
    from ansambl.engines.compatibility import compatibility_rows
    from ansambl.planner.placement import PlanInputs, solve

    finder = EngineFinder(loaded, paths)
    machine = _machine_now(finder, loaded.settings.budget)
    usable = _usable_engines(finder)
    for context in CONTEXTS:
        plan = solve(
            PlanInputs(
                machines=(machine,), candidates=tuple(chat), roles=role_needs(catalog_of(loaded)),
                engines=tuple(one for one in planned_engines() if one.name in usable), goal=Goal.BALANCED,
                context=context, helpers=(), rows=compatibility_rows(),
            )
        )  # fmt: skip
        option = _swapless(plan)
        if option is not None:
            return plan, option
    return None


def _swapless(plan: Plan) -> PlanOption | None:
    """The recommended option; where that takes turns, the first that fits without, since nothing swaps here yet."""
    order = sorted(plan.options, key=lambda one: one.id != plan.recommended)
    return next(
        (one for one in order
         if one.fits and one.placements and all(two.residency is Residency.RESIDENT for two in one.placements)), None,
    )  # fmt: skip


def _usable_engines(finder: EngineFinder) -> frozenset[str]:
    """The engines that a first plan may count on: llama.cpp is always here in some form, vLLM where it is installed."""
    others = [one for one in ("vllm",) if isinstance(finder.find(one), Installed)]
    return frozenset({LLAMA_CPP, *others})


def _machine_now(finder: EngineFinder, budget: BudgetSettings) -> PlannedMachine:
    """This machine with what of its RAM is free now, and its GPUs only where an engine that uses them is installed.

    Of each no more than the budget allows.
    """
    machine = this_machine()
    free = Bytes(min(machine.ram.memory, psutil.virtual_memory().available))
    found = [one for one in map(finder.find, _usable_engines(finder)) if isinstance(one, Installed)]
    gpus = tuple(replace(one, memory=min(one.memory, budget.gpu or one.memory)) for one in machine.gpus)
    return replace(
        machine, ram=replace(machine.ram, memory=min(free, budget.ram or free)),
        gpus=gpus if any(map(uses_gpus, found)) else (),
    )  # fmt: skip


def _with_option(loaded: LoadedSettings, option: PlanOption) -> LoadedSettings:
    models = {one.candidate.model: _model_settings(one) for one in option.placements}
    names = {one.id: one.candidate.model for one in option.placements}
    first = names[next(iter(option.roles.values()))]
    ordered = {first: models.pop(first), **models, **loaded.settings.models}
    roles = dict(loaded.settings.roles)
    for role, where in option.roles.items():
        if names[where] != first:
            roles[role] = roles.get(role, RoleSettings()).model_copy(update={"model": names[where]})
    return replace(loaded, settings=loaded.settings.model_copy(update={"models": ordered, "roles": roles}))


def _model_settings(placement: PlannedPlacement) -> ModelSettings:
    common: dict[str, object] = {
        "checkpoint": placement.candidate.reference, "context": placement.context, "parallel": placement.parallel,
    }  # fmt: skip
    if not placement.machine.gpus and placement.engine == LLAMA_CPP:
        # On the processor alone the bundled build does the same, and takes its own defaults.
        return ModelSettings.model_validate(common)
    return ModelSettings.model_validate({
        **common, "engine": placement.engine, "kv_type": placement.kv_type, "settings": dict(placement.settings),
        "gpus": tuple(gpu.index for gpu in placement.machine.gpus),
    })  # fmt: skip
