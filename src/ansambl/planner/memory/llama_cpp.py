"""llama.cpp's memory: every buffer that it logs when it loads a model, and what the process takes beside them.

Rules (MiB figures of the tests come from logs): the KV cache by `kv`; the compute buffer by `llama_cpp_compute`; the
input embedding, the graph's inputs and the output rows lie in RAM even when every layer is on a GPU.
"""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.device import DeviceKind, PlannedDevice
from ansambl.domain.footprint import NOTHING, DeviceFootprint, Footprint, Range, Reason
from ansambl.domain.text import text
from ansambl.domain.units import MIB, Bytes, format_bytes
from ansambl.planner.memory import kv
from ansambl.planner.memory.extras import (
    NO_EXTRAS,
    Extras,
    beside,
    extra_reasons,
    lora_files,
    plus,
    pooled,
    projector_compute,
)
from ansambl.planner.memory.inputs import MemoryInputs
from ansambl.planner.memory.llama_cpp_compute import compute_range, host_compute, output_rows
from ansambl.planner.memory.llama_cpp_settings import (
    NAME,
    LlamaCppSettings,
    one_gpu,
    read_settings,
    with_files,
)
from ansambl.planner.memory.shares import (
    CUDA_CONTEXT,
    WeightShares,
    around,
    does_not_fit,
    split_weights,
    spread,
    tensors_of,
    usable,
    visible_memory,
)

# Resident beside weights and KV right after the load: 54 MiB with 49,152 tokens of vocabulary, 89 MiB with 262,144.
_PROCESS, _PROCESS_PER_TOKEN = 48_150_000, 172
# A Radeon RX 7900 XT held 0.85 GiB more than the buffers of gpt-oss-20b (llama.cpp discussion 15396, 19.0 GB in all).
_GPU_OVERHEAD_HIGH = 0.85 / 0.35
_LORA_SOURCE = "llama.cpp --lora: the file's tensors lie beside those that they change; convert_lora_to_gguf.py"
# Settings of the model that its draft model shares.
_OF_DRAFT = frozenset({"engine_version", "n_ubatch", "n_batch", "flash_attention", "kv_unified", "swa_full"})
_SOURCE = "llama-kv-cache-iswa.cpp, llama-context.cpp; checked against logs of llama.cpp b11549"


def _layers_by_gpu(gpus: tuple[PlannedDevice, ...], layers: int, ratios: tuple[float, ...]) -> list[int]:
    """Layers in order, divided by the GPUs' memory or by the ratios that were set."""
    sizes = ratios or tuple(float(gpu.memory) for gpu in gpus)
    memory = sum(sizes)
    counts, before = [], 0
    done = 0.0
    for size in sizes:
        done += size
        upto = round(layers * done / memory)
        counts.append(upto - before)
        before = upto
    return counts


def _share(total: int, layers: int, of: int) -> Range:
    """The part of `layers` among `of`: exact when it is all or nothing, else a layer more or less."""
    if layers == of:
        return Range.exactly(total)
    each = total / of
    return Range(
        Bytes(int(each * max(0, layers - 1))), Bytes(round(each * layers)), Bytes(round(each * min(of, layers + 1)))
    ) if layers else NOTHING  # fmt: skip


def _gpu_footprint(
    inputs: MemoryInputs, read: LlamaCppSettings, shares: WeightShares, cache: int, counts: list[int], position: int
) -> DeviceFootprint:
    # The position among the machine's GPUs, not the GPU's index: a machine may be a part of another.
    gpu, layers, last = inputs.machine.gpus[position], counts[position], position == len(counts) - 1
    count = inputs.architecture.layer_count
    all_of_them = layers == count and len(inputs.machine.gpus) == 1
    dense = _share(shares.layers - shares.experts, layers, count)
    offloaded = read.expert_layers if len(inputs.machine.gpus) == 1 else 0
    experts_left = shares.experts * (layers - offloaded) / count
    if len(inputs.machine.gpus) > 1 and read.expert_layers:
        # The first layers' experts leave, and those are on the first GPUs.
        before = sum(counts[:position])
        gone = max(0, min(layers, read.expert_layers - before))
        experts_left = shares.experts * (layers - gone) / count
    exact = Range.exactly(round(experts_left))
    # A tied embedding lies in RAM for the input and once more on the GPU for the output.
    head = (shares.output or shares.embedding) if last else 0
    # Where the file did not say it, the split between embedding and layers may be off by a few percent.
    weights = dense + exact + Range.exactly(head)
    if shares.estimated:
        weights = around(weights.expected, 0.96, 1.04)
    elif not all_of_them:
        weights = around(weights.expected, 0.97, 1.03)
    cached = _share(cache, layers, count) if read.kv_offload else NOTHING
    if read.split_mode == "row" and len(counts) > 1 and read.kv_offload:
        # Rows of every matrix are divided, the KV cache is not.
        cached = Range.exactly(round(cache * sum(counts) / count)) if not position else NOTHING
    expert_layer = shares.experts / count if read.expert_layers else 0
    compute = compute_range(
        inputs, read.compute, read.swa_full, gpus=len(inputs.machine.gpus), expert_layer=round(expert_layer)
    )
    return DeviceFootprint(
        name=gpu.model.title, kind=gpu.kind, index=gpu.index, capacity=gpu.memory, usable=usable(gpu),
        weights=spread(weights, inputs.weights), kv_cache=cached, kv_needed=cached, compute=compute,
        overhead=around(CUDA_CONTEXT, 0, _GPU_OVERHEAD_HIGH),
    )  # fmt: skip


def _ram_footprint(
    inputs: MemoryInputs, read: LlamaCppSettings, shares: WeightShares, cache: int, on_gpu: int
) -> DeviceFootprint:
    architecture, ram = inputs.architecture, inputs.machine.ram
    count = architecture.layer_count
    here = count - on_gpu
    repack = 0
    if read.gpu_layers:
        dense = _share(shares.layers - shares.experts, here, count)
        experts = round(shares.experts * (here + read.expert_layers) / count)
        weights = dense + Range.exactly(experts + shares.embedding)
        if shares.estimated:
            weights = around(weights.expected, 0.9, 1.1)
        compute = host_compute(inputs, read.compute, read.swa_full)
    else:
        # Beside a GPU's driver tensors are kept as they are in the file.
        repack = 0 if inputs.machine.gpus else inputs.weights.repack
        weights = Range.exactly(inputs.weights.total + repack)
        compute = compute_range(inputs, read.compute, read.swa_full, gpus=0, expert_layer=0)
    weights = spread(weights, inputs.weights)
    cached = _share(cache, here, count) if here else NOTHING
    if not read.kv_offload:
        cached = Range.exactly(cache)
    overhead = around(_PROCESS + _PROCESS_PER_TOKEN * architecture.vocabulary, 0.75, 1.5)
    prompt_cache = Bytes(read.prompt_cache)
    return DeviceFootprint(
        name=ram.model.title, kind=ram.kind, index=ram.index, capacity=ram.memory,
        usable=usable(ram, read.ram_margin), weights=weights, kv_cache=cached, kv_needed=cached,
        compute=compute + Range.exactly(output_rows(inputs)),
        overhead=overhead + Range(Bytes(0), prompt_cache, prompt_cache),
        # What was rewritten is not read from the file again; the embedding of a tied model is, for its input rows.
        reclaimable=Bytes(max(0, repack - (shares.embedding if inputs.weights.tied else 0))),
    )  # fmt: skip


def forecast(inputs: MemoryInputs) -> Footprint:
    """What llama.cpp will need of each device of the machine.

    Raises:
        UsageError: a setting makes no sense or is not known.
    """
    inputs = one_gpu(with_files(inputs))
    read = read_settings(inputs)
    architecture, gpus = inputs.architecture, inputs.machine.gpus
    shares = split_weights(architecture, inputs.weights)
    cache = kv.llama_cpp_bytes(
        architecture, inputs.kv_type, context=inputs.context, parallel=inputs.parallel, unified=read.compute.unified,
        n_ubatch=read.compute.n_ubatch, swa_full=read.swa_full,
    )  # fmt: skip
    devices: list[DeviceFootprint] = []
    on_gpu = max(0, read.gpu_layers - 1)
    if read.gpu_layers:
        counts = _layers_by_gpu(gpus, on_gpu, read.tensor_split)
        devices.extend(_gpu_footprint(inputs, read, shares, cache, counts, position) for position in range(len(gpus)))
    ram = _ram_footprint(inputs, read, shares, cache, on_gpu)
    adapters = NOTHING
    if inputs.extras is not NO_EXTRAS:
        devices, ram, adapters = _with_extras(inputs, read, devices, ram, on_gpu)
    devices = pooled([*devices, ram], inputs.machine)
    reasons = _reasons(inputs, read, shares, cache, devices)
    if inputs.extras is not NO_EXTRAS:
        reasons += tuple(extra_reasons(inputs.extras, lora=adapters, lora_source=_LORA_SOURCE))
    return Footprint(
        engine=NAME, context=inputs.context, parallel=inputs.parallel, kv_type=inputs.kv_type, devices=tuple(devices),
        reasons=reasons,
    )  # fmt: skip


def _with_extras(
    inputs: MemoryInputs, read: LlamaCppSettings, devices: list[DeviceFootprint], ram: DeviceFootprint, on_gpu: int
) -> tuple[list[DeviceFootprint], DeviceFootprint, Range]:
    """The GPUs and the RAM with what is loaded beside the model, and the size of the LoRA adapters in all."""
    extras, architecture = inputs.extras, inputs.architecture
    adapters = NOTHING
    if extras.lora is not None:
        # The converter writes 32 bits, or 16 when it is asked to.
        adapters = lora_files(architecture, extras.lora, 2, 4)
        share = on_gpu / architecture.layer_count / max(1, len(devices))
        part = Range(*(Bytes(round(size * share)) for size in (adapters.low, adapters.expected, adapters.high)))
        # An adapter's tensor lies where the one lies that it changes.
        devices = [plus(device, weights=part) for device in devices]
        rest = 1 - on_gpu / architecture.layer_count
        ram = plus(
            ram,
            weights=Range(*(Bytes(round(size * rest)) for size in (adapters.low, adapters.expected, adapters.high))),
        )
    if extras.projector is not None:
        size, compute = Range.exactly(extras.projector.size), projector_compute(extras.projector)
        if devices and read.mmproj_offload:
            devices = [plus(devices[0], weights=size, compute=compute), *devices[1:]]
        else:
            ram = plus(ram, weights=size, compute=compute)
    if extras.draft is not None:
        draft = extras.draft
        kept = {name: value for name, value in inputs.settings.items() if name in _OF_DRAFT}
        small = replace(
            inputs, architecture=draft.architecture, weights=draft.own_weights, kv_type=draft.kv_type, settings=kept,
            extras=Extras(), machine=inputs.machine if devices else replace(inputs.machine, gpus=()),
        )  # fmt: skip
        *devices, ram = beside([*devices, ram], forecast(small).devices)
    return devices, ram, adapters


def _reasons(
    inputs: MemoryInputs, read: LlamaCppSettings, shares: WeightShares, cache: int, devices: list[DeviceFootprint]
) -> tuple[Reason, ...]:
    reasons = [
        *tensors_of(inputs.weights),
        Reason("kv-cache",
               text("the KV cache of {parallel} × {context} tokens in {type} takes {size}", parallel=inputs.parallel,
                    context=inputs.context, type=inputs.kv_type, size=format_bytes(cache)), _SOURCE),
        Reason("compute",
               text("compute buffers for batches of {tokens} tokens, flash attention {state}",
                    tokens=read.compute.n_ubatch, state=text("on") if read.compute.flash_attention else text("off")),
               "compute buffers logged by llama.cpp b11549 for ten architectures; ggml-org/llama.cpp#23861"),
    ]  # fmt: skip
    if read.expert_layers:
        size = round(shares.experts * read.expert_layers / inputs.architecture.layer_count)
        reasons.append(
            Reason("experts-in-ram", text("the experts of {layers} layers ({size}) lie in RAM",
                                          layers=read.expert_layers, size=format_bytes(size)),
                   "llama.cpp --n-cpu-moe")
        )  # fmt: skip
    if inputs.weights.repack and not inputs.machine.gpus:
        reasons.append(
            Reason("repacked", text("the processor keeps {size} of the weights a second time, in an order that it "
                                    "reads faster; the first copy is pages of the file, which the system takes back "
                                    "when memory is short", size=format_bytes(inputs.weights.repack)),
                   "llama.cpp b11549, buffer CPU_REPACK in its log")
        )  # fmt: skip
    if shares.estimated:
        reasons.append(
            Reason("estimated-split", text("the file's header was not read: how its bytes divide is estimated"),
                   inputs.weights.source)
        )  # fmt: skip
    if any(device.kind is DeviceKind.GPU for device in devices):
        reasons.append(visible_memory())
    reasons.extend(does_not_fit(device, _SOURCE) for device in devices if not device.fits)
    if read.prompt_cache:
        reasons.append(
            Reason("prompt-cache", text("finished prompts are kept in RAM up to {size}",
                                        size=format_bytes(read.prompt_cache // MIB * MIB)), "llama-server --cache-ram")
        )  # fmt: skip
    return tuple(reasons)
