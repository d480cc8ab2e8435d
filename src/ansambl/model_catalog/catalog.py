"""The shipped catalog: models that a planner knows without their files, each figure with its source."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.catalog import (
    Basis,
    CatalogCheckpoint,
    CatalogModel,
    Download,
    LanguageQuality,
    ModelKind,
    Score,
    Speciality,
    Standing,
)
from ansambl.domain.errors import UnknownNameError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, parse_bytes
from ansambl.model_catalog.inspection import architecture_to_json

_DESCRIPTION = Path(__file__).resolve().parent / "data" / "models.toml"
_PRINTED = re.compile(r"\d+(?:\.(?P<decimals>\d+))? (?P<unit>[A-Za-z]+)")
_NATIVE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_NATIVE_NAMES = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
_NEAREST, _ALIKE = 3, 0.6


def _checkpoint(row: Mapping[str, str]) -> CatalogCheckpoint:
    printed = row["size"]
    match = _PRINTED.fullmatch(printed)
    if not match:
        message = f"{_DESCRIPTION.name}: '{printed}' is not a size with a unit"
        raise ValueError(message)
    # Half of the last printed digit is what rounding may have hidden.
    unit = parse_bytes(f"1 {match['unit']}")
    rounding = parse_bytes(row["rounding"]) if "rounding" in row else math.ceil(
        unit / 2 / 10 ** len(match["decimals"] or ""))  # fmt: skip
    return CatalogCheckpoint(
        row["quantization"], row["format"], parse_bytes(printed), Bytes(rounding), Basis.REPORTED, row["source"]
    )


def _downloads(row: Mapping[str, Any]) -> tuple[Download, ...]:
    """A row that names several quantizations is one download for each, ``{}`` in its file standing for the name."""
    size = parse_bytes(row["size"]) if "size" in row else None
    plain = {"FP16": "F16", "FP32": "F32"}
    names = row.get("quantizations", [row.get("quantization")])
    file = row.get("file")
    return tuple(
        Download(
            row["repo"], row["format"], row["source"], plain.get(name.upper(), name.upper()) if name else None,
            file.replace("{}", name or "") if file else None, size,
        )
        for name in names
    )  # fmt: skip


def _native(row: Mapping[str, Any]) -> tuple[CatalogCheckpoint, ...]:
    if not row.get("derive_native"):
        return ()
    kind = row.get("native", "bf16")
    factor = _NATIVE_BYTES[kind]
    return (
        CatalogCheckpoint(
            _NATIVE_NAMES[kind], "safetensors", Bytes(row["parameters"] * factor),
            Bytes(row.get("parameters_rounding", 0) * factor), Basis.DERIVED,
            f"{row['parameters']} parameters of {factor} bytes",
        ),
    )  # fmt: skip


def _architecture(row: Mapping[str, Any]) -> Architecture | None:
    if "layers" not in row:
        return None
    layers = tuple(
        LayerGroup(
            one["count"], Attention(one["attention"]), one.get("key_width", 0), one.get("value_width", 0),
            one.get("window"), Bytes(one.get("state_bytes", 0)),
        )
        for one in row["layers"]
    )  # fmt: skip
    return Architecture(
        family=row["family"], parameters=row["parameters"], active=row.get("active", row["parameters"]), layers=layers,
        hidden=row["hidden"], vocabulary=row["vocabulary"], heads=row["heads"], context=row.get("context"),
        feed_forward=row.get("feed_forward"), experts=row.get("experts", 0),
        experts_active=row.get("experts_active", 0), expert_feed_forward=row.get("expert_feed_forward"),
        query_width=row.get("query_width"), recurrent_inner=row.get("recurrent_inner", 0),
        recurrent_keys=row.get("recurrent_keys", 0),
    )  # fmt: skip


def _model(row: Mapping[str, Any]) -> CatalogModel:
    languages = {
        code: LanguageQuality(Standing(one["standing"]), one.get("note", ""), one.get("score"))
        for code, one in row.get("languages", {}).items()
    }
    checkpoints = (*map(_checkpoint, row.get("checkpoints", ())), *_native(row))
    return CatalogModel(
        name=row["repo"].rpartition("/")[2].lower(), repo=row["repo"], title=row["title"], family=row["family"],
        kind=ModelKind(row["kind"]), licence=row.get("licence"), parameters=row["parameters"],
        architecture=_architecture(row), context=row.get("context"), tools=row.get("tools"), vision=row.get("vision"),
        languages=MappingProxyType(languages),
        checkpoints=tuple(sorted(checkpoints, key=lambda one: (one.size, one.format))),
        sources=tuple(row["sources"]), notes=tuple(row.get("notes", ())), conflicts=tuple(row.get("conflicts", ())),
        released=row.get("released"), specialities=tuple(map(Speciality, row.get("specialities", ()))),
        downloads=tuple(one for each in row.get("downloads", ()) for one in _downloads(each)),
        scores=MappingProxyType({name: Score(**one) for name, one in row.get("scores", {}).items()}),
        native=row.get("native"), text_parameters=row.get("text_parameters"), tied=row.get("tied"),
    )  # fmt: skip


@cache
def catalog() -> Mapping[str, CatalogModel]:
    """All models by their short names."""
    table = tomllib.loads(_DESCRIPTION.read_text(encoding="utf-8"))
    return MappingProxyType({one.name: one for one in map(_model, table["models"])})


def find_model(reference: str) -> CatalogModel:
    """The model of a repository (``"openai/gpt-oss-120b"``) or a short name; capitals do not matter.

    A short name may be left unfinished (``"mixtral"``) when only one model begins so; a repository is taken as it is.

    Raises:
        UnknownNameError: the catalog has no such model; the nearest names are offered.
    """
    wanted = reference.strip().lower()
    models = catalog()
    for model in models.values():
        if wanted in {model.name, model.repo.lower()}:
            return model
    begun = [model for name, model in models.items() if wanted and name.startswith((f"{wanted}-", f"{wanted}_"))]
    if len(begun) == 1:
        return begun[0]
    near = nearest_names(reference)
    if near:
        raise UnknownNameError(
            text(
                "the catalog has no model '{name}'; the nearest are: {names}",
                name=reference[:80],
                names=", ".join(near),
            )
        )
    raise UnknownNameError(
        text("the catalog has no model '{name}'; see what it has with: ansambl models list", name=reference[:80])
    )


def nearest_names(reference: str) -> list[str]:
    """Short names that look like `reference`, the nearest first; none when nothing is like it."""
    wanted = reference.strip().lower().rpartition("/")[2][:80]
    if not wanted:
        return []

    def likeness(name: str) -> float:
        # A name is long, and what people remember of it is its beginning.
        return max(difflib.SequenceMatcher(None, wanted, part).ratio() for part in (name, name[: len(wanted)])) + (
            wanted in name
        )

    ranked = sorted(((likeness(name), name) for name in catalog()), key=lambda pair: (-pair[0], pair[1]))
    return [name for score, name in ranked if score >= _ALIKE][:_NEAREST]


def model_to_json(model: CatalogModel) -> dict[str, Any]:
    """What ``models list --json`` prints of a model: the record's field names, sizes in bytes, null for unknown."""
    plain = dataclasses.replace(model, architecture=None, languages={}, scores={})
    shape = dataclasses.asdict(plain)
    shape["architecture"] = architecture_to_json(model.architecture) if model.architecture else None
    shape["languages"] = {code: dataclasses.asdict(one) for code, one in model.languages.items()}
    shape["scores"] = {name: dataclasses.asdict(one) for name, one in model.scores.items()}
    return shape
