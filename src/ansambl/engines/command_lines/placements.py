"""A planned placement as the inputs of a command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansambl.domain.catalog import CatalogModel
from ansambl.domain.device import PlannedMachine
from ansambl.domain.names import folded
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.engines.command_lines.records import CommandInputs

_SIXTEEN = frozenset({"bf16", "f16", "fp16", "f32"})
_PUBLISHED_IN_MXFP4 = frozenset({"gpt_oss"})


def inputs_of(
    placement: PlannedPlacement, *, path: str | None = None, extra: Mapping[str, Any] | None = None
) -> CommandInputs:
    """What the command of this placement is made from.

    `path` is where the checkpoint lies when it is here (for a candidate that came from files the reference is taken);
    `extra` are settings that no forecast knows.
    """
    candidate, machine = placement.candidate, placement.machine
    card = candidate.card
    if card is None and path is None:
        path = candidate.reference
    repo, file, exact = (None, None, True) if path is not None or card is None else _repository(candidate, card)
    return CommandInputs(
        model=candidate.model, format=candidate.format, quantization=candidate.quantization, context=placement.context,
        parallel=placement.parallel, kv_type=placement.kv_type, settings={**placement.settings, **(extra or {})},
        path=path, repo=repo, file=file, exact_repo=exact, gpus=tuple(gpu.index for gpu in machine.gpus),
        vendor=_vendor(machine), layers=candidate.architecture.layer_count, kind=card.kind if card else None,
        vision=bool(card and card.vision),
    )  # fmt: skip


def _vendor(machine: PlannedMachine) -> str:
    return folded(machine.gpus[0].model.vendor) if machine.gpus else "none"


def _repository(candidate: Candidate, card: CatalogModel) -> tuple[str | None, str | None, bool]:
    """Where the files of this very quantization lie: the first that a source names, an exact one before a general one.

    The last is False when no source says that the repository has this quantization.
    """
    wanted = folded(candidate.quantization)
    found = card.download_of(candidate.format, candidate.quantization)
    if found is None:
        general = [one for one in card.downloads if one.format == candidate.format == "gguf" and not one.quantization]
        # llama.cpp's own project converts the original MXFP4 weights; others quantize again.
        general.sort(key=lambda one: wanted == "mxfp4" and not one.repo.startswith("ggml-org/"))
        if general:
            return general[0].repo, general[0].file, wanted == "mxfp4"
    if found is not None:
        return found.repo, found.file, True
    if candidate.format != "safetensors":
        return None, None, True
    published = wanted in _SIXTEEN or (wanted == "mxfp4" and card.family in _PUBLISHED_IN_MXFP4)
    return card.repo, None, published
