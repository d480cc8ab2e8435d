"""What was recorded of real engines, and the placements of its cases; see `ansambl.testing.engine_suite`."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

import pytest

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import EngineOptions, Installed
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import EngineAdapter
from ansambl.engines.registry import ENGINES

GOLDEN_PORT, GOLDEN_SECRET = 18000, "golden-secret"


def registered_engines() -> tuple[str, ...]:
    """Every engine name, for parametrising."""
    return tuple(ENGINES)


def golden_placement(case: dict[str, Any]) -> Placement:
    """The placement that a case of ``launch.json`` describes."""
    given = dict(case["placement"])
    checkpoint = None
    if given.pop("checkpoint", True):
        path = given.pop("path", "/models/model.gguf")
        checkpoint = Checkpoint(
            reference=PurePath(path).name, path=path, format=given.pop("format", "gguf"), size=Bytes(1000),
            identity="golden", context=given.pop("trained_context", 8192),
            **{name: given.pop(name) for name in ("architecture", "layers", "quantization", "repo") if name in given},
        )  # fmt: skip
    options = EngineOptions(
        arguments=tuple(given.pop("arguments", ())), environment=given.pop("environment", {}),
        command=given.pop("command", None), name=given.pop("name", None),
    )  # fmt: skip
    if "installed" in given:
        given["installed"] = Installed(**given["installed"])
    if "gpus" in given:
        given["gpus"] = tuple(given["gpus"])
    if "kind" in given:
        given["kind"] = ModelKind(given["kind"])
    given["loras"] = tuple(_golden_lora(one) for one in given.pop("loras", ()))
    return Placement(
        model=given.pop("model", "m"), engine=given.pop("engine", "auto"), checkpoint=checkpoint,
        context=given.pop("context", 4096), parallel=given.pop("parallel", 1), options=options, **given,
    )  # fmt: skip


def _golden_lora(given: dict[str, Any]) -> LoraAdapter:
    filled = {"model": "m", "rank": 8, "size": Bytes(1000), "identity": f"golden {given['name']}", **given}
    return LoraAdapter(**{**filled, "invocation": tuple(filled.get("invocation", ()))})


class RecordedEngines:
    """Each registered engine with its folder of recorded data below `data`; every test takes one engine's name."""

    data: Path

    @pytest.fixture(params=registered_engines())
    def name(self, request: pytest.FixtureRequest) -> str:
        """One registered engine after the other."""
        return str(request.param)

    @pytest.fixture
    def adapter(self, name: str) -> EngineAdapter:
        """Its adapter."""
        return ENGINES.get(name)

    def recorded(self, name: str, file: str, *, needed: bool = True) -> Any:
        """The content of a recorded file (parsed when it is JSON); None when it is not `needed` and not there."""
        path = self.data / name / file
        if not path.is_file():
            if needed:
                pytest.fail(
                    f"the engine '{name}' has no recorded data: {path.relative_to(self.data.parent)} is missing"
                )
            return None
        content = path.read_text(encoding="utf-8", errors="replace")
        return json.loads(content) if path.suffix == ".json" else content
