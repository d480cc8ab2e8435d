"""The question of the page Plan: it stands in the page's address, and is read from there alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

GOALS = ("balanced", "depth", "parallel", "no-swap")
KV_TYPES = ("f16", "q8_0", "q4_0", "fp8")
ENGINES = ("", "llama.cpp", "vllm")
MOST_MACHINES = 4
CONTEXTS = tuple(2**power for power in range(9, 21))
"""The steps of the slider, in tokens; a number between them can be typed."""
MOST_PARALLEL = 64
GIB = 2**30

_DEFAULT_CONTEXT = 8192
_DESCRIBED = "described:"
# described:rtx-3090*2,rtx-4090;64;ryzen-9-7900 is two RTX 3090, one RTX 4090, 64 GiB of RAM and that processor.
_GPU = re.compile(r"(?P<device>[a-z0-9][a-z0-9.+_-]{0,79})(?:\*(?P<count>[0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class PlanPageQuestion:
    """What the address asks. Numbers that make no sense are left to the admin API, which says so."""

    machines: tuple[str, ...]
    model: str
    quantization: str
    engine: str
    context: int
    parallel: int
    kv_type: str
    goal: str
    only: tuple[str, ...]
    roles: tuple[str, ...]
    language: str
    helpers: bool
    fetchable: bool

    def fit(self) -> dict[str, Any]:
        """What POST /admin/api/fit is asked; the first machine counts."""
        return {
            "model": self.model, "machine": machine_document(self.machines[0]), "context": self.context,
            "parallel": self.parallel, "kv_type": self.kv_type,
            **({"quantization": self.quantization} if self.quantization else {}),
            **({"engine": self.engine} if self.engine else {}),
        }  # fmt: skip

    def plan(self) -> dict[str, Any]:
        """What POST /admin/api/plan is asked."""
        return {
            "machines": [machine_document(one) for one in self.machines], "goal": self.goal,
            "models": list(self.only), "roles": list(self.roles), "context": self.context, "parallel": self.parallel,
            "helpers": self.helpers, "fetchable": self.fetchable,
            **({"language": self.language} if self.language else {}),
        }  # fmt: skip

    def shown(self) -> dict[str, Any]:
        """The question for the page's script, whose fields have the names of the address."""
        return {
            "machine": list(self.machines), "model": self.model, "quantization": self.quantization,
            "engine": self.engine, "context": self.context, "parallel": self.parallel, "kv": self.kv_type,
            "goal": self.goal, "only": list(self.only), "role": list(self.roles), "language": self.language,
            "helpers": self.helpers, "fetchable": self.fetchable,
        }  # fmt: skip


def read_question(fields: QueryParams, models: Iterable[str] = ()) -> PlanPageQuestion:
    """The question in the address; where it names no model, the first of `models`."""
    model = fields.get("model", "") or next(iter(models), "embedded")
    goal = fields.get("goal", "")
    return PlanPageQuestion(
        machines=tuple(fields.getlist("machine")[:MOST_MACHINES]) or ("this",), model=model,
        quantization=fields.get("quantization", ""), engine=fields.get("engine", ""),
        context=_number(fields, "context", _DEFAULT_CONTEXT), parallel=_number(fields, "parallel", 1),
        kv_type=fields.get("kv", "") or KV_TYPES[0], goal=goal if goal in GOALS else GOALS[0],
        only=tuple(one for one in fields.getlist("only") if one)[:8],
        roles=tuple(one for one in fields.getlist("role") if one)[:50], language=fields.get("language", ""),
        helpers=fields.get("helpers", "yes") != "no", fetchable=fields.get("fetchable", "yes") != "no",
    )  # fmt: skip


def _number(fields: Mapping[str, str], name: str, usual: int) -> int:
    words = fields.get(name, "")
    return int(words) if words.isascii() and words.isdigit() and len(words) < 10 else usual


def machine_document(written: str) -> str | dict[str, Any]:
    """A machine of the address as the admin API takes it: a name, or a description."""
    if not written.startswith(_DESCRIBED):
        return written
    gpus, ram, processor = (*written.removeprefix(_DESCRIBED).split(";"), "", "")[:3]
    found = [match for one in gpus.split(",") if (match := _GPU.fullmatch(one))]
    size = int(ram) if ram.isascii() and ram.isdigit() and len(ram) < 8 else 0
    title = " + ".join(f"{one['count'] or 1} × {one['device']}" for one in found)
    return {
        "name": ", ".join(part for part in (title, f"{size} GiB") if part)[:80],
        "gpus": [{"device": one["device"], "count": int(one["count"] or 1)} for one in found][:8],
        "ram": size * GIB, **({"processor": processor} if processor else {}),
    }  # fmt: skip
