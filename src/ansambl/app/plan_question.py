"""The question "what should I run?" as a user puts it, made into the planner's records and answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.measured_fits import measurements_here, plan_with_measurements
from ansambl.app.planning import catalog_candidates, find_candidates, planned_machines, source_of
from ansambl.domain.device import PlannedMachine
from ansambl.domain.engine import EngineTraits
from ansambl.domain.errors import UsageError
from ansambl.domain.names import folded
from ansambl.domain.planning import USUAL_CONTEXT, Candidate, Goal, Plan
from ansambl.domain.role import Ensemble, Layout, Pattern, Role
from ansambl.domain.text import text
from ansambl.engines.compatibility import compatibility_rows
from ansambl.model_catalog.catalog import catalog
from ansambl.planner.placement import PlanInputs, RoleNeed, Wants, solve
from ansambl.roles.prefix_groups import head_fields
from ansambl.roles.prompt_layout import head_material, prefix_group
from ansambl.roles.records import RoleCatalog

_FOLLOWER_WEIGHT = 0.25
"""The requests of a role that is like another one, as a share of that one's: it is asked for now and then (assumed)."""
_AT_ONCE_PATTERNS = frozenset({Pattern.COUNCIL, Pattern.DEBATE})


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """What ``ansambl plan`` was asked; what is empty was left open.

    `helpers` is whether small models for embeddings and for tasks of chats are planned beside the others, `fetchable`
    whether only checkpoints count whose files are here or at a place that a source names.
    """

    machines: tuple[str | PlannedMachine, ...] = ()
    goal: Goal = Goal.BALANCED
    models: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    context: int | None = None
    parallel: int = 1
    language: str | None = None
    helpers: bool = True
    fetchable: bool = False


def answer_plan(question: PlanQuestion, config: Path | None = None) -> Plan:
    """The plan for the machines.

    Raises:
        AnsamblError: a machine, model or role is not known, or a number makes no sense.
    """
    paths = load_data_paths(config)
    candidates = [one for one in catalog_candidates() if not question.fetchable or source_of(one) is not None]
    chosen: list[str] = []
    for reference in question.models:
        found = find_candidates(reference, None, paths)
        known = {one.model for one in candidates}
        candidates += [one for one in found if one.model not in known]
        chosen.append(found[0].model)
    plan = solve(plan_inputs(question, candidates, config, models=chosen))
    here = None if question.machines else measurements_here(None, paths)
    return plan if here is None else plan_with_measurements(plan, here)


def plan_inputs(
    question: PlanQuestion, candidates: Iterable[Candidate], config: Path | None = None, *, models: Iterable[str] = ()
) -> PlanInputs:
    """The question as the planner takes it; `models` are the short names of those that `question` names.

    Raises:
        AnsamblError: a machine or role is not known, or a number makes no sense.
    """
    inputs = PlanInputs(
        machines=planned_machines(question.machines), candidates=tuple(candidates),
        roles=role_needs(catalog_of(load_settings(config)), question.roles), engines=planned_engines(),
        goal=question.goal, context=USUAL_CONTEXT if question.context is None else question.context,
        parallel=question.parallel, language=question.language, rows=compatibility_rows(), models=tuple(models),
        sizeless=tuple(one for one in catalog().values() if one.architecture is None),
    )  # fmt: skip
    return inputs if question.helpers else replace(inputs, helpers=())


def read_goal(name: str) -> Goal:
    """The goal of this name.

    Raises:
        UsageError: there is none.
    """
    try:
        return Goal(name.strip().lower())
    except ValueError:
        raise UsageError(
            text("there is no goal '{name}'; choose one of {known}", name=name, known=", ".join(Goal))
        ) from None


def planned_engines() -> tuple[EngineTraits, ...]:
    """The engines that a plan chooses among: those whose memory and speed can be forecast and that `up` can start."""
    return tuple(
        EngineTraits(name, title, frozenset(formats), frozenset(devices), frozenset({"openai_chat"}))
        for name, title, formats, devices in (
            ("llama.cpp", "llama.cpp", {"gguf"}, {"cpu", "cuda", "rocm", "metal", "vulkan"}),
            ("vllm", "vLLM", {"safetensors"}, {"cuda", "rocm"}),
        )
    )


def role_needs(catalog: RoleCatalog, wanted: Sequence[str] = ()) -> tuple[RoleNeed, ...]:
    """The roles of a catalog as a plan sees them: all of them, or those that are `wanted` by name or alias.

    Raises:
        UsageError: there is no such role.
    """
    known = {folded(spelling): role for role in catalog.roles.values() for spelling in (role.name, *role.aliases)}
    chosen: list[Role] = []
    for name in wanted:
        role = known.get(folded(name))
        if role is None:
            raise UsageError(
                text("there is no role '{name}'; known are {known}", name=name, known=", ".join(catalog.roles))
            )
        chosen.append(role)
    at_once = _largest_council(catalog)
    needs: list[RoleNeed] = []
    for role in {one.name: one for one in chosen or catalog.roles.values()}.values():
        need = RoleNeed(role.name, Wants(role.wants.value), head=_head(role), at_once=role.name in at_once)
        # Who names roles wants each of them planned; of all roles, one that is like another goes where that one goes.
        leader = None if chosen or need.at_once else _leader(need, needs)
        needs.append(need if leader is None else replace(need, follows=leader, weight=_FOLLOWER_WEIGHT))
    return tuple(needs)


def _leader(need: RoleNeed, others: Iterable[RoleNeed]) -> str | None:
    return next(
        (one.name for one in others if one.follows is None and (one.wants, one.head) == (need.wants, need.head)), None
    )


def _largest_council(catalog: RoleCatalog) -> frozenset[str]:
    """The roles of the ensemble that lets most of them answer at once; smaller ones have room where it has."""
    councils = [
        frozenset(_members(catalog, one)) for one in catalog.ensembles.values() if one.pattern in _AT_ONCE_PATTERNS
    ]
    return max(councils, key=len, default=frozenset())


def _members(catalog: RoleCatalog, ensemble: Ensemble) -> Iterator[str]:
    for name in ensemble.roles:
        if name in catalog.ensembles:
            yield from _members(catalog, catalog.ensembles[name])
        else:
            yield name


def _head(role: Role) -> str:
    """What of a role stands at the head of the prompt: roles that differ in it do not share a prefix."""
    head = head_material(head_fields(role))
    if role.lora is not None:
        head = {**head, "lora": role.lora}
    return prefix_group({**head, "instruction": role.name} if role.layout is Layout.CLASSIC else head)
