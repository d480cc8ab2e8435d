"""The question "does this combination work?" as a user puts it, answered from the engines' facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.plan_documents import Translate, reasons_document
from ansambl.app.planning import local_path, planned_machines
from ansambl.domain.catalog import CatalogModel
from ansambl.domain.compatibility import CompatibilityFacts, Judgement, KnownEngine, KnownUi, Platform, Verdict
from ansambl.domain.device import DeviceModel, PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.engines.compatibility import compatibility_rows
from ansambl.model_catalog.catalog import find_model
from ansambl.model_catalog.estimates import estimated_checkpoints
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.references import parse_reference
from ansambl.planner.compatibility import find_engine, find_ui, judge, plain_format

VERSION, KV_TYPE = "engine_version", "kv_type"
"""What ``--set`` may hold here."""
_USUAL = {"gguf": "Q4_K_M"}
_BEST_FIRST = (Verdict.YES, Verdict.SLOW, Verdict.UNKNOWN, Verdict.NO)


@dataclass(frozen=True, slots=True)
class CompatibilityQuestion:
    """What ``ansambl compat`` was asked; what is None was left open."""

    model: str | None = None
    machine: str | None = None
    engine: str | None = None
    ui: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompatibilityLine:
    """One combination judged; what is None was not part of it."""

    engine: KnownEngine
    judgement: Judgement
    format: str | None = None
    quantization: str | None = None
    device: DeviceModel | None = None
    ui: KnownUi | None = None


@dataclass(frozen=True, slots=True)
class CompatibilityReport:
    """The answer: `model` is its name, None for the matrix of engines and devices; lines in the order of the data."""

    model: str | None
    machine: PlannedMachine
    lines: tuple[CompatibilityLine, ...]

    @property
    def best(self) -> Verdict:
        """The best verdict among the lines: what the question comes to."""
        found = {line.judgement.verdict for line in self.lines}
        return next((one for one in _BEST_FIRST if one in found), Verdict.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    family: str | None
    forms: tuple[tuple[str | None, str | None], ...]


def answer_compatibility(question: CompatibilityQuestion, config: Path | None = None) -> CompatibilityReport:
    """Judge the model's formats, or the devices alone, with every engine or the one that is named.

    Raises:
        AnsamblError: a name is not known (the nearest are offered), a version is none, or a file is damaged.
    """
    facts = compatibility_rows()
    engines = [find_engine(facts, question.engine)] if question.engine is not None else list(facts.engines.values())
    ui = find_ui(facts, question.ui) if question.ui is not None else None
    _check_settings(question)
    machine = planned_machines([question.machine] if question.machine else [])[0]
    model = _find(question.model, config) if question.model is not None else None
    version, kv_type = question.settings.get(VERSION), question.settings.get(KV_TYPE)

    def line(engine: KnownEngine, form: str | None = None, quantization: str | None = None,
             device: DeviceModel | None = None, ui: KnownUi | None = None) -> CompatibilityLine:  # fmt: skip
        judgement = judge(
            facts, engine.name, version=version, format=form, quantization=quantization,
            family=model.family if model else None, device=device, ui=ui.name if ui else None,
            kv_type=kv_type if device else None,
        )  # fmt: skip
        return CompatibilityLine(engine, judgement, form, quantization, device, ui)

    lines: list[CompatibilityLine] = []
    for engine in engines:
        if model is None:
            lines += [line(engine, device=device, ui=ui) for device in _devices(machine, alone=False)]
            if ui is None:
                lines += [line(engine, ui=one) for one in facts.uis.values()]
        else:
            # Of a model without any known file, at least its family can be judged.
            forms = _with_converted(model.forms, engine) or ((None, None),)
            lines += [
                line(engine, form, quantization, device, ui)
                for device in _devices(machine, alone=_runs_on_gpus(facts, engine))
                for form, quantization in forms
            ]
    return CompatibilityReport(model.name if model else None, machine, tuple(lines))


def compatibility_document(report: CompatibilityReport, translate: Translate = None) -> dict[str, Any]:
    """What ``compat --json`` prints."""
    return {
        "model": report.model,
        "machine": report.machine.name,
        "rows": [
            {
                "engine": line.engine.name,
                "format": line.format,
                "quantization": line.quantization,
                "device": line.device.name if line.device else None,
                "ui": line.ui.name if line.ui else None,
                "verdict": line.judgement.verdict.value,
                "since": line.judgement.since,
                "reasons": reasons_document(line.judgement.reasons, translate),
            }
            for line in report.lines
        ],
    }


def _check_settings(question: CompatibilityQuestion) -> None:
    for name in question.settings:
        if name not in {VERSION, KV_TYPE}:
            raise UsageError(
                text("compat knows no setting '{name}'; it takes --set engine_version=… and --set kv_type=…",
                     name=name[:40])
            )  # fmt: skip
    if VERSION in question.settings and not question.engine:
        raise UsageError(
            text("engine_version is the version of one engine; say which: --engine NAME --set engine_version={version}",
                 version=question.settings[VERSION][:40])
        )  # fmt: skip


def _devices(machine: PlannedMachine, *, alone: bool) -> tuple[DeviceModel, ...]:
    """The kinds of devices, each once: the GPUs, and the processor too unless GPUs shall stand `alone`."""
    gpus = {gpu.model.name: gpu.model for gpu in machine.gpus}
    if gpus and alone:
        return tuple(gpus.values())
    return (*gpus.values(), machine.ram.model)


def _runs_on_gpus(facts: CompatibilityFacts, engine: KnownEngine) -> bool:
    return any(
        selector.platform is not Platform.CPU
        for row in facts.rows
        if row.engine == engine.name and row.verdict is not Verdict.NO
        for selector in row.device
    )


def _find(reference: str, config: Path | None) -> _Model:
    path = local_path(reference, load_data_paths(config))
    if path is None:
        return _find_in_catalog(reference)
    found = inspect_checkpoint(path)
    family = found.architecture.family if found.architecture else None
    quantization = found.quantization or next(iter(found.by_type), None)
    return _Model(found.title or path.stem, family, ((found.format, quantization),))


def _find_in_catalog(reference: str) -> _Model:
    parsed = parse_reference(reference)
    model = find_model(parsed.repo if parsed else reference)
    if parsed and parsed.quantization:
        form, _ = plain_format(None, parsed.quantization)
        same = next((known for known, name in _forms(model) if name.lower() == parsed.quantization.lower()), None)
        return _Model(model.repo, model.family, ((form or same or "safetensors", parsed.quantization),))
    return _Model(model.repo, model.family, _distinct(_forms(model)))


def _forms(model: CatalogModel) -> list[tuple[str, str]]:
    """Formats and quantizations in which the model can be had: reported, offered for download, and usual ones."""
    reported = [(one.format, one.quantization) for one in model.checkpoints]
    offered = [(one.format, one.quantization) for one in model.downloads if one.quantization]
    return [*reported, *offered, *((one.format, one.quantization) for one in estimated_checkpoints(model))]


def _distinct(forms: Iterable[tuple[str, str]]) -> tuple[tuple[str, str | None], ...]:
    """One for each kind that engines tell apart, under the usual name of its kind where it is among them."""
    kinds: dict[tuple[str | None, str | None], tuple[str, str | None]] = {}
    for form, quantization in forms:
        kind = plain_format(form, quantization)
        if kind not in kinds or quantization == _USUAL.get(form):
            # EXL3 and MLX say all with the format; their bits differ from file to file.
            kinds[kind] = (form, quantization) if kind[1] is not None else (kind[0] or form, None)
    return tuple(kinds.values())


def _with_converted(
    forms: tuple[tuple[str | None, str | None], ...], engine: KnownEngine
) -> tuple[tuple[str | None, str | None], ...]:
    """The same, and what people convert models to for the engine."""
    missing = [one for one in engine.converts if all(form != one for form, _ in forms)]
    return (*forms, *((one, _USUAL.get(one)) for one in missing))
