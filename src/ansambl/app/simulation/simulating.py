"""The question "how would these requests fare?" as a user puts it, and its answer as a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.footprints import rules_of
from ansambl.app.simulation.machines import SimulatedMachine, load_basis, simulated_machine
from ansambl.app.simulation.trace_files import parse_trace, read_trace
from ansambl.domain.errors import UsageError
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.roles.records import RoleCatalog
from ansambl.roles.resolver import EnsembleTarget, Resolver, RoleTarget
from ansambl.runtime.scheduling.baselines import Fifo, LeastRecentlyUsed
from ansambl.runtime.scheduling.ledger import Ledger
from ansambl.runtime.scheduling.policy import Policy
from ansambl.runtime.scheduling.records import Refusal, Rules
from ansambl.runtime.scheduling.scheduler import Scheduler
from ansambl.runtime.simulate import SimulationResult, simulate, spread
from ansambl.runtime.simulated import Trace

OURS = "ansambl"
POLICIES: Mapping[str, Callable[[Ledger, Rules], Policy]] = {OURS: Scheduler, "fifo": Fifo, "lru": LeastRecentlyUsed}
"""The policies by name, ours first."""

_UNSERVED = frozenset({Refusal.NO_MODEL_FOR_TASK, Refusal.EXPIRED})


@dataclass(frozen=True, slots=True)
class SimulationQuestion:
    """What ``ansambl simulate`` was asked. `trace` is a file, a shipped name or "-"; None of `machine` is this one."""

    trace: str
    machine: str | None = None
    policies: tuple[str, ...] = (OURS,)


@dataclass(frozen=True, slots=True)
class SimulationAnswer:
    """What became of the trace under each policy."""

    machine: SimulatedMachine
    rules: Rules
    results: Mapping[str, SimulationResult]


def answer_simulation(
    question: SimulationQuestion, config: Path | None = None, *, given: BinaryIO | None = None
) -> SimulationAnswer:
    """Simulate the trace under each policy that was asked for; `given` are its lines, where it is no file.

    Raises:
        AnsamblError: the configuration, the trace, the machine or a policy is wrong; a model of the trace cannot be
            simulated there.
    """
    for name in question.policies:
        if name not in POLICIES:
            raise UsageError(
                text("there is no policy '{name}'; choose one of {known}", name=name[:40], known=", ".join(POLICIES))
            )
    loaded = load_settings(config)
    machine = simulated_machine(loaded, question.machine, config)
    finder = model_finder(catalog_of(loaded), machine)
    trace = read_trace(question.trace, finder) if given is None else parse_trace(given, question.trace, finder)
    rules = rules_of(loaded.settings)
    results = {name: run_policy(name, machine, rules, trace) for name in question.policies}
    return SimulationAnswer(machine, rules, results)


def run_policy(name: str, machine: SimulatedMachine, rules: Rules, trace: Trace) -> SimulationResult:
    """What becomes of a trace under one policy."""
    policy = POLICIES[name](Ledger(machine.whole, machine.capacity), rules)
    return simulate(policy, machine.instances.values(), trace)


def model_finder(catalog: RoleCatalog, machine: SimulatedMachine) -> Callable[[str], str]:
    """Finds the model that answers what is asked under a name; it raises AnsamblError where none can be simulated."""
    resolver = Resolver(catalog)

    def model_of(name: str) -> str:
        target = resolver.resolve(name)
        if isinstance(target, EnsembleTarget):
            raise UsageError(
                text("'{name}' is an ensemble, which asks several roles; name each role or model in a line of its own",
                     name=name)
            )  # fmt: skip
        model = catalog.model_of(target.role) if isinstance(target, RoleTarget) else target.model.name
        if model is not None and model in machine.unknown:
            raise machine.unknown[model]
        if model is None or model not in machine.instances:
            raise UsageError(text("no model of the configuration answers '{name}'", name=name))
        return model

    return model_of


def simulation_document(answer: SimulationAnswer, policy: str, speak: Callable[[str], str]) -> dict[str, Any]:
    """What ``simulate --json`` prints of one policy; its keys are a stable interface (DESIGN section 10)."""
    result = answer.results[policy]
    refused: dict[str, int] = {}
    for (request_class, refusal), count in result.refused.items():
        if refusal is not Refusal.EXPIRED and not _replied(request_class, refusal):
            refused[refusal.value] = refused.get(refusal.value, 0) + count
    return {
        "policy": policy,
        "requests": result.requests,
        "answered": result.answered,
        "expired": sum(count for (_, refusal), count in result.refused.items() if refusal is Refusal.EXPIRED),
        "swaps": result.swaps,
        "swaps_by_background": result.swaps_by_background,
        "wait_seconds": {one.value: dict(spread(result.waits[one])) for one in RequestClass},
        "output_tokens_per_second": round(result.output_tokens / result.seconds, 3) if result.seconds else 0.0,
        "idle_share": round(result.idle_seconds / result.seconds, 4) if result.seconds else 0.0,
        "seconds": round(result.seconds, 3),
        "refused": refused,
        "tasks_with_built_in_reply": sum(
            count for (request_class, refusal), count in result.refused.items() if _replied(request_class, refusal)
        ),
        "first_token_seconds": {one.value: dict(spread(result.first_tokens[one])) for one in RequestClass},
        "longest_wait_allowed": answer.rules.longest_wait,
        "cached_share": round(result.cached_tokens / result.prompt_tokens, 4) if result.prompt_tokens else 0.0,
        "machine": answer.machine.machine.name,
        "models": {name: _model(answer.machine, name, result, speak) for name in answer.machine.instances},
    }


def _replied(request_class: RequestClass, refusal: Refusal) -> bool:
    """Whether the gateway answers with a built-in reply instead."""
    return request_class is RequestClass.TASK and refusal in _UNSERVED


def _model(
    machine: SimulatedMachine, name: str, result: SimulationResult, speak: Callable[[str], str]
) -> dict[str, Any]:
    instance, placed = machine.instances[name], machine.placements[name]
    return {
        "model": placed.candidate.model,
        "quantization": placed.candidate.quantization,
        "engine": placed.engine,
        "context": placed.context,
        "parallel": placed.parallel,
        "reserved_bytes": dict(instance.facts.needs),
        "loads": result.loads.get(name, 0),
        "load_seconds": round(instance.facts.load_seconds, 3),
        "load_basis": load_basis(machine, name).render(speak),
        "decode_tokens_per_second": round(instance.decode, 2),
        "all_at_once_tokens_per_second": round(instance.together or instance.decode, 2),
        "prefill_tokens_per_second": round(instance.prefill, 1),
    }
