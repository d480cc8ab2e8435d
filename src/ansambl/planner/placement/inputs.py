"""What a plan is made from: machines, checkpoints, roles and wishes. Records only; whoever asks has read the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ansambl.domain.catalog import CatalogModel
from ansambl.domain.compatibility import CompatibilityFacts
from ansambl.domain.device import PlannedMachine
from ansambl.domain.engine import EngineTraits
from ansambl.domain.errors import UsageError
from ansambl.domain.planning import USUAL_CONTEXT, Candidate, Goal
from ansambl.domain.text import text
from ansambl.planner.memory.inputs import LONGEST_CONTEXT, MOST_PARALLEL
from ansambl.planner.memory.kv import element_bytes
from ansambl.planner.placement.rules import WorthRules

DEFAULT_REQUESTS_PER_HOUR = 20.0
"""Requests an hour over all roles that swaps are counted with; an assumption of ours, and shown as one."""

MOST_ROLES = 32
"""Roles of one plan; every role multiplies the program's columns."""


class Wants(StrEnum):
    """What a role needs most of its model.

    Depth is strong answers, speed quick ones; embedding and task are helpers beside the roles: vectors for search, and
    short replies such as titles.
    """

    DEPTH = "depth"
    SPEED = "speed"
    CODE = "code"
    CHAT = "chat"
    EMBEDDING = "embedding"
    TASK = "task"


HELPERS = frozenset({Wants.EMBEDDING, Wants.TASK})
"""Wants that no option fails over: they are served where there is room."""


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """A role as a plan sees it.

    Roles with equal `head` material (tools, effort, response format) form a prefix group. `tools` says that the model
    must be able to call tools, `at_once` that the role answers in a council at the same time as the others that are
    marked so. `weight` is the role's share of the requests. `follows` names a role with equal `wants` and `head` on
    whose placement this one runs too, wherever that is.

    Raises:
        UsageError: the weight is not a positive number.
    """

    name: str
    wants: Wants
    head: str = ""
    tools: bool = False
    at_once: bool = False
    weight: float = 1.0
    follows: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1000:
            raise UsageError(
                text("role {role}: weight is {value}; give a number above 0, at most 1000", role=self.name,
                     value=self.weight)
            )  # fmt: skip

    @property
    def helper(self) -> bool:
        """Whether options may do without it."""
        return self.wants in HELPERS


EMBEDDING_HELPER = RoleNeed("embedding", Wants.EMBEDDING, weight=0.5)
"""Vectors for search in knowledge."""
TASK_HELPER = RoleNeed("tasks", Wants.TASK, weight=0.5)
"""Titles, tags and other short replies; without a placement of its own any resident chat model answers them."""


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """One question to the planner.

    `context` is tokens for each sequence, `parallel` sequences at once of one placement, `prompt` tokens of a typical
    prefill. `candidates` are the checkpoints to choose from, `sizeless` models of the catalog that have none. `engines`
    are those that may be used, `rows` the facts of compatibility (None: nothing is judged), `versions` the engines'
    versions where they are known. `pinned` names models that every option must hold, `models` (when not empty) the only
    ones that roles may run on. `settings` are engine settings that are fixed, by engine.

    Raises:
        UsageError: a number or the KV type makes no sense, two roles have one name, or there is no machine or no role.
    """

    machines: tuple[PlannedMachine, ...]
    candidates: tuple[Candidate, ...]
    roles: tuple[RoleNeed, ...]
    engines: tuple[EngineTraits, ...]
    goal: Goal = Goal.BALANCED
    context: int = USUAL_CONTEXT
    parallel: int = 1
    prompt: int = 1024
    kv_type: str = "f16"
    language: str | None = None
    helpers: tuple[RoleNeed, ...] = (EMBEDDING_HELPER, TASK_HELPER)
    rows: CompatibilityFacts | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pinned: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sizeless: tuple[CatalogModel, ...] = ()
    requests_per_hour: float = DEFAULT_REQUESTS_PER_HOUR
    worth: WorthRules = field(default_factory=WorthRules)

    def __post_init__(self) -> None:
        for name, value, most in (
            ("context", self.context, LONGEST_CONTEXT),
            ("parallel", self.parallel, MOST_PARALLEL),
            ("prompt", self.prompt, LONGEST_CONTEXT),
        ):
            if not 1 <= value <= most:
                raise UsageError(
                    text("{name} is {value}; give a whole number from 1 to {most}", name=name, value=value, most=most)
                )
        element_bytes(self.kv_type)
        if not 0 < self.requests_per_hour <= 1e6:
            raise UsageError(
                text("requests_per_hour is {value}; give a number above 0, at most 1000000",
                     value=self.requests_per_hour)
            )  # fmt: skip
        if not self.machines:
            raise UsageError(text("there is no machine to plan for; name one with --machine"))
        leading = {role.name: role for role in self.roles if role.follows is None}
        if not leading or len(leading) > MOST_ROLES:
            raise UsageError(
                text("a plan is made for 1 to {most} roles, and there are {count}; name them with --roles",
                     most=MOST_ROLES, count=len(leading))
            )  # fmt: skip
        for role in self.roles:
            if role.follows is not None and role.follows not in leading:
                raise UsageError(
                    text("role {role} follows '{leader}', which leads no plan", role=role.name, leader=role.follows)
                )
        names = [role.name for role in (*self.roles, *self.helpers)]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(text("role {role} is named twice; name it once", role=name))


def distinct_machines(machines: tuple[PlannedMachine, ...]) -> tuple[PlannedMachine, ...]:
    """The machines with names that differ: the second of two alike gets a number."""
    seen: dict[str, int] = {}
    renamed = []
    for one in machines:
        seen[one.name] = seen.get(one.name, 0) + 1
        renamed.append(one if seen[one.name] == 1 else replace(one, name=f"{one.name}-{seen[one.name]}"))
    return tuple(renamed)
