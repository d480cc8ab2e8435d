"""``/console/session``: a browser gives a key once and gets a cookie for it, or gives the cookie back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ansambl.access.credentials import cookie_header, credentials_of, is_same_origin
from ansambl.access.sessions import Sessions
from ansambl.domain.access import ForbiddenError
from ansambl.domain.errors import AnsamblError, RequestError
from ansambl.domain.text import text

_LARGEST_BODY = 4096


class SignIns(Protocol):
    """What begins sessions, and where they are."""

    sessions: Sessions

    def sign_in(self, secret: str) -> str:
        """Begin a session for a secret; returns what stands in its cookie.

        Raises:
            UnauthorizedError: the secret lets nobody in.
        """
        ...


async def answer_sign_in(request: Request, sign_ins: SignIns, speak: Callable[[str], str]) -> Response:
    """POST gives a key in the body (``{"key": …}``), DELETE ends the session. Both only from the console's own page."""
    try:
        # Or another site could sign a browser in with a key of its own, and read what is then asked.
        if not is_same_origin(request.scope):
            raise ForbiddenError(text("Only the console's own page can sign in and out."))
        if request.method == "POST":
            cookie: str | None = sign_ins.sign_in(await _key(request))
        else:
            cookie = None
            session = credentials_of(request.scope, local=False).cookie
            if session is not None:
                sign_ins.sessions.end(session)
    except AnsamblError as error:
        message = error.message.render(speak)
        return JSONResponse({"error": {"message": message, "type": error.type, "code": error.code}}, error.status)
    answer = Response(status_code=204, headers={"cache-control": "no-store"})
    answer.raw_headers.append(cookie_header(request.scope, cookie))
    return answer


async def _key(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            body = b""
            break
    try:
        found = json.loads(body)["key"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found.strip():
        raise RequestError(text("Send the key as the field 'key' of a JSON document."), param="key")
    return found.strip()
