"""The admin API's routes that read what is kept and what is here: usage, requests, settings, models, engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.leaving import while_client_stays
from ansambl.api.reading_schemas import (
    ConfigurationDocument,
    DoctorDocument,
    EnginesDocument,
    ModelsDocument,
    RequestsListDocument,
    TrafficDocument,
    UsageDocument,
)

Translate = Callable[[str], str]

MOST_DAYS = 400
MOST_REQUESTS = 500
MOST_MINUTES = 1440
MOST_STEP = 60

Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="How many days, today included, in UTC.")]
Minutes = Annotated[int, Query(ge=1, le=MOST_MINUTES, description="How many minutes, this one included.")]
Step = Annotated[int, Query(ge=1, le=MOST_STEP, description="Minutes that are added up to one step.")]
Limit = Annotated[int, Query(ge=1, le=MOST_REQUESTS, description="How many at most.")]
Key = Annotated[str | None, Query(max_length=100, description="Only those of the API key with this id.")]


class ReadingControls(Protocol):
    """What can be read beside the state."""

    async def usage(self, days: int) -> UsageDocument:
        """What was asked of each model and under each name, by day."""
        ...

    def traffic(self, minutes: int, step: int) -> TrafficDocument:
        """What was asked in the newest minutes, in steps of so many minutes, from memory."""
        ...

    def requests(self, limit: int, key: str | None) -> RequestsListDocument:
        """The newest requests, without contents, the newest first."""
        ...

    async def doctor(self, translate: Translate) -> DoctorDocument:
        """What `ansambl doctor` says.

        Raises:
            UnavailableError: too many questions are being answered.
        """
        ...

    def configuration(self) -> ConfigurationDocument:
        """The settings in effect, without secrets."""
        ...

    async def models(self, translate: Translate) -> ModelsDocument:
        """The checkpoints on this machine.

        Raises:
            UnavailableError: as `doctor`.
        """
        ...

    async def engines(self, translate: Translate) -> dict[str, Any]:
        """What `ansambl engines list --json` says.

        Raises:
            UnavailableError: as `doctor`.
        """
        ...


def add_reading_routes(router: APIRouter, controls: ReadingControls, language: Callable[[Request], Translate]) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""

    @router.get(f"{PREFIX}/usage", tags=["Reading"], operation_id="get_usage", responses=may_fail(422))
    async def get_usage(days: Days = 7) -> UsageDocument:
        """What was asked of each model and under each name, by day; the newest day first."""
        return await controls.usage(days)

    @router.get(f"{PREFIX}/traffic", tags=["Reading"], operation_id="get_traffic", responses=may_fail(422))
    async def get_traffic(minutes: Minutes = 60, step: Step = 1) -> TrafficDocument:
        """What was asked of each model and under each name in the last minutes; the oldest first."""
        return controls.traffic(minutes, step)

    @router.get(f"{PREFIX}/requests", tags=["Reading"], operation_id="get_requests", responses=may_fail(422))
    async def get_requests(limit: Limit = 100, key: Key = None) -> RequestsListDocument:
        """The newest requests, without what was said in them; the newest first."""
        return controls.requests(limit, key)

    @router.get(f"{PREFIX}/doctor", tags=["Reading"], operation_id="get_doctor", responses=may_fail(503))
    async def get_doctor(request: Request) -> DoctorDocument:
        """Check everything that Ansambl needs, and say what to do."""
        return await while_client_stays(request.receive, controls.doctor(language(request)))

    @router.get(f"{PREFIX}/config", tags=["Reading"], operation_id="get_config")
    async def get_config() -> ConfigurationDocument:
        """The settings in effect and where each was set, without secrets."""
        return controls.configuration()

    @router.get(f"{PREFIX}/models", tags=["Reading"], operation_id="get_models", responses=may_fail(503))
    async def get_models(request: Request) -> ModelsDocument:
        """The checkpoints on this machine, whoever put them there."""
        return await while_client_stays(request.receive, controls.models(language(request)))

    @router.get(
        f"{PREFIX}/engines", tags=["Reading"], operation_id="get_engines", response_model=None,
        responses={200: {"model": EnginesDocument}, **may_fail(503)},
    )  # fmt: skip
    async def get_engines(request: Request) -> JSONResponse:
        """Every engine: usable or why not, and what could be installed."""
        return JSONResponse(await while_client_stays(request.receive, controls.engines(language(request))))
