"""What the scheduler is told of an instance before it runs: its memory by device, how long it loads, how it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import is_unconfigured
from ansambl.app.engine_choice import card_of_repo
from ansambl.app.measuring import measurement_key
from ansambl.app.memory_parts import Parts, parts_of
from ansambl.app.model_memory import Devices
from ansambl.app.placement_forecast import PlacementForecast, forecast_placement, used_gpus
from ansambl.domain.catalog import ModelKind
from ansambl.domain.device import DeviceKind
from ansambl.domain.engine import NotUsable
from ansambl.domain.errors import UnknownNameError
from ansambl.domain.footprint import DeviceFootprint, Footprint, FootprintBasis
from ansambl.domain.hardware import Machine
from ansambl.domain.measurement import Measurement, machine_key
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.adapter import CanSleep
from ansambl.engines.registry import get_engine
from ansambl.planner.calibration import corrected
from ansambl.planner.families import LLAMA_CPP
from ansambl.runtime.events import EventLog
from ansambl.runtime.measurements import read_measurements
from ansambl.runtime.scheduling.records import RAM, InstanceFacts, Memory, Rules, SleepFacts

DISK_BYTES_PER_SECOND = 1e9
"""What a load reads from an SSD: a SATA one reads 0.55 GB/s, an NVMe one 3 to 7, and engines convert as they read."""
LINK_BYTES_PER_SECOND = 10e9
"""What an engine copies from RAM to a GPU: PCIe 4.0 x16 carries 25 GB/s, x8 or 3.0 x16 half, pageable memory less."""
START_SECONDS = 2.0
"""What a start takes beside the weights: llama.cpp's process and its first decode, measured on two cores."""
PYTHON_START_SECONDS = 20.0
"""The same for engines that import PyTorch and warm up: Transformers was seen to take 13 s, vLLM without a GPU 70 s."""
STOP_SECONDS, PYTHON_STOP_SECONDS = 1.0, 5.0
UNFORECAST = 1.2
"""What an engine of which no memory rule is known takes for each byte of its checkpoint: a KV cache and buffers beside
the weights. It counts only until the first load is measured."""
ASLEEP_ON_GPU = Bytes(2 * GIB)
"""What a sleeping vLLM keeps on each GPU where nothing was forecast: the driver's context and its CUDA graphs."""

_UNKNOWN = "unknown_memory"
_NO_CHAT = ("embed", "rerank", "whisper", "tts", "bge-", "gte-", "e5-")
"""What stands in the names of models that do not chat, for those of which nothing else is known."""

Places = Callable[[str], Placement]
"""How a model is to be run; raises AnsamblError where it cannot be. It may look for engines, so it blocks."""


def rules_of(settings: Settings) -> Rules:
    """The owner's rules as the scheduler takes them."""
    own, tasks = settings.scheduling, settings.tasks
    return Rules(
        queue_limit=own.queue_limit, longest_wait=own.longest_wait, longest_answer=own.longest_answer,
        swap_share=own.swap_share, batch_delay=own.batch_delay, background_patience=own.background_patience,
        task_patience=tasks.patience, together=tuple(frozenset(one) for one in own.together), task_model=tasks.model,
    )  # fmt: skip


class Footprints:
    """The facts of the instances of one configuration.

    Args:
        loaded: the configuration.
        places: how its models are run.
        machine: this machine's hardware.
        devices: what models may use of it.
        database: where measurements are kept.
        events: told once of each model whose memory nobody knows.
    """

    def __init__(
        self, loaded: LoadedSettings, places: Places, machine: Callable[[], Machine],
        devices: Callable[[], Devices], database: Path, events: EventLog,
    ) -> None:  # fmt: skip
        self._loaded = loaded
        self._places = places
        self._machine = machine
        self._devices = devices
        self._database = database
        self._events = events
        self._known: dict[str, InstanceFacts] = {}
        self._parts: dict[str, Parts] = {}

    @property
    def devices(self) -> Devices:
        """What models may use of this machine. The first look blocks."""
        return self._devices()

    def parts(self, model: str) -> Parts:
        """What its memory holds by device, as far as it was asked for its facts; nothing where nobody knows."""
        return self._parts.get(model, {})

    def ram_for_one(self) -> int:
        """Bytes of RAM that the pinned models and any one of the others need, of those that were asked about."""
        needs = [(one.pinned, one.needs.get(RAM, 0)) for one in tuple(self._known.values())]
        return sum(size for pinned, size in needs if pinned) + max((size for pinned, size in needs if not pinned),
                                                                   default=0)  # fmt: skip

    async def facts(self, model: str) -> InstanceFacts:
        """What is known of the instance of `model`; the headers of its files are read in a thread.

        Raises:
            AnsamblError: it cannot be made, as the making of it would say.
        """
        return await asyncio.to_thread(self.look, model)

    def look(self, model: str) -> InstanceFacts:
        """The same. Blocks.

        Raises:
            AnsamblError: it cannot be made.
        """
        found = self._known[model] = self._look(model)
        return found

    def _look(self, model: str) -> InstanceFacts:
        settings = self._loaded.settings.models.get(model)
        if settings is None and not is_unconfigured(self._loaded):
            # Taken out a moment ago: as a model that somebody else runs it would be started, and counted nowhere.
            raise UnknownNameError(text("No model is called '{name}' here.", name=model))
        if settings is None or settings.address is not None:
            name = (settings.name if settings else None) or model
            card = card_of_repo(name)
            chats = card.kind.answers if card is not None else not any(one in name.lower() for one in _NO_CHAT)
            parallel = settings.parallel if settings else None
            return InstanceFacts(model, places=parallel, chats=chats, ours=False, load_seconds=0.0, stop_seconds=0.0)
        placed, machine = self._places(model), self._machine()
        measured = self._measured(placed, machine)
        if placed.loras:
            # No earlier prompts are kept beside LoRA adapters.
            placed = replace(placed, prompt_cache=Bytes(0))
        same = next((one for one in measured if one.key == measurement_key(placed, machine)), None)
        found = forecast_placement(placed, machine)
        return InstanceFacts(
            model,
            needs=self._needs(placed, machine, found, same),
            places=placed.parallel,
            load_seconds=load_seconds(placed, measured),
            stop_seconds=STOP_SECONDS if placed.engine in LLAMA_CPP else PYTHON_STOP_SECONDS,
            pinned=settings.pinned,
            warm=settings.warm,
            chats=_answers(placed.kind),
            sleeps=self._sleeps(placed, found),
            ttl=None if settings.pinned else settings.ttl,
        )

    def _measured(self, placed: Placement, machine: Machine) -> tuple[Measurement, ...]:
        if placed.checkpoint is None:
            return ()
        return read_measurements(
            self._database, machine=machine_key(machine), checkpoints=[placed.checkpoint.identity],
            engines=[placed.engine],
        )  # fmt: skip

    def _needs(
        self, placed: Placement, machine: Machine, found: PlacementForecast | None, measured: Measurement | None
    ) -> Memory:
        """The newest measurement of the very same run, else the forecast, else what the checkpoint's size says."""
        devices = self._devices()
        if found is not None:
            footprint = found.footprint
            if measured is not None:
                grows = placed.prompt_cache if placed.engine in LLAMA_CPP else 0
                footprint = corrected(footprint, footprint, measured, grows=grows)
            on = _device_names(placed, machine, footprint, devices)
            self._parts[placed.model] = parts_of(footprint, on)
            return _reserved(placed, footprint, on, devices)
        self._parts.pop(placed.model, None)
        names = [devices.of(placed.vendor, index) for index in placed.gpus]
        if measured is not None and (measured.resident or measured.gpu_memory):
            ram = Bytes(max(measured.resident or 0, measured.speeds.peak or 0))
            return _joined([(RAM, ram), *_divided(names, measured.gpu_memory or Bytes(0))])
        if placed.checkpoint is not None:
            return _joined(_divided(names or [RAM], Bytes(round(placed.checkpoint.size * UNFORECAST))))
        if not any(one.kind == _UNKNOWN for one in self._events.recent(model=placed.model)):
            self._events.add(
                placed.model, _UNKNOWN,
                text("nobody knows how much memory its command will take; it counts as none until it was measured"),
            )  # fmt: skip
        return {}

    def _sleeps(self, placed: Placement, found: PlacementForecast | None) -> tuple[SleepFacts, ...]:
        """The levels at which its engine can sleep, with what is expected until a first sleep was measured.

        Level 1 keeps the weights in RAM and copies them back, level 2 reads them from the disk again. On each GPU the
        driver's context and the graphs stay (vllm-project/vllm issue 32714 tells of builds that keep more).
        """
        adapter = get_engine(placed.engine)
        if placed.checkpoint is None or not isinstance(adapter, CanSleep):
            return ()
        calls = adapter.sleep_calls(placed)
        if isinstance(calls, NotUsable):
            return ()
        devices = self._devices()
        weights, process = placed.checkpoint.size, _in_ram(found)
        residual = _divided([devices.of(placed.vendor, one) for one in placed.gpus],
                            Bytes(ASLEEP_ON_GPU * len(placed.gpus)))  # fmt: skip
        wake = {1: weights / LINK_BYTES_PER_SECOND, 2: weights / DISK_BYTES_PER_SECOND}
        kept = {1: Bytes(process + weights), 2: process}
        return tuple(
            SleepFacts(level, _joined([(RAM, kept.get(level, process)), *residual]), 0.5 + wake.get(level, wake[2]))
            for level in calls.levels
        )


def _answers(kind: ModelKind | None) -> bool:
    """Whether a model of this kind can answer tasks; one of which nothing is known is believed to."""
    return kind is None or kind.answers


def load_seconds(placed: Placement, measured: Sequence[Measurement]) -> float:
    """How long a load will take: as the newest one of these files on this engine took, else by their size."""
    newest = next((one.load_seconds for one in measured if one.load_seconds is not None), None)
    if newest is not None:
        return newest
    start = START_SECONDS if placed.engine in LLAMA_CPP else PYTHON_START_SECONDS
    return start + (placed.checkpoint.size / DISK_BYTES_PER_SECOND if placed.checkpoint else 0.0)


def _reserved(placed: Placement, footprint: Footprint, names: Sequence[str], devices: Devices) -> Memory:
    """What must be given to a run by device: all that its engine allocates, also of a KV cache that it fills.

    Of a forecast it is halfway between what is expected and the high end: more evicts other models for nothing (it
    counts only until the first load is measured), less ends in out-of-memory, which costs a load. Of a measurement it
    is the high end, which was seen.

    It never says by itself that a model cannot fit which may well run: where the likely size fits the device and the
    margin does not, it is the device. Without a budget, pages of a file in RAM do not count for that, since an engine
    that maps more than there is becomes slow and runs.
    """
    measured = footprint.basis is FootprintBasis.MEASURED
    wanted, least = dict[str, int](), dict[str, int]()
    for one, device in zip(footprint.devices, names, strict=True):
        total, back = one.total, one.reclaimable
        margin = total.high - total.expected
        wanted[device] = wanted.get(device, 0) + total.expected + (margin if measured else margin // 2) - back
        least[device] = least.get(device, 0) + _least(one, placed, measured=measured, limited=devices.limited(device))
    found = {}
    for device, size in wanted.items():
        most = devices.capacity.get(device, size)
        found[device] = Bytes(most if size > most >= least[device] else size)
    return found


def _least(device: DeviceFootprint, placed: Placement, *, measured: bool, limited: bool) -> int:
    """What must fit for the run to be tried at all."""
    total, back = device.total, device.reclaimable
    if limited:
        # What was held right after a load is known; of a forecast the low end would promise too much.
        return (total.low if measured else total.expected) - back
    if device.kind is DeviceKind.RAM and placed.engine in LLAMA_CPP:
        return total.low - device.weights.low
    return total.low - back


def _device_names(placed: Placement, machine: Machine, footprint: Footprint, devices: Devices) -> list[str]:
    """The scheduler's device of each part of a footprint, which counts the GPUs that the placement uses."""
    gpus = [devices.of(one.vendor, one.index) for one in used_gpus(placed, machine)]
    return [
        gpus[one.index] if one.kind is DeviceKind.GPU and one.index < len(gpus) else RAM for one in footprint.devices
    ]


def _in_ram(found: PlacementForecast | None) -> Bytes:
    """What the processes of the engine hold in RAM by the forecast."""
    parts = [one for one in found.footprint.devices if one.kind is DeviceKind.RAM] if found else []
    return Bytes(sum(one.total.expected - one.reclaimable for one in parts))


def _divided(names: Sequence[str], size: Bytes) -> list[tuple[str, Bytes]]:
    return [(name, Bytes(size // len(names))) for name in names]


def _joined(parts: Sequence[tuple[str, Bytes]]) -> Memory:
    found: dict[str, Bytes] = {}
    for device, size in parts:
        if size:
            found[device] = Bytes(found.get(device, 0) + size)
    return found
