"""Joins the parts: from settings and a data folder to the objects that answer requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings import AUTO, EMBEDDED, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import (
    attachments,
    engine_name,
    parallel_of,
)
from ansambl.app.engine_checks import check_start
from ansambl.app.engine_choice import EngineFinder, place
from ansambl.app.lora_book import LoraBook
from ansambl.app.measuring import Recorder
from ansambl.app.memory_explanations import MemoryExplainer
from ansambl.app.templates import model_templates
from ansambl.domain.errors import AnsamblError
from ansambl.domain.plan import Attachment, Placement
from ansambl.domain.units import Bytes
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.processes import family
from ansambl.foundation.sqlite import Database
from ansambl.gateway.routes import Gateway
from ansambl.hardware import inventory
from ansambl.hardware.cgroups import oom_kills
from ansambl.hardware.probes.gpu_processes import held_on_gpus
from ansambl.hardware.probes.gpu_use import used_on_gpus
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.roles.records import RoleCatalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory
from ansambl.runtime.attached_instance import AttachedInstance
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.deferred_instance import DeferredInstance
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.engine.loras import LoraSource
from ansambl.runtime.engine.watchers import Watchers
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.measurements import MeasurementStore
from ansambl.runtime.recovery import Adopted, recover
from ansambl.runtime.run_files import remove_leftover_files
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.store import RuntimeStore
from ansambl.runtime.upstream import Upstream


@dataclass(slots=True)
class Product:
    """The running parts, joined."""

    catalog: RoleCatalog
    resolver: Resolver
    service: RoleService
    coordinator: Coordinator
    gateway: Gateway
    events: EventLog
    lora_source: LoraSource


def needs_embedded(loaded: LoadedSettings) -> bool:
    """Whether a configured model runs on the embedded checkpoint."""
    return any(one.checkpoint == EMBEDDED for one in loaded.settings.models.values())


async def build(
    loaded: LoadedSettings, paths: DataPaths, database: Database, *, offered: Attachment | None = None
) -> Product:
    """Join everything. Engines that outlived an earlier Ansambl are adopted or ended here; none is started yet.

    Raises:
        ConfigurationError: the configuration contradicts itself.
    """
    clock = RealClock()
    catalog = catalog_of(loaded, offered)
    store = RuntimeStore(database)
    events = EventLog(store, clock)
    measurements = MeasurementStore(database)
    launcher = LocalLauncher()
    attached = (offered,) if offered is not None else attachments(loaded)
    finder = EngineFinder(loaded, paths)
    maker = _InstanceMaker(
        loaded, paths, launcher, store, events, clock, StateFolders(paths.root), finder,
        LoraBook(paths, loaded, finder), Recorder(measurements, lambda: finder.machine, clock),
    )  # fmt: skip
    run_here = () if offered is not None else maker.models()
    # To look for an engine may take seconds, so only those are looked for that may have outlived us.
    left = await store.handles()
    wanted = await asyncio.to_thread(maker.digests, tuple(name for name in run_here if name in left))
    maker.adopted = await recover(store, wanted, launcher=launcher, events=events)
    in_use = [one.state_folder for one in maker.adopted.values() if one.state_folder is not None]
    await asyncio.to_thread(maker.states.remove_leftovers, in_use)
    still_run = [Path(one.log_path) for one in maker.adopted.values()]
    await asyncio.to_thread(remove_leftover_files, paths.logs, still_run)
    instances: list[Instance] = [AttachedInstance(one, events=events, clock=clock) for one in attached]
    for name in run_here:
        deferred = maker.deferred(name)
        if name in maker.adopted:
            # Made at once, so that its engine is ended at the stop also when nobody asked for it.
            deferred.prepare()
            if loaded.settings.models[name].ttl is not None:
                # Or it would stay for ever when nobody asks for it.
                deferred.take_over()
        instances.append(deferred)
    order = {name: position for position, name in enumerate(catalog.models)}
    instances.sort(key=lambda one: order[one.model])
    adapters = await asyncio.to_thread(lambda: [one for name in run_here for one in maker.loras.for_model(name)])
    catalog = replace(catalog, loras={one.name: one for one in adapters})
    coordinator = Coordinator(instances, Upstream(), clock, events)
    turns = TurnMemory(database, clock=clock)
    templates = model_templates(loaded, paths, attached)
    # In a thread: the start waits for nothing that a prompt can do without.
    templates.look()
    service = RoleService(
        catalog, turns, common_instruction=loaded.settings.prompt.common_instruction, templates=templates, clock=clock
    )
    resolver = Resolver(catalog)
    gateway = Gateway(resolver, service, coordinator, body_limit=loaded.settings.gateway.max_body)
    return Product(catalog, resolver, service, coordinator, gateway, events, maker.loras.for_model)


@dataclass(slots=True)
class _InstanceMaker:
    """Makes the instances that run here, each when its checkpoint can be opened."""

    loaded: LoadedSettings
    paths: DataPaths
    launcher: LocalLauncher
    store: RuntimeStore
    events: EventLog
    clock: Clock
    states: StateFolders
    finder: EngineFinder
    loras: LoraBook
    recorder: Recorder
    adopted: Mapping[str, Adopted] = field(default_factory=dict)

    def models(self) -> tuple[str, ...]:
        return tuple(name for name, one in self.loaded.settings.models.items() if one.address is None)

    def digests(self, models: tuple[str, ...]) -> dict[str, str]:
        """What a running engine must have been started from to be adopted; a model that cannot run now is left out."""
        found = {}
        for name in models:
            try:
                # Which folder it is does not count; that there is one does, for commands that name it.
                placed = replace(self._placement(name), state_folder="-")
                found[name] = get_engine(placed.engine).launch_spec(placed, port=0, secret="").digest
            except AnsamblError:
                continue
        return found

    def deferred(self, name: str) -> DeferredInstance:
        configured = self.loaded.settings.models[name]
        return DeferredInstance(name, _shown_engine(configured), parallel_of(configured), lambda: self._make(name))

    def _placement(self, name: str) -> Placement:
        reference = self.loaded.settings.models[name].checkpoint
        checkpoint = open_checkpoint(reference, self.paths.models) if reference else None
        loras = self.loras.for_model(name, checkpoint) if checkpoint is not None else ()
        return place(self.loaded, name, checkpoint, self.finder, loras)

    def _make(self, name: str) -> EngineInstance:
        placed = self._placement(name)
        adapter = get_engine(placed.engine)
        if name not in self.adopted:
            for warning in check_start(placed, adapter.traits, placed.installed, inventory.detect()):
                self.events.add(name, "warning", warning)
        explainer = MemoryExplainer(inventory.detect, lambda: oom_kills(inventory.SYSFS, inventory.PROCFS))
        return EngineInstance(
            placed, adapter, launcher=self.launcher, store=self.store, events=self.events,
            log_folder=self.paths.logs, clock=self.clock, adopted=self.adopted.get(name), states=self.states,
            on_ready=self.recorder.on_ready, gpu_memory=_held_on_gpus,
            watchers=Watchers(self.recorder.on_work, explainer.explain_more, used_on_gpus),
        )  # fmt: skip


def _held_on_gpus(pid: int) -> Bytes | None:
    return held_on_gpus(family(pid))


def _shown_engine(model: ModelSettings) -> str:
    """What people are shown before the checkpoint was looked at, which decides where nobody named an engine."""
    reference = model.checkpoint or EMBEDDED
    undecided = model.engine == AUTO and model.command is None
    return AUTO if undecided and reference != EMBEDDED and not reference.endswith(".gguf") else engine_name(model)
