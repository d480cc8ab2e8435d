"""The page Plan: what fits, what to run, and putting it into effect."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ansambl.console.admin_client import AdminError
from ansambl.console.page import Frame, Page
from ansambl.console.pages.plan.question import (
    CONTEXTS,
    ENGINES,
    GOALS,
    KV_TYPES,
    MOST_MACHINES,
    MOST_PARALLEL,
    PlanPageQuestion,
    read_question,
)
from ansambl.console.words import Speak

_LARGEST_FORM = 64_000
_SAID = frozenset({400, 404, 422, 501, 503})
"""Answers that are the answer to a question: it cannot be, and why."""


def _name(speak: Speak) -> str:
    return speak("Plan")


def _words(speak: Speak) -> dict[str, str]:
    return {
        "shown_models": speak("{count} models"),
        "remove": speak("Remove {name}"),
    }


def _goals(speak: Speak) -> dict[str, str]:
    words = {
        "balanced": speak("balanced: strong and quick"), "depth": speak("depth: the strongest answers"),
        "parallel": speak("parallel: many answers at once"),
        "no-swap": speak("no-swap: nothing is ever loaded anew"),
    }  # fmt: skip
    return {goal: words[goal] for goal in GOALS}


def _parts(speak: Speak) -> dict[str, str]:
    return {
        "weights": speak("weights"), "kv_cache": speak("KV cache"), "compute": speak("compute"),
        "overhead": speak("overhead"),
    }  # fmt: skip


def _quantizations(catalog: list[dict[str, Any]], model: str, chosen: str = "") -> list[tuple[str, int]]:
    """The quantizations of a model with their bytes, the largest first; 0 bytes where `chosen` is none of them.

    A question may come from another Ansambl, whose catalog knew more.
    """
    rows: list[dict[str, Any]] = next((one["checkpoints"] for one in catalog if one["name"] == model), [])
    # Where several formats have one name the first counts.
    sizes = {one["quantization"]: one["bytes"] for one in reversed(rows)}
    found = sorted(sizes.items(), key=lambda one: (-one[1], one[0]))
    return [(chosen, 0), *found] if chosen and chosen not in sizes else found


def _row(model: dict[str, Any]) -> dict[str, Any]:
    """A model of the list: its smallest and its largest checkpoint, and what it is found by."""
    sizes = [one["bytes"] for one in model["checkpoints"]]
    return {**model, "least": min(sizes), "most": max(sizes), "words": _words_of(model)}


def _words_of(model: dict[str, Any]) -> str:
    """What the search finds a model by, beside what its line says."""
    words = f"{model['name']} {model['repo']} {model['family']} {' '.join(model['specialities'])}".lower().split()
    # The name is the end of most repositories' names.
    return " ".join(one for one in dict.fromkeys(words) if not any(one in other for other in words if other != one))


async def _fields(request: Request) -> QueryParams:
    """The fields of a form that was sent; too large a one has none."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_FORM:
            return QueryParams([])
    return QueryParams(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _preview_request(question: PlanPageQuestion, fields: QueryParams) -> dict[str, Any]:
    return {**question.plan(), "option": fields.get("option", "") or "-"}


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        admin = frame.admin(request)
        catalog = (await admin.get("catalog"))["models"]
        machines = await admin.get("machines")
        state = await admin.get("state")
        applying = (await admin.get("plan", "applying") or {}).get("applying")
        question = read_question(request.query_params, (one["name"] for one in catalog))
        speak = frame.speak(request)
        return frame.page(
            request, PAGE, "plan/page.html", question=question.shown(), models=[_row(one) for one in catalog],
            machines=machines, quantizations=_quantizations(catalog, question.model, question.quantization),
            roles=[one["name"] for one in state["roles"]], goals=_goals(speak), kv_types=KV_TYPES, engines=ENGINES,
            contexts=CONTEXTS, most_parallel=MOST_PARALLEL, most_machines=MOST_MACHINES, applying=applying,
        )  # fmt: skip

    async def fit(request: Request) -> Response:
        """Whether one model fits, and how fast it is; what cannot be is an answer, too."""
        question = read_question(request.query_params)
        try:
            found = await frame.admin(request).post("fit", document=question.fit())
        except AdminError as error:
            if error.status not in _SAID:
                raise
            return frame.fragment(request, "plan/impossible.html", message=error.message)
        return frame.fragment(request, "plan/fit.html", fit=found, parts=_parts(frame.speak(request)))

    async def quantizations(request: Request) -> Response:
        """The quantizations of one model, to choose from."""
        question = read_question(request.query_params)
        catalog = (await frame.admin(request).get("catalog"))["models"]
        return frame.fragment(
            request, "plan/quantizations.html", quantizations=_quantizations(catalog, question.model),
            question=question.shown(),
        )  # fmt: skip

    async def options(request: Request) -> Response:
        """The options side by side."""
        question = read_question(request.query_params)
        try:
            found = await frame.admin(request).post("plan", document=question.plan())
        except AdminError as error:
            if error.status not in _SAID:
                raise
            return frame.fragment(request, "plan/impossible.html", message=error.message)
        return frame.fragment(request, "plan/options.html", plan=found, parts=_parts(frame.speak(request)))

    async def page(request: Request) -> Response:
        """The plan as one file."""
        question = read_question(request.query_params)
        made = await frame.admin(request).post("plan", "page", document=question.plan())
        return HTMLResponse(made, headers={"content-disposition": 'attachment; filename="ansambl-plan.html"'})

    return [
        Route(PAGE.path, get), Route(f"{PAGE.path}/fit", fit), Route(f"{PAGE.path}/options", options),
        Route(f"{PAGE.path}/quantizations", quantizations), Route(f"{PAGE.path}/page", page), *_applying_routes(frame),
    ]  # fmt: skip


def _applying_routes(frame: Frame) -> list[Route]:
    async def preview(request: Request) -> Response:
        """What putting an option into effect would do."""
        fields = await _fields(request)
        found = await frame.admin(request).post(
            "plan", "preview", document=_preview_request(read_question(fields), fields)
        )  # fmt: skip
        return frame.fragment(request, "plan/preview.html", preview=found)

    async def apply(request: Request) -> Response:
        """Put it into effect."""
        fields = await _fields(request)
        asked = {
            **_preview_request(read_question(fields), fields), "accept_licences": fields.getlist("licence")[:16],
            **({"agreed": fields["agreed"]} if fields.get("agreed") else {}),
        }  # fmt: skip
        return frame.fragment(
            request, "plan/applying.html", applying=await frame.admin(request).post("plan", "apply", document=asked)
        )

    async def applying(request: Request) -> Response:
        """How far it is."""
        found = await frame.admin(request).get("plan", "applying")
        return frame.fragment(request, "plan/applying.html", applying=found["applying"])

    async def stop(request: Request) -> Response:
        """Stop fetching."""
        found = await frame.admin(request).post("plan", "applying", "stop")
        return frame.fragment(request, "plan/applying.html", applying=found["applying"])

    return [
        Route(f"{PAGE.path}/preview", preview, methods=["POST"]), Route(f"{PAGE.path}/apply", apply, methods=["POST"]),
        Route(f"{PAGE.path}/applying", applying), Route(f"{PAGE.path}/applying/stop", stop, methods=["POST"]),
    ]  # fmt: skip


PAGE = Page(
    key="plan", path="/console/plan", name=_name, routes=_routes, script="plan/page.js", words=_words,
    styles=("pages/plan/page.css",),
)  # fmt: skip
