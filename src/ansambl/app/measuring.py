"""From what the runtime tells of an engine to what is kept of it: on which machine, of which files, how it was set."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.app.placement_forecast import kv_type_of, memory_settings, used_gpus
from ansambl.domain.hardware import Machine
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.measurement import Measurement, MeasurementKey, Speeds, machine_key, setting_words
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.foundation.clock import Clock
from ansambl.runtime.measurements import MeasurementStore


def measurement_key(placement: Placement, machine: Machine) -> MeasurementKey | None:
    """What a measurement of the placement is found by; None for one without a checkpoint of its own."""
    checkpoint, installed = placement.checkpoint, placement.installed
    if checkpoint is None:
        return None
    return MeasurementKey(
        machine=machine_key(machine), engine=placement.engine, version=installed.version if installed else "",
        build=(installed.build if installed else None) or "", checkpoint=checkpoint.identity,
        context=placement.context, parallel=placement.parallel, kv_type=kv_type_of(placement),
        settings=setting_words(memory_settings(placement)),
        gpus=tuple(gpu.name or gpu.vendor for gpu in used_gpus(placement, machine)),
    )  # fmt: skip


def measured(load: LoadMeasurement, machine: Machine, time: float) -> Measurement | None:
    """What a start took, as it is kept; None when nothing can be told of it (no checkpoint, no figures).

    Of an engine whose log tells no parts, what it held before its first answer says too little to be kept.
    """
    checkpoint, key = load.placement.checkpoint, measurement_key(load.placement, machine)
    if checkpoint is None or key is None:
        return None
    memory = load.devices or ({"": load.memory} if load.memory else {})
    if not memory and not (load.answered and (load.resident or load.gpu_memory)):
        return None
    return Measurement(
        key=key, reference=checkpoint.reference, size=checkpoint.size, time=time, quantization=checkpoint.quantization,
        repo=checkpoint.repo, architecture=checkpoint.architecture,
        memory={device: {part: Bytes(size) for part, size in parts.items()} for device, parts in memory.items()},
        resident=load.resident, gpu_memory=load.gpu_memory, load_seconds=load.load_seconds, kv_tokens=load.kv_tokens,
        speeds=Speeds(peak=load.resident),
    )  # fmt: skip


class Recorder:
    """Keeps what engines took and did. Both methods return at once; the machine is looked at in the writing thread.

    Args:
        store: where it is kept.
        machine: this machine's hardware.
        clock: time.
    """

    def __init__(self, store: MeasurementStore, machine: Callable[[], Machine], clock: Clock) -> None:
        self._store = store
        self._machine = machine
        self._clock = clock

    def on_ready(self, load: LoadMeasurement) -> None:
        """A start that became ready, or that answered for the first time."""
        time = self._clock.now()
        self._store.add(lambda: measured(load, self._machine(), time))

    def on_work(self, placement: Placement, speeds: Speeds) -> None:
        """What a running engine did since the last time."""
        self._store.add_speeds(lambda: measurement_key(placement, self._machine()), speeds)
