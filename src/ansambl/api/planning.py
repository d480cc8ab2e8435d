"""The admin API's routes for questions: what to run, what fits, what works, what a trace would come to.

They change nothing. They are POST, because they have bodies and cost seconds of a processor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.leaving import while_client_stays
from ansambl.api.plan_schemas import (
    ApplyingDocument,
    ApplyingStateDocument,
    CatalogDocument,
    MachinesDocument,
    PreviewDocument,
)
from ansambl.api.planning_schemas import (
    ApplyRequest,
    CompatDocument,
    CompatRequest,
    FitDocument,
    FitRequest,
    PlanDocument,
    PlanRequest,
    PreviewRequest,
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

    async def page(self, wanted: PlanRequest, translate: Translate) -> str:
        """As `ansambl plan --html`."""
        ...

    async def machines(self, translate: Translate) -> MachinesDocument:
        """Machines and devices that one can plan for."""
        ...

    async def catalog(self) -> CatalogDocument:
        """Models that one can plan with."""
        ...

    async def preview(self, wanted: PreviewRequest, translate: Translate) -> PreviewDocument:
        """What putting an option into effect would do; nothing is changed."""
        ...

    async def apply(self, wanted: ApplyRequest, translate: Translate) -> ApplyingDocument:
        """Begin to put an option into effect.

        Raises:
            RequestError: another plan is being put into effect, or what would happen is not what was agreed to.
        """
        ...

    def applying(self, translate: Translate) -> ApplyingDocument | None:
        """The newest plan that was put into effect in this run, or is."""
        ...

    def stop_applying(self, translate: Translate) -> ApplyingDocument | None:
        """Stop fetching for it; what has come stays. What is being put into effect already is not stopped."""
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
    _add_plan_routes(router, controls, language)

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


def _add_plan_routes(router: APIRouter, controls: PlanningControls, language: Callable[[Request], Translate]) -> None:
    failures = may_fail(400, 404, 413, 422, 501, 503)

    @router.post(
        f"{PREFIX}/plan/page", tags=["Planning"], operation_id="plan_page", response_class=Response,
        responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **failures},
    )  # fmt: skip
    async def post_page(wanted: PlanRequest, request: Request) -> Response:
        """The plan as one page that needs no network, as `ansambl plan --html` writes it."""
        page = await while_client_stays(request.receive, controls.page(wanted, language(request)))
        return HTMLResponse(page, headers={"content-disposition": 'attachment; filename="ansambl-plan.html"'})

    @router.post(f"{PREFIX}/plan/preview", tags=["Planning"], operation_id="preview_plan", responses=failures)
    async def post_preview(wanted: PreviewRequest, request: Request) -> PreviewDocument:
        """Say what putting an option of a plan into effect would do. Nothing is changed."""
        return await while_client_stays(request.receive, controls.preview(wanted, language(request)))

    @router.post(
        f"{PREFIX}/plan/apply", status_code=202, tags=["Planning"], operation_id="apply_plan",
        responses={**failures, **may_fail(409)},
    )  # fmt: skip
    async def post_apply(wanted: ApplyRequest, request: Request) -> ApplyingDocument:
        """Put an option of a plan for this machine into effect: fetch what is missing, write the configuration, reload.

        It goes on when the client has gone; GET /admin/api/plan/applying tells how far it is.
        """
        return await controls.apply(wanted, language(request))

    @router.get(f"{PREFIX}/plan/applying", tags=["Planning"], operation_id="get_applying")
    async def get_applying(request: Request) -> ApplyingStateDocument:
        """How far the newest plan of this run is."""
        return ApplyingStateDocument(applying=controls.applying(language(request)))

    @router.post(f"{PREFIX}/plan/applying/stop", tags=["Planning"], operation_id="stop_applying")
    async def post_stop_applying(request: Request) -> ApplyingStateDocument:
        """Stop fetching for a plan; what has come stays."""
        return ApplyingStateDocument(applying=controls.stop_applying(language(request)))

    @router.get(f"{PREFIX}/machines", tags=["Planning"], operation_id="get_machines", responses=may_fail(503))
    async def get_machines(request: Request) -> MachinesDocument:
        """This machine, the machines that one can plan for by name, and the devices to describe another one with."""
        return await while_client_stays(request.receive, controls.machines(language(request)))

    @router.get(f"{PREFIX}/catalog", tags=["Planning"], operation_id="get_catalog", responses=may_fail(503))
    async def get_catalog(request: Request) -> CatalogDocument:
        """The models that one can plan with: those of the configuration and of the shipped catalog, with sizes."""
        return await while_client_stays(request.receive, controls.catalog())


async def _answered(request: Request, work: Any) -> JSONResponse:
    # As it is: a model of pydantic in between would drop what scripts of the commands may read.
    return JSONResponse(await while_client_stays(request.receive, work))
