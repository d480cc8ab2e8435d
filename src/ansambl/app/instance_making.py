"""Makes the instances of one configuration: those that run here, each when its checkpoint can be opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from weakref import WeakKeyDictionary

from ansambl.app.configuration.settings import AUTO, EMBEDDED, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import engine_name, parallel_of
from ansambl.app.engine_checks import check_start
from ansambl.app.engine_choice import EngineFinder, place
from ansambl.app.lora_book import LoraBook
from ansambl.app.measuring import Recorder
from ansambl.app.memory_explanations import MemoryExplainer
from ansambl.app.model_memory import devices_of
from ansambl.domain.errors import AnsamblError
from ansambl.domain.hardware import Machine
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import Clock
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.processes import family
from ansambl.hardware import inventory
from ansambl.hardware.cgroups import oom_kills
from ansambl.hardware.probes.gpu_processes import held_on_gpus
from ansambl.hardware.probes.gpu_use import used_on_gpus
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.runtime.deferred_instance import DeferredInstance
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.engine.watchers import Watchers
from ansambl.runtime.events import EventLog
from ansambl.runtime.instance import Instance
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.recovery import Adopted
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.store import RuntimeStore


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every instance is made with, whatever the configuration. `machine` looks at the hardware, at most once."""

    paths: DataPaths
    launcher: LocalLauncher
    store: RuntimeStore
    events: EventLog
    clock: Clock
    states: StateFolders
    recorder: Recorder
    machine: Callable[[], Machine]


@dataclass(slots=True)
class InstanceMaker:
    """Makes the instances of the models that run here. Its calls block, since they look at files and for engines.

    `adopted` are engines of an earlier Ansambl; each is taken over by the first instance of its model. `made` is what
    instances that were needed were made from, with the real ones.
    """

    loaded: LoadedSettings
    workshop: Workshop
    finder: EngineFinder
    loras: LoraBook
    adopted: dict[str, Adopted] = field(default_factory=dict)
    made: WeakKeyDictionary[DeferredInstance, tuple[Placement, EngineInstance]] = field(
        default_factory=WeakKeyDictionary
    )

    @classmethod
    def of(cls, loaded: LoadedSettings, workshop: Workshop) -> InstanceMaker:
        """The maker of a configuration that looks for engines anew."""
        finder = EngineFinder(loaded, workshop.paths, workshop.machine)
        return cls(loaded, workshop, finder, LoraBook(workshop.paths, loaded, finder))

    def renewed(self, loaded: LoadedSettings) -> InstanceMaker:
        """The maker of another configuration, which knows what this one made."""
        found = InstanceMaker.of(loaded, self.workshop)
        found.adopted, found.made = self.adopted, self.made
        return found

    def follow(self, instance: Instance) -> None:
        """Let an instance that stays have what of the settings needs no other start."""
        made = self.made.get(instance) if isinstance(instance, DeferredInstance) else None
        if made is not None:
            made[1].silence = self.loaded.settings.recovery.silence

    def models(self) -> tuple[str, ...]:
        """The models that run here."""
        return tuple(name for name, one in self.loaded.settings.models.items() if one.address is None)

    def digests(self, models: Sequence[str]) -> dict[str, str]:
        """What a running engine must have been started from to be adopted; a model that cannot run now is left out."""
        found = {}
        for name in models:
            try:
                found[name] = _digest(self.placement(name))
            except AnsamblError:
                continue
        return found

    def is_as_made(self, instance: DeferredInstance) -> bool | None:
        """Whether what the instance was made from is what would be made now; None for one that was not needed yet.

        LoRA adapters do not count: those of a running instance are replaced without ending it.
        """
        made = self.made.get(instance)
        if made is None:
            return None
        placed = made[0]
        try:
            return _digest(replace(self.placement(instance.model), loras=placed.loras)) == _digest(placed)
        except AnsamblError:
            return False

    def deferred(self, name: str) -> DeferredInstance:
        """The instance of a model, which is made when it is needed."""
        configured = self.loaded.settings.models[name]

        def make() -> EngineInstance:
            placed = self.placement(name)
            made = self._make(placed)
            self.made[found] = placed, made
            return made

        parallel = parallel_of(configured, self.loaded.settings.budget)
        found = DeferredInstance(name, _shown_engine(configured), parallel, make)
        return found

    def placement(self, name: str) -> Placement:
        """How a model is to be run.

        Raises:
            AnsamblError: it cannot be.
        """
        paths = self.workshop.paths
        reference = self.loaded.settings.models[name].checkpoint
        checkpoint = open_checkpoint(reference, paths.models) if reference else None
        loras = self.loras.for_model(name, checkpoint) if checkpoint is not None else ()
        return place(self.loaded, name, checkpoint, self.finder, loras)

    def _make(self, placed: Placement) -> EngineInstance:
        """The instance of a model; what is doubtful about its start is told as an event."""
        name, shop = placed.model, self.workshop
        adapter = get_engine(placed.engine)
        adopted = self.adopted.pop(name, None)
        if adopted is None:
            for warning in check_start(placed, adapter.traits, placed.installed, inventory.detect()):
                shop.events.add(name, "warning", warning)
        devices = devices_of(shop.machine(), self.loaded.settings.budget)
        explainer = MemoryExplainer(inventory.detect, lambda: oom_kills(inventory.SYSFS, inventory.PROCFS))
        return EngineInstance(
            placed, adapter, launcher=shop.launcher, store=shop.store, events=shop.events,
            log_folder=shop.paths.logs, clock=shop.clock, adopted=adopted, states=shop.states,
            on_ready=shop.recorder.on_ready, gpu_memory=_held_on_gpus,
            watchers=Watchers(shop.recorder.on_work, explainer.explain_more, used_on_gpus),
            silence=self.loaded.settings.recovery.silence, device_of=partial(devices.of, placed.vendor),
        )  # fmt: skip


def _digest(placed: Placement) -> str:
    # Which folder it is does not count; that there is one does, for commands that name it.
    return get_engine(placed.engine).launch_spec(replace(placed, state_folder="-"), port=0, secret="").digest


def _held_on_gpus(pid: int) -> Bytes | None:
    return held_on_gpus(family(pid))


def _shown_engine(model: ModelSettings) -> str:
    """What people are shown before the checkpoint was looked at, which decides where nobody named an engine."""
    reference = model.checkpoint or EMBEDDED
    undecided = model.engine == AUTO and model.command is None
    return AUTO if undecided and reference != EMBEDDED and not reference.endswith(".gguf") else engine_name(model)
