"""The admin API's routes for installing engines, as jobs, and for removing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request, Response

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.installing_schemas import (
    InstallDocument,
    InstallOfferDocument,
    InstallRequest,
    InstallsDocument,
)
from ansambl.api.leaving import while_client_stays

Translate = Callable[[str], str]

_TAG: list[Any] = ["Engines"]
_BASE = f"{PREFIX}/engines"

Engine = Annotated[str, Query(min_length=1, max_length=60, description="vllm, sglang, transformers or llama.cpp.")]


class InstallControls(Protocol):
    """What the running product lets the admin API do with engines.

    All but `installs` raise UnavailableError where too many ask at once or the answer takes too long.
    """

    async def announce(self, wanted: InstallRequest, translate: Translate) -> InstallOfferDocument:
        """What an installation would be.

        Raises:
            UsageError: there is no such engine to install.
            NotSupportedError: none of its builds runs here.
        """
        ...

    async def install(self, wanted: InstallRequest, translate: Translate) -> InstallDocument:
        """Begin to install an engine; where that goes on already it is that installation.

        Raises:
            AnsamblError: as `announce`; nothing may be fetched; there is no room; another program installs it.
        """
        ...

    def installs(self, translate: Translate) -> InstallsDocument:
        """Installations and removals since the start."""
        ...

    def install_of(self, wanted: str, translate: Translate) -> InstallDocument:
        """One of them.

        Raises:
            NotFoundError: there is none of this id.
        """
        ...

    def stop_install(self, wanted: str, translate: Translate) -> InstallDocument:
        """Have it end; what has come stays.

        Raises:
            NotFoundError: there is none of this id.
        """
        ...

    async def remove(self, engine: str, translate: Translate) -> InstallDocument:
        """Begin to remove an engine that Ansambl installed, also one that was only begun.

        Raises:
            UsageError: Ansambl installs no such engine, or is installing it.
            AnsamblError: nothing of it is there, or something runs on it.
        """
        ...


def add_installing_routes(
    router: APIRouter, controls: InstallControls, language: Callable[[Request], Translate]
) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""
    failures = may_fail(400, 413, 422, 501, 503)

    @router.post(f"{_BASE}/announce", tags=_TAG, operation_id="announce_install", responses=failures)
    async def post_announce(wanted: InstallRequest, request: Request) -> InstallOfferDocument:
        """What an installation would be: size, room, licence, and why other builds cannot be used. Fetches nothing."""
        return await while_client_stays(request.receive, controls.announce(wanted, language(request)))

    @router.post(
        f"{_BASE}/install", status_code=202, tags=_TAG, operation_id="install_engine",
        responses={200: {"model": InstallDocument, "description": "It is here already."}, **failures},
    )  # fmt: skip
    async def post_install(wanted: InstallRequest, request: Request, response: Response) -> InstallDocument:
        """Begin to install an engine, or go on where it was broken off. The event stream says how far it is."""
        # Not given up when the client leaves: what was asked for has begun then, or begins.
        found = await controls.install(wanted, language(request))
        response.status_code = 200 if found.state == "done" else 202
        return found

    @router.get(f"{_BASE}/installs", tags=_TAG, operation_id="list_installs")
    async def get_installs(request: Request) -> InstallsDocument:
        """Installations and removals since the start, the newest first."""
        return controls.installs(language(request))

    @router.get(f"{_BASE}/installs/{{install}}", tags=_TAG, operation_id="get_install", responses=may_fail(404))
    async def get_install(install: str, request: Request) -> InstallDocument:
        """How far an installation is, and what came of it."""
        return controls.install_of(install, language(request))

    @router.post(f"{_BASE}/installs/{{install}}/stop", tags=_TAG, operation_id="stop_install", responses=may_fail(404))
    async def post_stop(install: str, request: Request) -> InstallDocument:
        """Have an installation end. What has come stays, and the next one of the same goes on from there."""
        return controls.stop_install(install, language(request))

    @router.delete(
        _BASE, status_code=202, tags=_TAG, operation_id="remove_engine", responses=may_fail(400, 422, 503)
    )  # fmt: skip
    async def delete_engine(engine: Engine, request: Request) -> InstallDocument:
        """Begin to remove an engine that Ansambl installed, or only began to; refused while something runs on it."""
        return await controls.remove(engine, language(request))
