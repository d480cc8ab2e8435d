"""Errors of the admin API: one shape, in the reader's language, and described for every route."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from ansambl.api import PREFIX
from ansambl.api.findings import place_of, sentence_of, telling
from ansambl.dialects import openai_chat
from ansambl.domain.errors import AnsamblError, DiskFullError, RequestError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.foundation.full_disk import is_full_disk
from ansambl.foundation.locales import LANGUAGE_COOKIE, speaker_of_header, supported, translator
from ansambl.foundation.logging import get_logger

log = get_logger(__name__)

_LONGEST = 200


class ErrorBody(BaseModel):
    """What went wrong, in one line in the reader's language. `code` is stable; `param` names a part of the request."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(BaseModel):
    """The shape of every error."""

    error: ErrorBody


MEANINGS = {
    400: "The request can never succeed as it is.",
    401: "A key or the admin token is needed, or what was sent is none.",
    403: "The key may not do this, or the request comes from a foreign page or name.",
    404: "There is nothing of this name.",
    405: "Not with this method.",
    409: "It was changed, or something else was asked for, in the meantime.",
    413: "The body is too large.",
    415: "The body is sent as something else than JSON.",
    422: "The body or the query is not what the route takes; the message names the field.",
    429: "A limit of the key is reached; Retry-After says when to ask again.",
    500: "A mistake of Ansambl's; its log says more.",
    501: "This machine, engine or model cannot do it.",
    502: "The engine failed.",
    503: "Not now; Retry-After says when to ask again, where that helps.",
}


def may_fail(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers with these statuses, as a route describes them."""
    return {one: {"model": ErrorDocument, "description": MEANINGS[one]} for one in statuses}


class _CrashError(AnsamblError):
    """Something failed that should not be able to; the log has the traceback."""

    code = "internal_error"


class NotHereError(HTTPException):
    """A path that cannot do what was asked (status 405), in words of its own."""

    def __init__(self, told: Text) -> None:
        super().__init__(405)
        self.told = told


def language_of(request: Request) -> Callable[[str], str]:
    """The translator for who sent a request. What was chosen in the console a cookie says, also for event streams."""
    chosen = supported(request.cookies.get(LANGUAGE_COOKIE, ""))
    if chosen is not None:
        return translator(chosen)
    return speaker_of_header(request.headers.get("accept-language"))


def answer_with(request: Request, error: AnsamblError, headers: dict[str, str] | None = None) -> Response:
    """An error as an answer."""
    found = dict(headers or {})
    if isinstance(error, UnavailableError) and error.retry_after is not None:
        found["retry-after"] = str(error.retry_after)
    body = openai_chat.error_object(error, error.message.render(language_of(request)))
    return JSONResponse(body, error.status, found)


def add_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Have `app` answer with our errors, whatever goes wrong; `routes` are those that it has in the end."""

    @app.exception_handler(AnsamblError)
    async def on_error(request: Request, error: AnsamblError) -> Response:
        return answer_with(request, error)

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        told = text("The admin API cannot answer {method} {path}: {reason}; its routes are in {openapi}.",
                    method=request.method, path=request.url.path[:_LONGEST], reason=error.detail,
                    openapi=f"{PREFIX}/openapi.json")  # fmt: skip
        failure = RequestError(error.told if isinstance(error, NotHereError) else told)
        failure.status = error.status_code
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        if error.status_code == 405:
            headers["allow"] = ", ".join(_methods_at(routes, request))
        return answer_with(request, failure, headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return answer_with(request, _invalid(request, telling(error.errors()), error.body))

    @app.exception_handler(OSError)
    @app.exception_handler(sqlite3.Error)
    async def on_disk(request: Request, error: Exception) -> Response:
        if not is_full_disk(error):
            raise error
        log.error("disk_full", path=request.url.path[:_LONGEST], reason=str(error))
        return answer_with(
            request,
            DiskFullError(
                text("The disk of the data folder is full, so nothing can be kept; free some room, then do it again.")
            ),
        )

    @app.exception_handler(Exception)
    async def on_crash(request: Request, error: Exception) -> Response:
        log.error("admin_request_crashed", path=request.url.path[:_LONGEST], exc_info=error)
        return answer_with(
            request, _CrashError(text("Something failed inside Ansambl; its log says more: ansambl logs."))
        )


def _methods_at(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    """Every method that a path has: each is a route of its own, and the framework tells those of the first alone."""
    known = [one for one in routes if isinstance(one, APIRoute) and one.include_in_schema]
    first = next((one for one in known if one.matches(request.scope)[0] is not Match.NONE), None)
    return sorted({method for one in known if first and one.path == first.path for method in one.methods or ()})


def _invalid(request: Request, finding: dict[str, Any], body: object) -> RequestError:
    """What is wrong with a body or a query, from one of FastAPI's findings."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    place = place_of(finding, body)
    if place == "body" and kind not in {"application/json", ""} and not kind.endswith("+json"):
        failure = RequestError(
            text("The body is sent as {kind}; send it with the header content-type: application/json", kind=kind[:100])
        )
        failure.status = 415
        return failure
    if finding["type"] == "json_invalid":
        failure = RequestError(
            text("The body is not JSON: {reason} (character {position})",
                 reason=finding.get("ctx", {}).get("error", finding["msg"]), position=finding["loc"][-1]),
            param="body", code="invalid_json",
        )  # fmt: skip
    else:
        failure = RequestError(sentence_of(finding, place[:_LONGEST]), param=place[:_LONGEST])
    failure.status = 422
    return failure
