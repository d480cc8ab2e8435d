"""The admin API's routes."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ansambl import __version__
from ansambl.api import PREFIX
from ansambl.api.body_limit import BodyLimit
from ansambl.api.instances import InstanceControls, add_instance_routes
from ansambl.api.roles import LARGEST_BODY, RoleControls, add_role_routes
from ansambl.api.schemas import LogDocument, StateDocument, StoppingDocument
from ansambl.dialects import openai_chat
from ansambl.domain.errors import AnsamblError, RequestError
from ansambl.domain.text import text
from ansambl.foundation.locales import speaker_of_header

_MAX_LINES = 5000


class Controls(Protocol):
    """What the running product lets the admin API see and do."""

    def state(self, translate: Callable[[str], str]) -> StateDocument:
        """What is running now, its sentences translated."""
        ...

    def log_tail(self, model: str, lines: int) -> list[str]:
        """The newest lines of an engine's log.

        Raises:
            UnknownNameError: no instance serves `model`.
        """
        ...

    def explain(self, body: bytes, translate: Callable[[str], str]) -> dict[str, Any]:
        """What a chat completion request would be turned into, and why.

        Raises:
            RequestError: it is not one.
        """
        ...

    def request_stop(self) -> None:
        """Begin to stop, as SIGTERM does."""
        ...


class TokenError(AnsamblError):
    """The admin token is missing or wrong."""

    status = 401
    type = "authentication_error"
    code = "invalid_token"


def _invalid(request: Request, first: dict[str, Any]) -> RequestError:
    """What is wrong with a body or a query, from FastAPI's first finding."""
    place = ".".join(str(part) for part in first["loc"])
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if place == "body" and kind not in {"application/json", ""} and not kind.endswith("+json"):
        failure = RequestError(
            text("The body is sent as {kind}; send it with the header content-type: application/json", kind=kind[:100])
        )
        failure.status = 415
        return failure
    if first["type"] == "json_invalid":
        failure = RequestError(
            text("The body is not JSON: {reason} (character {position})",
                 reason=first.get("ctx", {}).get("error", first["msg"]), position=first["loc"][-1]),
            param="body", code="invalid_json",
        )  # fmt: skip
    else:
        failure = RequestError(text("{place}: {reason}", place=place, reason=first["msg"]), param=place)
    failure.status = 422
    return failure


def _language(request: Request) -> Callable[[str], str]:
    return speaker_of_header(request.headers.get("accept-language"))


def make_admin_api(
    controls: Controls, roles: RoleControls, token: str, instances: InstanceControls | None = None
) -> FastAPI:
    """Build the admin API.

    Reading the state needs no token on loopback; logs, all about single roles, and changes need the run's `token`.
    """
    app = FastAPI(
        title="Ansambl admin API",
        version=__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        # Both pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
    )

    async def need_token(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if not hmac.compare_digest(given, token.encode()):
            raise TokenError(text("This needs the admin token, which stands in state.json in the data folder."))

    def answer_with(request: Request, error: AnsamblError) -> Response:
        return JSONResponse(openai_chat.error_object(error, error.message.render(_language(request))), error.status)

    @app.exception_handler(AnsamblError)
    async def on_error(request: Request, error: AnsamblError) -> Response:
        return answer_with(request, error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        failure = RequestError(
            text("The admin API cannot answer {method} {path}: {reason}; its routes are in {openapi}.",
                 method=request.method, path=request.url.path[:200], reason=error.detail,
                 openapi=f"{PREFIX}/openapi.json")
        )  # fmt: skip
        failure.status = error.status_code
        return answer_with(request, failure)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return answer_with(request, _invalid(request, error.errors()[0]))

    app.add_middleware(
        BodyLimit, limit=LARGEST_BODY, prefixes=tuple(f"{PREFIX}/{one}" for one in ("roles", "ensembles", "reload")),
        answer=answer_with,
    )  # fmt: skip
    guarded = APIRouter(dependencies=[Depends(need_token)])
    add_role_routes(guarded, roles, _language)
    if instances is not None:
        add_instance_routes(guarded, instances, _language)
    app.include_router(guarded)

    @app.get(f"{PREFIX}/state")
    async def get_state(request: Request) -> StateDocument:
        """What is running now."""
        return controls.state(_language(request))

    @app.get(f"{PREFIX}/instances/{{model:path}}/logs", dependencies=[Depends(need_token)])
    async def get_logs(model: str, lines: Annotated[int, Query(ge=1, le=_MAX_LINES)] = 200) -> LogDocument:
        """The newest lines of an engine's log."""
        return LogDocument(lines=controls.log_tail(model, lines))

    @app.post(f"{PREFIX}/explain", dependencies=[Depends(need_token)])
    async def post_explain(request: Request) -> dict[str, Any]:
        """What a chat completion request would be turned into, and why. Nothing is sent to an engine."""
        return controls.explain(await request.body(), _language(request))

    @app.post(f"{PREFIX}/stop", status_code=202, dependencies=[Depends(need_token)])
    async def post_stop() -> StoppingDocument:
        """Stop Ansambl and its engines, as `ansambl down` does."""
        controls.request_stop()
        return StoppingDocument()

    return app
