"""What the planner is asked about, as records: machines by name, models by reference with all their checkpoints."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from ansambl.domain.architecture import Architecture
from ansambl.domain.catalog import Basis, CatalogCheckpoint, CatalogModel, Inspection
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import CheckpointError, NotSupportedError, UnknownNameError, UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.names import folded
from ansambl.domain.planning import Candidate
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths, expanded
from ansambl.hardware import inventory
from ansambl.hardware.catalog import from_inventory, load_machine
from ansambl.hardware.probes.bandwidth import measure_ram_bandwidth
from ansambl.model_catalog import embedded
from ansambl.model_catalog.catalog import catalog, find_model
from ansambl.model_catalog.checkpoints import is_of_other_program, open_checkpoint
from ansambl.model_catalog.estimates import estimated_checkpoint, estimated_checkpoints, gguf_bits
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.references import parse_reference
from ansambl.model_catalog.remote import inspect_remote

_SIXTEEN = ("f16", "bf16")
_SAME = {
    "fp16": _SIXTEEN, "float16": _SIXTEEN, "half": _SIXTEEN, "f16": _SIXTEEN, "bfloat16": ("bf16", "f16"),
    "bf16": ("bf16", "f16"), "int8": ("w8a8", "q8_0"), "float8": ("fp8",), "float32": ("f32",), "fp32": ("f32",),
}  # fmt: skip
# A printed size is rounded by less than this share: of no weight beside what a forecast may be off.
_NEGLIGIBLE = 0.005
_FILE_ENDINGS = (".gguf", ".safetensors", ".json")


def planned_machines(wanted: Sequence[str | PlannedMachine]) -> tuple[PlannedMachine, ...]:
    """The machines of these names or files, or as they are given; this machine, measured, when none is named.

    Raises:
        UsageError: there is no such machine, or its file is wrong.
    """
    if wanted:
        found: list[PlannedMachine] = []
        for given in wanted:
            one = given if isinstance(given, PlannedMachine) else load_machine(given)
            # Two of a kind are two machines.
            same = sum(other.name.partition("#")[0] == one.name for other in found)
            found.append(replace(one, name=f"{one.name}#{same + 1}") if same else one)
        return tuple(found)
    return (this_machine(),)


def this_machine() -> PlannedMachine:
    """This machine as it is, its RAM's bandwidth measured. Takes half a second, the first time in a process."""
    found = inventory.detect()
    return from_inventory(found, _bandwidth(found.cpu.physical_cores or found.cpu.usable_cores))


_measured: dict[int, float] = {}


def _bandwidth(threads: int) -> float | None:
    # Measured once: a second look tells the same but for what else runs, and two equal questions want equal answers.
    found = _measured.get(threads) or measure_ram_bandwidth(threads)
    if found is not None:
        _measured[threads] = found
    return found


@cache
def catalog_candidates() -> tuple[Candidate, ...]:
    """Every checkpoint of the catalog whose model's inside is known, sizes that follow from others among them."""
    return tuple(one for model in catalog().values() for one in candidates_of(model))


def candidates_of(model: CatalogModel) -> tuple[Candidate, ...]:
    """The checkpoints of one model of the catalog; none when its inside is unknown."""
    architecture = model.architecture
    if architecture is None:
        return ()
    return tuple(_candidate(model, architecture, one) for one in (*model.checkpoints, *estimated_checkpoints(model)))


def _candidate(model: CatalogModel, architecture: Architecture, checkpoint: CatalogCheckpoint) -> Candidate:
    return Candidate(
        model=model.name, reference=model.repo, quantization=checkpoint.quantization, format=checkpoint.format,
        size=checkpoint.size, weights=_weights(checkpoint), architecture=architecture, basis=checkpoint.basis,
        source=checkpoint.source, card=model,
    )  # fmt: skip


def find_candidates(
    reference: str, quantization: str | None, paths: DataPaths, *, remote: bool = False
) -> tuple[Candidate, ...]:
    """The checkpoints that a user means by `reference`: a name of the catalog, a path, or ``embedded``.

    With `remote` it is a checkpoint on a hub or at an address, whose headers are read there.

    Raises:
        CheckpointError: the file is missing or damaged.
        NotSupportedError: the model's inside is not known, so nothing can be forecast.
        UnknownNameError: the catalog has no such model; the nearest names are offered.
        UsageError: the model has no such quantization.
    """
    if not reference.strip():
        raise UsageError(text("the model has no name; see what there is with: ansambl models list"))
    if remote:
        wanted = f"{reference}:{quantization}" if quantization and ":" not in reference else reference
        return (candidate_from_files(inspect_remote(wanted), reference),)
    path = files_of(reference, paths)
    if path is not None:
        found: tuple[Candidate, ...] = (candidate_from_files(inspect_checkpoint(path), reference),)
    else:
        model = find_model(reference)
        found = candidates_of(model)
        if not found:
            raise NotSupportedError(
                text("what is inside {model} is not known (layers, widths), so nothing can be forecast; give the path "
                     "of its files, or inspect them: ansambl models inspect PATH", model=model.repo)
            )  # fmt: skip
    return found if quantization is None else _of_quantization(found, quantization)


def files_of(reference: str, paths: DataPaths) -> Path | None:
    """Where the files lie whose headers tell of a model; None where the catalog does.

    Raises:
        CheckpointError: the embedded model, or one of Ollama or LM Studio, is meant and not here.
    """
    return local_path(reference, paths) or _fetched(reference, paths)


def _fetched(reference: str, paths: DataPaths) -> Path | None:
    """The files of a repository that the catalog does not have, where they were fetched from the hub; else None."""
    if parse_reference(reference) is None:
        return None
    try:
        find_model(reference)
    except UnknownNameError:
        with contextlib.suppress(CheckpointError):
            return Path(open_checkpoint(reference, paths.models).path)
    return None


def local_path(reference: str, paths: DataPaths) -> Path | None:
    """Where the files lie that a user means by ``embedded``, by a path, or as Ollama or LM Studio name it; else None.

    It is a path when it looks like one or something of this name is there.

    Raises:
        CheckpointError: the embedded model, or one of Ollama or LM Studio, is meant and not here.
    """
    if is_of_other_program(reference):
        return Path(open_checkpoint(reference, paths.models).path)
    if reference == embedded.REFERENCE:
        return Path(embedded.find(paths.models, verify=False).path)
    path = expanded(reference)
    looks = path.suffix in _FILE_ENDINGS or reference.startswith((".", "~", "/"))
    return path if looks or (reference and os.path.lexists(path)) else None


def candidate_from_files(found: Inspection, reference: str) -> Candidate:
    """What the files of a checkpoint say, as a candidate.

    Raises:
        NotSupportedError: the files do not tell the model's inside or the size of its tensors.
    """
    if found.architecture is None or (found.weights is None and found.tensor_bytes is None):
        raise NotSupportedError(
            text("the files of {model} do not tell what a forecast needs ({what}); see: ansambl models inspect {model}",
                 model=reference, what="; ".join(one.render() for one in found.notes) or "-")
        )  # fmt: skip
    source = text("the file's header").render() if found.format == "gguf" else found.path
    experts = max(found.by_type, key=lambda name: found.by_type[name], default="").lower()
    expert_format = "mxfp4" if found.architecture.experts and experts.startswith("mxfp4") else None
    if found.weights is not None:
        weights = WeightBytes.of(found.weights, source, expert_format=expert_format)
    else:
        weights = WeightBytes(Bytes(found.tensor_bytes or 0), source, expert_format=expert_format)
    return Candidate(
        model=folded(found.title or Path(found.path).stem), reference=reference,
        quantization=found.quantization or max(found.by_type, key=lambda name: found.by_type[name], default="?"),
        format=found.format, size=found.size, weights=weights, architecture=found.architecture, basis=Basis.REPORTED,
        source=source,
    )  # fmt: skip


def hub_reference(candidate: Candidate) -> str | None:
    """Where a hub has the files of a GGUF candidate, where a source names the very quantization; else None."""
    if candidate.format != "gguf" or candidate.card is None:
        return None
    found = candidate.card.download_of("gguf", candidate.quantization)
    if found is None:
        return None
    return (
        f"{found.repo}/{found.file}" if found.file and "*" not in found.file else f"{found.repo}:{found.quantization}"
    )


def source_of(candidate: Candidate) -> str | None:
    """What fetches a candidate or opens it, and what a configuration writes for it; None where no source names it."""
    card = candidate.card
    if card is None:
        return candidate.reference
    if candidate.format == "gguf":
        return hub_reference(candidate)
    exact = card.download_of(candidate.format, candidate.quantization)
    if exact is not None:
        return exact.repo
    return card.repo if card.native is not None and folded(card.native) == folded(candidate.quantization) else None


def _weights(checkpoint: CatalogCheckpoint) -> WeightBytes:
    exact = checkpoint.rounding <= checkpoint.size * _NEGLIGIBLE
    return WeightBytes(
        total=checkpoint.size, source=checkpoint.source,
        expert_format="mxfp4" if checkpoint.quantization.lower() == "mxfp4" else None,
        low=None if exact else checkpoint.low, high=None if exact else checkpoint.high,
    )  # fmt: skip


def _of_quantization(candidates: Sequence[Candidate], wanted: str) -> tuple[Candidate, ...]:
    name = wanted.strip().lower()
    for same in (name, *_SAME.get(name, ())):
        found = tuple(one for one in candidates if one.quantization.lower() == same)
        if found:
            return found
    # Less usual ones are worked out only when somebody asks for them.
    card = candidates[0].card
    unusual = next((one for one in gguf_bits() if one.lower() == name), None)
    rare = estimated_checkpoint(card, unusual) if card is not None and unusual is not None else None
    if card is not None and rare is not None:
        return (_candidate(card, candidates[0].architecture, rare),)
    known = ", ".join(dict.fromkeys(one.quantization for one in candidates))
    raise UsageError(
        text("{model} has no quantization '{name}' here; known are {known}", model=candidates[0].model,
             name=wanted[:40], known=known)
    )  # fmt: skip
