"""The option without a GPU: a small machine for search, knowledge and interface, and what it frees elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ansambl.domain.device import DeviceKind
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption
from ansambl.domain.purchase import Build, PurchaseOption
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.planner.placement.inputs import EMBEDDING_HELPER, PlanInputs
from ansambl.planner.placement.options import solve
from ansambl.planner.placement.refusals import Refusals
from ansambl.planner.placement.rules import OWN_RULE
from ansambl.planner.placement.variants import Variant, find_variants
from ansambl.planner.purchase.reasons import COMPARED, placed, speed_words, what_speaks_against

SEARCH_ONLY = "no-gpu"
"""The option's id."""

INTERFACE_BYTES = Bytes(812_000_000)
"""Resident memory of Open WebUI 0.12.4 with all it installs by itself, up and idle; 330 MB without its own models."""

INTERFACE_SOURCE = "resident memory of Open WebUI 0.12.4 when up, measured on Linux: 812 MB as installed, 330 MB slim"
"""Where `INTERFACE_BYTES` comes from."""


_SMALL = 1_000_000_000
"""Parameters of the largest embedding model that a machine for search is given."""


def search_machine(builds: Iterable[Build]) -> Build | None:
    """The cheapest machine without a GPU; None when no part is one."""
    plain = [one for one in builds if not one.machine.gpus]
    return min(plain, key=lambda one: (one.usd.middle, one.usd.high, one.id), default=None)


def search_option(
    inputs: PlanInputs, before: Plan, build: Build, *, budget: float | None, newest: str | None
) -> PurchaseOption:
    """What a machine for search, knowledge and interface would change; its gain in points for the roles is 0."""
    today = before.best
    there = _embedding_on(inputs, build)
    adds: list[Reason] = []
    against: list[Reason] = []
    if there is None:
        against.append(Reason("no-embedding", text("no embedding model fits on it: only the interface and the files of "
                                                   "knowledge move there"), OWN_RULE))  # fmt: skip
    else:
        adds.append(Reason("search", text("search runs there, with {model}; it reads texts at: {speed}",
                                          model=_title(there), speed=speed_words(there.speed.prefill)),
                           there.candidate.source))  # fmt: skip
        adds.extend(_freed(inputs, today))
        against.extend(_weaker_search(today, there))
    interface = text(
        "Open WebUI and knowledge run there: on the strong machine they would take {size} of RAM",
        size=format_bytes(INTERFACE_BYTES),
    )
    adds.append(Reason("interface", interface, INTERFACE_SOURCE))
    adds.append(Reason("always-on", text("it may stay on while the strong machine sleeps"), OWN_RULE))
    against.append(
        Reason("no-strength", text("answers do not get stronger: no chat model of use runs on it"), OWN_RULE)
    )
    if budget is not None and build.usd.high > budget:
        against.append(Reason("over-budget", text("at {usd} USD it is over the budget", usd=f"{build.usd.high:.0f}"),
                              "--budget"))  # fmt: skip
    against.extend(what_speaks_against(build, two_machines=True, newest=newest))
    return PurchaseOption(
        SEARCH_ONLY, text("No GPU: search, knowledge and interface only ({machine})", machine=build.title), build,
        best=there, adds=tuple(adds), against=tuple(against),
    )  # fmt: skip


def _embedding_on(inputs: PlanInputs, build: Build) -> PlannedPlacement | None:
    """The best small embedding placement on the build alone that leaves room for the interface.

    Small, since such a machine has a small processor, whose speed at reading nobody tells.
    """
    question = replace(inputs, machines=(build.machine,), helpers=(EMBEDDING_HELPER,))
    role = EMBEDDING_HELPER.name
    room = build.machine.ram.memory // 2
    able: list[tuple[float, Variant]] = []
    for one in find_variants(question, Refusals()):
        points = one.points.get(role)
        small = one.placement.candidate.architecture.parameters <= _SMALL
        if points is not None and small and sum(one.taken.values()) + INTERFACE_BYTES <= room:
            able.append((points, one))
    best = max(able, key=lambda pair: (pair[0], tuple(map(str, pair[1].key))), default=None)
    return best[1].placement if best else None


def _freed(inputs: PlanInputs, today: PlanOption | None) -> Iterable[Reason]:
    """What leaves the machines that one has: the embedding model's own bytes, and what they would hold instead."""
    if today is None:
        return
    embedding = placed(today, EMBEDDING_HELPER.name)
    if embedding is None:
        yield Reason("search-at-all", text("search in knowledge works at all: today there is no room for an embedding "
                                           "model"), COMPARED)  # fmt: skip
        return
    for device in embedding.footprint.devices:
        freed = device.needed.expected
        if freed <= 0:
            continue
        yield Reason("freed", text("{model} leaves {machine}: {size} of {device} become free", model=_title(embedding),
                                   machine=embedding.machine.title, size=format_bytes(freed),
                                   device=text("RAM") if device.kind is DeviceKind.RAM else device.name),
                     embedding.candidate.source)  # fmt: skip
        if device.kind is DeviceKind.GPU:
            yield from _longer(inputs, today, embedding, device.index, freed)
    yield from _stronger(inputs, today)


def _longer(
    inputs: PlanInputs, today: PlanOption, embedding: PlannedPlacement, index: int, freed: int
) -> Iterable[Reason]:
    """How much more context the freed bytes of a GPU hold for the model of the first role there."""
    for role in inputs.roles:
        main = placed(today, role.name)
        if main is None or main.machine.name != embedding.machine.name:
            continue
        device = next(
            (one for one in main.footprint.devices if one.kind is DeviceKind.GPU and one.index == index), None
        )
        if device is None or device.kv_needed.expected <= 0:
            continue
        tokens = freed * main.context * main.parallel // device.kv_needed.expected
        yield Reason("context", text("that holds about {tokens} tokens more for {model}, as far as it was made for "
                                     "them", tokens=tokens, model=_title(main)),
                     "its KV cache for each token of the planned context")  # fmt: skip
        return


def _stronger(inputs: PlanInputs, today: PlanOption) -> Iterable[Reason]:
    """Whether roles run on other models when no embedding model must find room beside them."""
    helpers = tuple(one for one in inputs.helpers if one.name != EMBEDDING_HELPER.name)
    alone = solve(replace(inputs, helpers=helpers)).best
    if alone is None:
        return
    changed = [
        f"{role.name}: {_title(after)}" for role in inputs.roles
        if (after := placed(alone, role.name)) is not None and (before := placed(today, role.name)) is not None
        and after.candidate != before.candidate
    ]  # fmt: skip
    if changed:
        yield Reason(
            "stronger", text("with that room the plan chooses anew: {roles}", roles=", ".join(changed)), COMPARED
        )


def _weaker_search(today: PlanOption | None, there: PlannedPlacement) -> Iterable[Reason]:
    """Whether the embedding model there is smaller than the one of today's plan."""
    now = None if today is None else placed(today, EMBEDDING_HELPER.name)
    if now is not None and there.candidate.architecture.parameters < now.candidate.architecture.parameters:
        words = text(
            "its embedding model is smaller than {model} of today's plan, and all texts must be embedded anew",
            model=_title(now),
        )
        yield Reason("weaker-search", words, OWN_RULE)


def _title(placement: PlannedPlacement) -> str:
    return f"{placement.candidate.title} {placement.candidate.quantization}"
