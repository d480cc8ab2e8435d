"""What engines really took and did on a machine, kept so that forecasts can be corrected by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansambl.domain.hardware import Machine
from ansambl.domain.units import GIB, MIB, Bytes


@dataclass(frozen=True, slots=True)
class MeasurementKey:
    """What must be equal for a measurement to speak of a placement.

    `machine` is a `machine_key`, `checkpoint` the identity of its files. `settings` are the engine's own that change
    its memory, as words. `gpus` name the GPUs in the placement's order, empty for none.
    """

    machine: str
    engine: str
    version: str
    build: str
    checkpoint: str
    context: int
    parallel: int
    kv_type: str
    settings: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speeds:
    """Work of single streams and the seconds that it took, added up over `samples` looks at the engine's counters.

    `peak` is the most RAM that its processes were seen to hold.
    """

    decoded_tokens: float = 0.0
    decode_seconds: float = 0.0
    prefilled_tokens: float = 0.0
    prefill_seconds: float = 0.0
    samples: int = 0
    peak: Bytes | None = None

    @property
    def decode(self) -> float | None:
        """Tokens per second of one stream's answer; None before anything was measured."""
        return self.decoded_tokens / self.decode_seconds if self.decode_seconds > 0 else None

    @property
    def prefill(self) -> float | None:
        """Tokens per second of a prompt that is read; None before anything was measured."""
        return self.prefilled_tokens / self.prefill_seconds if self.prefill_seconds > 0 else None

    def __add__(self, other: Speeds) -> Speeds:
        peaks = [one for one in (self.peak, other.peak) if one is not None]
        return Speeds(
            self.decoded_tokens + other.decoded_tokens, self.decode_seconds + other.decode_seconds,
            self.prefilled_tokens + other.prefilled_tokens, self.prefill_seconds + other.prefill_seconds,
            self.samples + other.samples, max(peaks, default=None),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one start of an engine took, and how fast it was afterwards.

    `memory` maps a device as the engine's log calls it (``"CPU"``, ``"CUDA0"``, ``""`` where it names none) to bytes by
    part. `resident` is the RAM of its processes when it became ready, `gpu_memory` what they held on GPUs; None where
    nobody could tell. `time` is seconds since the epoch.
    """

    key: MeasurementKey
    reference: str
    size: Bytes
    time: float
    quantization: str | None = None
    repo: str | None = None
    architecture: str | None = None
    memory: Mapping[str, Mapping[str, Bytes]] = field(default_factory=dict)
    resident: Bytes | None = None
    gpu_memory: Bytes | None = None
    load_seconds: float | None = None
    kv_tokens: int | None = None
    speeds: Speeds = Speeds()

    def part(self, name: str, *, on_gpu: bool) -> Bytes:
        """The bytes of one part on all GPUs, or in RAM."""
        return Bytes(
            sum(parts.get(name, 0) for device, parts in self.memory.items() if is_gpu_buffer(device) is on_gpu)
        )


def is_gpu_buffer(device: str) -> bool:
    """Whether llama.cpp's name of a buffer is that of a GPU: ``"CUDA0"``, but not ``"CUDA_Host"`` or ``"CPU_REPACK"``.

    Names as ggml gives them to its devices: the maker's word with a number; pinned RAM ends with ``_Host``.
    """
    return bool(device) and not device.startswith(("CPU", "BLAS")) and not device.endswith("_Host")


def machine_key(machine: Machine) -> str:
    """What of the hardware decides about memory and speed, in words; equal for equal machines.

    The RAM is counted in whole GiB: kernels set aside a little more or less of it.
    """
    cards = Counter(
        f"{gpu.name or gpu.vendor} {round(gpu.memory_total / MIB) if gpu.memory_total else '?'} MiB"
        for gpu in machine.gpus
    )
    cpu = f"{machine.cpu.model or machine.cpu.architecture} x{machine.cpu.usable_cores}"
    ram = f"{round(machine.memory.usable / GIB)} GiB RAM"
    return "; ".join([cpu, ram, *(f"{count}x {name}" for name, count in sorted(cards.items()))])


def setting_words(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings as words that compare: ``True`` and ``"On"`` are ``"on"``, ``64`` and ``"64"`` are equal."""
    words = {True: "on", False: "off"}
    found = {
        name: words[value] if isinstance(value, bool) else str(value).strip().lower()
        for name, value in settings.items()
    }
    return {name: {"true": "on", "false": "off"}.get(word, word) for name, word in sorted(found.items())}
