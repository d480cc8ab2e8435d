"""What runs, as the admin API tells it: snapshots of instances and devices, with what the scheduler knows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict

from ansambl.api.schemas import DeviceDocument, InstanceDocument, KnowledgeStateDocument, SpeedDocument
from ansambl.app.memory_parts import Parts, divided
from ansambl.domain.engine import EngineMetrics
from ansambl.domain.instance import InstanceStatus
from ansambl.foundation.clock import Clock, RealClock
from ansambl.gateway.observing.runtime_metrics import Observed
from ansambl.knowledge.contract import State
from ansambl.runtime.scheduling.records import InstanceView, Residency
from ansambl.runtime.usage import Usage, UsageBook

Translate = Callable[[str], str]

PartsOf = Callable[[str], Parts]
"""What the memory of a model's instance holds by device, before it is measured against what is reserved."""


def instance_documents(
    statuses: Iterable[InstanceStatus], observed: Observed | None, usage: UsageBook | None, translate: Translate,
    clock: Clock | None = None, parts: PartsOf | None = None,
) -> list[InstanceDocument]:  # fmt: skip
    """All instances with what the scheduler's driver and the book of usage know of them, where there are such."""
    views: Mapping[str, InstanceView] = observed.views() if observed is not None else {}
    swaps: Mapping[str, int] = observed.counters.swaps if observed is not None else {}
    totals = usage.totals() if usage is not None else {}
    return [
        instance_document(
            one, translate, view=views.get(one.model), usage=totals.get(one.model), swaps=swaps.get(one.model, 0),
            clock=clock, parts=parts,
        )
        for one in statuses
    ]  # fmt: skip


def instance_document(
    status: InstanceStatus, translate: Translate, *, view: InstanceView | None = None, usage: Usage | None = None,
    swaps: int = 0, clock: Clock | None = None, parts: PartsOf | None = None,
) -> InstanceDocument:  # fmt: skip
    """A snapshot of an instance. `view` is the scheduler's, `usage` what clients used of it since the start."""
    fields = asdict(status)
    fields["state"] = status.state.value
    fields["message"] = status.message.render(translate) if status.message else None
    del fields["metrics"]
    metrics = status.metrics or EngineMetrics()
    document = InstanceDocument(
        **fields, swaps=swaps, speed=SpeedDocument(decode=metrics.decode_rate, prefill=metrics.prefill_rate),
        kv_cache_share=metrics.kv_cache_share, output_tokens=metrics.output_tokens,
        cached_share=_cached_share(metrics, usage),
    )  # fmt: skip
    if view is not None:
        document.residency = view.residency.value
        document.wanted = view.wanted
        document.reserved = dict(view.reserved)
        if parts is not None:
            asleep = view.residency is Residency.ASLEEP
            document.parts = divided(view.reserved, parts(status.model), asleep=asleep)
        document.pinned = view.pinned
        document.sleep_levels = list(view.sleep_levels)
        document.measured = view.measured
        document.waiting_by_class = {one.value: count for one, count in view.waiting_by_class.items() if count}
        document.running, document.waiting = view.running, view.waiting
        if document.rests_at is None and view.rests_at is not None:
            time = clock or RealClock()
            document.rests_at = time.now() + view.rests_at - time.monotonic()
    return document


def mark_pins(documents: list[InstanceDocument], pins: Mapping[str, bool]) -> list[InstanceDocument]:
    """The same documents, saying which instances are pinned, and by what; `pins` are those of this run by hand."""
    for one in documents:
        by_hand = pins.get(one.model)
        one.pinned = one.pinned if by_hand is None else by_hand
        one.pinned_by = None if not one.pinned else "hand" if by_hand else "configuration"
    return documents


def device_documents(observed: Observed | None) -> list[DeviceDocument]:
    """The devices as the ledger counts them; none where nobody does."""
    devices = observed.devices() if observed is not None else ()
    return [
        DeviceDocument(device=one.device, capacity=one.capacity, reserved=one.reserved, foreign=one.foreign)
        for one in devices
    ]


def knowledge_document(state: State | None) -> KnowledgeStateDocument | None:
    """How much knowledge there is; None where there is none."""
    if state is None:
        return None
    return KnowledgeStateDocument(
        documents=state.documents, passages=state.passages, pending=state.pending, model=state.model, index=state.index
    )


def _cached_share(metrics: EngineMetrics, usage: Usage | None) -> float | None:
    """By the engine's own count since its start, else by what its answers said since ours."""
    cached, computed = metrics.cached_prompt_tokens, metrics.prefilled_tokens
    if cached is not None:
        # What llama.cpp calls prompt tokens are those that it computed. Right after a start there are none.
        total = cached + computed if computed is not None else metrics.prompt_tokens
        if total:
            return min(1.0, cached / total)
    if usage is not None and usage.prompt_tokens:
        return usage.cached_tokens / usage.prompt_tokens
    return None
