"""The admin API's routes for questions: what to run, what fits, what works, what a trace would come to.

They change nothing. They are POST, because they have bodies and cost seconds of a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.leaving import while_client_stays
from ansambl.api.planning_schemas import (
    CompatDocument,
    CompatRequest,
    FitDocument,
    FitRequest,
    PlanDocument,
    PlanRequest,
    ReviewDocument,
    ReviewRequest,
    SimulateRequest,
    SimulationsDocument,
)

Translate = Callable[[str], str]


class PlanningControls(Protocol):
    """Answers questions in threads, a few at a time.

    Every method raises AnsamblError where a name is not known or a number makes no sense, and UnavailableError where
    too many ask at once or the answer takes too long. Who is cancelled before the work began has it not begun.
    """

    async def plan(self, wanted: PlanRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl plan --json`."""
        ...

    async def fit(self, wanted: FitRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl fit --json`."""
        ...

    async def review(self, wanted: ReviewRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl review --json`."""
        ...

    async def compat(self, wanted: CompatRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl compat --json`."""
        ...

    async def simulate(self, wanted: SimulateRequest, translate: Translate) -> dict[str, Any]:
        """As `ansambl simulate --compare --json`, on the configuration in effect."""
        ...


def add_planning_routes(
    router: APIRouter, controls: PlanningControls, language: Callable[[Request], Translate]
) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""
    failures = may_fail(400, 404, 413, 422, 501, 503)

    @router.post(
        f"{PREFIX}/plan", tags=["Planning"], operation_id="plan", response_model=None,
        responses={200: {"model": PlanDocument}, **failures},
    )  # fmt: skip
    async def post_plan(wanted: PlanRequest, request: Request) -> JSONResponse:
        """Say what to run on a machine: options side by side, with reasons."""
        return await _answered(request, controls.plan(wanted, language(request)))

    @router.post(
        f"{PREFIX}/fit", tags=["Planning"], operation_id="fit", response_model=None,
        responses={200: {"model": FitDocument}, **failures},
    )  # fmt: skip
    async def post_fit(wanted: FitRequest, request: Request) -> JSONResponse:
        """Say whether a model fits, how long its context may be and how fast it is."""
        return await _answered(request, controls.fit(wanted, language(request)))

    @router.post(
        f"{PREFIX}/review", tags=["Planning"], operation_id="review", response_model=None,
        responses={200: {"model": ReviewDocument}, **failures},
    )  # fmt: skip
    async def post_review(wanted: ReviewRequest, request: Request) -> JSONResponse:
        """Judge a choice: what holds, what is weak, what was forgotten."""
        return await _answered(request, controls.review(wanted, language(request)))

    @router.post(
        f"{PREFIX}/compat", tags=["Planning"], operation_id="compat", response_model=None,
        responses={200: {"model": CompatDocument}, **failures},
    )  # fmt: skip
    async def post_compat(wanted: CompatRequest, request: Request) -> JSONResponse:
        """Say what works with what, since which version, and who says so."""
        return await _answered(request, controls.compat(wanted, language(request)))

    @router.post(
        f"{PREFIX}/simulate", tags=["Planning"], operation_id="simulate", response_model=None,
        responses={200: {"model": SimulationsDocument}, **failures},
    )  # fmt: skip
    async def post_simulate(wanted: SimulateRequest, request: Request) -> JSONResponse:
        """Say how a trace of requests would fare under one or several policies."""
        return await _answered(request, controls.simulate(wanted, language(request)))


async def _answered(request: Request, work: Any) -> JSONResponse:
    # As it is: a model of pydantic in between would drop what scripts of the commands may read.
    return JSONResponse(await while_client_stays(request.receive, work))
