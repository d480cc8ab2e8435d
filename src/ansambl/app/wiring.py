"""Joins the parts: from settings and a data folder to the objects that answer requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from ansambl.access.door import Door, OpenDoor
from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings import EMBEDDED
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import attachments, conversation_budget
from ansambl.app.footprints import Footprints, rules_of
from ansambl.app.front import Front
from ansambl.app.instance_making import InstanceMaker, Workshop
from ansambl.app.knowledge.answering import knowledge_in_use
from ansambl.app.knowledge.jobs import JobDesk
from ansambl.app.knowledge.keeper import KnowledgeKeeper
from ansambl.app.knowledge.running import RunningKnowledge
from ansambl.app.measuring import Recorder
from ansambl.app.model_details import DetailsBook, model_details
from ansambl.app.model_memory import OtherPrograms, devices_of
from ansambl.app.plan_checks import check_plan
from ansambl.app.templates import ModelTemplates, model_templates
from ansambl.domain.errors import AnsamblError
from ansambl.domain.plan import Attachment
from ansambl.foundation.clock import RealClock
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database
from ansambl.gateway.observing.contents_log import ContentsLog
from ansambl.gateway.observing.request_log import RequestLog
from ansambl.gateway.routes import Gateway
from ansambl.hardware import inventory
from ansambl.roles.knowledge.in_use import KnowledgeInUse
from ansambl.roles.records import RoleCatalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.trials import Trials
from ansambl.roles.turns import TurnMemory
from ansambl.runtime.attached_instance import AttachedInstance
from ansambl.runtime.conversations.conversations import Conversations
from ansambl.runtime.conversations.store import ConversationStore
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.deferred_instance import DeferredInstance
from ansambl.runtime.engine.loras import LoraSource
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.known_facts import FactsOf
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.measurements import MeasurementStore
from ansambl.runtime.recovery import recover
from ansambl.runtime.run_files import remove_leftover_files
from ansambl.runtime.scheduling.records import InstanceFacts
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.store import RuntimeStore
from ansambl.runtime.upstream import Upstream
from ansambl.runtime.usage import UsageBook


@dataclass(slots=True)
class Product:
    """The running parts, joined. A reload puts others in the place of those that a configuration decides.

    `attached` are the models that somebody else runs, by name; `knowledge` is opened by whoever asks it first,
    `answering` is it as roles use it; `front` is what stands before the faces.
    """

    catalog: RoleCatalog
    resolver: Resolver
    service: RoleService
    coordinator: Coordinator
    gateway: Gateway
    events: EventLog
    lora_source: LoraSource
    maker: InstanceMaker
    footprints: Footprints
    templates: ModelTemplates
    details: DetailsBook
    attached: Mapping[str, Attachment]
    usage: UsageBook
    conversations: Conversations
    knowledge: RunningKnowledge
    answering: KnowledgeInUse
    door: Door = field(default_factory=OpenDoor)
    front: Front = field(default_factory=Front)
    knowledge_jobs: JobDesk = field(default_factory=JobDesk)
    trials: Trials = field(default_factory=Trials)
    keeper: KnowledgeKeeper = field(init=False)

    def __post_init__(self) -> None:
        """What keeps knowledge complete does nothing before it is started."""
        self.keeper = KnowledgeKeeper(self.knowledge, self.knowledge_jobs)

    def save(self) -> None:
        """Have what was counted and remembered written; the database's `close` waits for it."""
        self.usage.write()
        self.service.save()


def footprints_of(maker: InstanceMaker) -> Footprints:
    """What the scheduler is told of the instances of a configuration."""
    shop, settings = maker.workshop, maker.loaded.settings
    devices = cache(lambda: devices_of(shop.machine(), settings.budget))
    return Footprints(maker.loaded, maker.placement, shop.machine, devices, shop.paths.database, shop.events)


def needs_embedded(loaded: LoadedSettings) -> bool:
    """Whether a configured model runs on the embedded checkpoint."""
    return any(one.checkpoint == EMBEDDED for one in loaded.settings.models.values())


async def build(
    loaded: LoadedSettings, paths: DataPaths, database: Database, *, offered: Attachment | None = None,
    door: Door | None = None, front: Front | None = None,
) -> Product:  # fmt: skip
    """Join everything. Engines that outlived an earlier Ansambl are adopted or ended here; none is started yet.

    `door` lets requests in; without one whoever asks is the owner. `front` is what stands before the faces.

    Raises:
        ConfigurationError: the configuration contradicts itself.
        NotSupportedError: the pinned models do not fit together.
    """
    clock = RealClock()
    catalog = catalog_of(loaded, offered)
    store = RuntimeStore(database)
    events = EventLog(store, clock)
    measurements = MeasurementStore(database)
    attached = (offered,) if offered is not None else attachments(loaded)
    machine = cache(inventory.detect)
    workshop = Workshop(
        paths, LocalLauncher(), store, events, clock, StateFolders(paths.root),
        Recorder(measurements, machine, clock), machine,
    )  # fmt: skip
    maker = InstanceMaker.of(loaded, workshop)
    footprints = footprints_of(maker)
    run_here = () if offered is not None else maker.models()
    if offered is None:
        # Before engines that still run are looked at: a plan that is refused must not end them.
        await check_plan(loaded, footprints)
    # To look for an engine may take seconds, so only those are looked for that may have outlived us.
    left = await store.handles()
    wanted = await asyncio.to_thread(maker.digests, tuple(name for name in run_here if name in left))
    adopted = await recover(store, wanted, launcher=workshop.launcher, events=events, logs=paths.logs, clock=clock)
    maker.adopted = dict(adopted)
    in_use = [one.state_folder for one in adopted.values() if one.state_folder is not None]
    await asyncio.to_thread(workshop.states.remove_leftovers, in_use)
    still_run = [Path(one.log_path) for one in adopted.values()]
    await asyncio.to_thread(remove_leftover_files, paths.logs, still_run)
    instances: list[Instance] = [AttachedInstance(one, events=events, clock=clock) for one in attached]
    for name in run_here:
        deferred = maker.deferred(name)
        if name in adopted:
            # Made at once, so that its engine is ended at the stop also when nobody asked for it.
            deferred.prepare()
        instances.append(deferred)
    order = {name: position for position, name in enumerate(catalog.models)}
    instances.sort(key=lambda one: order[one.model])
    adapters = await asyncio.to_thread(lambda: [one for name in run_here for one in maker.loras.for_model(name)])
    catalog = replace(catalog, loras={one.name: one for one in adapters})
    product: Product | None = None

    def in_effect() -> Footprints:
        return footprints if product is None else product.footprints

    async def facts(model: str) -> InstanceFacts:
        try:
            return await in_effect().facts(model)
        except AnsamblError as error:
            instance = coordinator.instance(model)
            if isinstance(instance, DeferredInstance):
                instance.cannot(error.message)
            raise

    coordinator, conversations = await _coordinator(
        loaded, instances, footprints, workshop, database, facts, lambda: in_effect().ram_for_one()
    )
    await coordinator.adopt(adopted)
    turns = TurnMemory(database, clock=clock)
    templates, details = _looked_up(loaded, paths, attached)
    service = RoleService(
        catalog,
        turns,
        common_instruction=loaded.settings.prompt.common_instruction,
        templates=templates,
        details=details,
        clock=clock,
    )
    settings, usage = loaded.settings, UsageBook(database, clock)
    resolver, knowledge = Resolver(catalog), RunningKnowledge(loaded, paths, coordinator)
    answering, trials = knowledge_in_use(knowledge, door), Trials(clock)
    gateway = Gateway(
        resolver, service, coordinator, body_limit=settings.gateway.max_body,
        recognises_tasks=settings.tasks.recognise, observed=coordinator, usage=usage, door=door,
        requests=RequestLog(paths.logs, writes=settings.gateway.log_requests),
        contents=ContentsLog(paths.logs, writes=settings.gateway.log_contents), knowledge=answering,
        trials=trials,
    )  # fmt: skip
    product = Product(catalog, resolver, service, coordinator, gateway, events, maker.loras.for_model, maker,
                      footprints, templates, details, {one.model: one for one in attached}, usage, conversations,
                      knowledge, answering, door or OpenDoor(), front or Front(), trials=trials)  # fmt: skip
    return product


def _looked_up(
    loaded: LoadedSettings, paths: DataPaths, attached: Sequence[Attachment]
) -> tuple[ModelTemplates, DetailsBook]:
    """What is found in the background: the start waits for nothing that a prompt can do without."""
    templates, details = model_templates(loaded, paths, attached), model_details(loaded, paths)
    templates.look()
    details.look()
    return templates, details


async def _coordinator(
    loaded: LoadedSettings, instances: list[Instance], footprints: Footprints, shop: Workshop, database: Database,
    facts: FactsOf, kept_ram: Callable[[], int],
) -> tuple[Coordinator, Conversations]:  # fmt: skip
    """The coordinator of `instances`, and what keeps their conversations.

    `facts` and `kept_ram` ask about the configuration that is in effect by then.
    """
    settings, devices = loaded.settings, await asyncio.to_thread(lambda: footprints.devices)

    def engines() -> list[int]:
        return [one.pid for one in coordinator.statuses() if one.pid is not None]

    def prefill_speed(model: str) -> float | None:
        metrics = coordinator.instance(model).status().metrics
        return metrics.prefill_rate if metrics is not None else None

    conversations = Conversations(
        ConversationStore(database), shop.paths.conversations, conversation_budget(settings), shop.clock, shop.events,
        speed=prefill_speed,
    )  # fmt: skip
    await conversations.begin()
    others = OtherPrograms(devices, engines, kept=kept_ram)
    coordinator = Coordinator(
        instances, Upstream(), shop.clock, shop.events, facts=facts, totals=devices.whole,
        limits=devices.capacity, rules=rules_of(settings), foreign=others.foreign, conversations=conversations,
    )  # fmt: skip
    return coordinator, conversations
