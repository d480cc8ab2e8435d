"""The page Models and engines: what is configured, what is on this machine, what can be fetched, and what works here.

The page itself is written at once; what has to be looked up on the disk or by programs comes in parts after it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.page import Frame, Page, may
from ansambl.console.pages.models.words import model_words
from ansambl.console.words import Speak
from ansambl.domain.access import Endpoint

_SHOWN_BY_ASKING = ("model", "machine", "engine", "ui")
_UNFIT = re.compile(r"[^a-z0-9_-]+")
_LONGEST_NAME = 48


def _name(speak: Speak) -> str:
    return speak("Models and engines")


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        # Whoever may not read is told so at once, and not part by part.
        admin = frame.admin(request)
        pulls, installs = await admin.get("models", "pulls"), await admin.get("engines", "installs")
        asked = {name: request.query_params.get(name, "")[:200] for name in _SHOWN_BY_ASKING}
        return frame.page(
            request, PAGE, "models/page.html", pulls=pulls["pulls"], installs=installs["installs"], asked=asked
        )

    async def here(request: Request) -> Response:
        admin = frame.admin(request)
        found, config = await admin.get("models"), await admin.get("config")
        return frame.fragment(
            request, "models/here.html", found=found, file=config["file"], lines=configuration_lines,
            origins=_origins(frame.speak(request)),
        )  # fmt: skip

    async def engines(request: Request) -> Response:
        found = await frame.admin(request).get("engines")
        return frame.fragment(
            request, "models/engines.html", engines=found["engines"], may_change=may(request, Endpoint.ADMIN)
        )

    async def install(request: Request) -> Response:
        given = {name: request.query_params[name] for name in ("engine", "build") if request.query_params.get(name)}
        document = {**given, "compile": "compile" in request.query_params}
        offer = await frame.admin(request).post("engines", "announce", document=document)
        return frame.fragment(request, "models/install.html", offer=offer)

    async def loras(request: Request) -> Response:
        found = await frame.admin(request).get("loras")
        return frame.fragment(request, "models/loras.html", loras=found["loras"])

    async def checks(request: Request) -> Response:
        found = await frame.admin(request).get("doctor")
        order = ("problem", "warning", "ok")
        told = sorted(found["checks"], key=lambda one: order.index(one["level"]))
        return frame.fragment(request, "models/checks.html", checks=told, healthy=found["healthy"])

    async def choices(request: Request) -> Response:
        admin = frame.admin(request)
        models, machines = await admin.get("catalog"), await admin.get("machines")
        return frame.fragment(request, "models/choices.html", models=models["models"], machines=machines["machines"])

    async def compat(request: Request) -> Response:
        asked = _asked(request)
        found = await frame.admin(request).post("compat", document=asked)
        return frame.fragment(
            request, "models/compat.html", found=found, rows=_grouped(found["rows"]),
            verdicts=_verdicts(frame.speak(request)),
        )  # fmt: skip

    async def review(request: Request) -> Response:
        found = await frame.admin(request).post("review", document=_asked(request))
        speak = frame.speak(request)
        return frame.fragment(
            request, "models/review.html", found=found, levels=_levels(speak), verdict=_judged(speak, found["verdict"])
        )

    parts = {
        "here": here, "engines": engines, "loras": loras, "checks": checks, "choices": choices, "compat": compat,
        "review": review, "install": install,
    }  # fmt: skip
    return [Route(PAGE.path, get), *(Route(f"{PAGE.path}/{name}", part) for name, part in parts.items())]


def _asked(request: Request) -> dict[str, str]:
    """What the form asks; what is left empty is left open."""
    given = {name: request.query_params.get(name, "").strip() for name in _SHOWN_BY_ASKING}
    return {name: value for name, value in given.items() if value}


def configuration_lines(reference: str) -> str:
    """The lines that make a checkpoint a model of ``ansambl.toml``, under a name made from its own."""
    plain = reference.rstrip("/").rpartition("/")[2] if "/" in reference else reference
    plain = plain.removesuffix(".gguf").partition(":")[0]
    name = _UNFIT.sub("-", plain.lower()).strip("-_")[:_LONGEST_NAME] or "model"
    # What JSON escapes is escaped so in TOML's basic strings, too; DEL is the one letter that JSON leaves.
    written = json.dumps(reference, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[models.{name}]\ncheckpoint = {written}\n"


def _grouped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, those that work first; those that differ in nothing but the quantization are one."""
    order = ("yes", "slow", "unknown", "no")
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        told = tuple((one["text"], one["source"]) for one in row["reasons"])
        key = (row["engine"], row["format"], row["device"], row["ui"], row["verdict"], row["since"], told)
        group = groups.setdefault(key, {**row, "quantizations": []})
        if row["quantization"] and row["quantization"] not in group["quantizations"]:
            group["quantizations"].append(row["quantization"])
    return sorted(groups.values(), key=lambda one: order.index(one["verdict"]) if one["verdict"] in order else 9)


def _origins(speak: Speak) -> Mapping[str, str]:
    return {
        "ansambl": speak("fetched by Ansambl"), "hub cache": speak("the hub's cache"),
        "folder": speak("a file of yours"), "Ollama": "Ollama", "LM Studio": "LM Studio",
    }  # fmt: skip


def _verdicts(speak: Speak) -> Mapping[str, str]:
    return {"yes": speak("yes"), "slow": speak("slowly"), "no": speak("no"), "unknown": speak("unknown")}


def _levels(speak: Speak) -> Mapping[str, str]:
    return {
        "wrong": speak("Does not work"), "weak": speak("Weak"), "forgotten": speak("Forgotten"),
        "holds": speak("Holds"),
    }  # fmt: skip


def _judged(speak: Speak, verdict: str) -> str:
    words = {
        "holds": speak("it holds"), "holds-with-remarks": speak("it holds, with remarks"),
        "does-not-hold": speak("it does not hold"),
    }  # fmt: skip
    return words.get(verdict, verdict)


PAGE = Page(
    key="models", path="/console/models", name=_name, routes=_routes, script="models/page.js", words=model_words,
    styles=("pages/models/page.css",),
)  # fmt: skip
