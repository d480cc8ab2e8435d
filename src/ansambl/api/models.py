"""The admin API's routes for models: the hub, pulls as jobs, removal, and LoRA adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request, Response

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.leaving import while_client_stays
from ansambl.api.model_schemas import (
    AnnounceRequest,
    FindRequest,
    FoundModelsDocument,
    LoraListDocument,
    OfferDocument,
    PullDocument,
    PullRequest,
    PullsDocument,
    RemovedModelDocument,
)

Translate = Callable[[str], str]

_TAG: list[Any] = ["Models"]
_BASE = f"{PREFIX}/models"

Model = Annotated[
    str, Query(min_length=1, max_length=1000, description="The reference or the path of a checkpoint, as in the list.")
]


class ModelControls(Protocol):
    """What the running product lets the admin API do with models. What takes long is done in threads, a few at a time.

    All but `pulls` raise UnavailableError where too many ask at once or the answer takes too long.
    """

    async def find(self, wanted: FindRequest, translate: Translate) -> FoundModelsDocument:
        """Search the hub.

        Raises:
            UnavailableError: nothing may be requested, or the hub cannot be reached.
        """
        ...

    async def announce(self, wanted: AnnounceRequest, translate: Translate) -> OfferDocument:
        """What a pull would be.

        Raises:
            AnsamblError: there is no such model, or the hub cannot be asked.
        """
        ...

    async def pull(self, wanted: PullRequest, translate: Translate) -> PullDocument:
        """Begin to fetch a model; where that goes on already it is that pull.

        Raises:
            AnsamblError: as `announce`; its licence was not accepted; there is no room.
        """
        ...

    def pulls(self, translate: Translate) -> PullsDocument:
        """Pulls since the start."""
        ...

    def pull_of(self, wanted: str, translate: Translate) -> PullDocument:
        """One of them.

        Raises:
            NotFoundError: there is none of this id.
        """
        ...

    def stop_pull(self, wanted: str, translate: Translate) -> PullDocument:
        """Have it end; what has come stays.

        Raises:
            NotFoundError: there is none of this id.
        """
        ...

    async def remove(self, model: str, translate: Translate) -> RemovedModelDocument:
        """Delete a checkpoint that Ansambl fetched.

        Raises:
            UsageError: there is none, it is not Ansambl's, or a configured model uses it.
        """
        ...

    async def loras(self, translate: Translate) -> LoraListDocument:
        """Every LoRA adapter, and which of them cannot be used."""
        ...


def add_model_routes(router: APIRouter, controls: ModelControls, language: Callable[[Request], Translate]) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""
    _add_questions(router, controls, language)
    _add_pulls(router, controls, language)

    @router.delete(_BASE, tags=_TAG, operation_id="remove_model", responses=may_fail(400, 404, 422, 503))
    async def delete_model(model: Model, request: Request) -> RemovedModelDocument:
        """Delete a checkpoint that Ansambl fetched; refused while a configured model uses it."""
        return await controls.remove(model, language(request))


def _add_questions(router: APIRouter, controls: ModelControls, language: Callable[[Request], Translate]) -> None:
    failures = may_fail(400, 404, 413, 422, 501, 503)

    @router.post(f"{_BASE}/find", tags=_TAG, operation_id="find_models", responses=failures)
    async def post_find(wanted: FindRequest, request: Request) -> FoundModelsDocument:
        """Search the hub for models, and tell what this machine can run. Sends the hub these words alone."""
        return await while_client_stays(request.receive, controls.find(wanted, language(request)))

    @router.post(f"{_BASE}/announce", tags=_TAG, operation_id="announce_pull", responses=failures)
    async def post_announce(wanted: AnnounceRequest, request: Request) -> OfferDocument:
        """What a pull would be: size, room, licence. Asks the hub for a list of files, and fetches none of them."""
        return await while_client_stays(request.receive, controls.announce(wanted, language(request)))

    @router.get(f"{PREFIX}/loras", tags=_TAG, operation_id="list_loras", responses=may_fail(503))
    async def get_loras(request: Request) -> LoraListDocument:
        """Every LoRA adapter, and why its model cannot use it where that is so."""
        return await while_client_stays(request.receive, controls.loras(language(request)))


def _add_pulls(router: APIRouter, controls: ModelControls, language: Callable[[Request], Translate]) -> None:
    @router.post(
        f"{_BASE}/pull", status_code=202, tags=_TAG, operation_id="pull_model",
        responses={
            200: {"model": PullDocument, "description": "It is here already."},
            **may_fail(400, 404, 413, 422, 501, 503),
        },
    )  # fmt: skip
    async def post_pull(wanted: PullRequest, request: Request, response: Response) -> PullDocument:
        """Begin to fetch a model, or go on with one that was broken off. The event stream says how far it is."""
        # Not given up when the client leaves: what was asked for has begun then, or begins.
        found = await controls.pull(wanted, language(request))
        response.status_code = 200 if found.state == "done" else 202
        return found

    @router.get(f"{_BASE}/pulls", tags=_TAG, operation_id="list_pulls")
    async def get_pulls(request: Request) -> PullsDocument:
        """Pulls since the start, the newest first."""
        return controls.pulls(language(request))

    @router.get(f"{_BASE}/pulls/{{pull}}", tags=_TAG, operation_id="get_pull", responses=may_fail(404))
    async def get_pull(pull: str, request: Request) -> PullDocument:
        """How far a pull is, and what came of it."""
        return controls.pull_of(pull, language(request))

    @router.post(f"{_BASE}/pulls/{{pull}}/stop", tags=_TAG, operation_id="stop_pull", responses=may_fail(404))
    async def post_stop(pull: str, request: Request) -> PullDocument:
        """Have a pull end. What has come stays, and the next pull of the same goes on from there."""
        return controls.stop_pull(pull, language(request))
