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
_KEY, _INVITATION = "key", "invitation"


class SignIns(Protocol):
    """What begins sessions, and where they are."""

    sessions: Sessions

    def sign_in(self, secret: str) -> str:
        """Begin a session for a secret; returns what stands in its cookie.

        Raises:
            UnauthorizedError: the secret lets nobody in.
        """
        ...

    def accept_invitation(self, secret: str) -> str:
        """The same for what ``POST /admin/api/sign-ins`` gave, and for nothing else.

        Raises:
            UnauthorizedError: it is none, or was used, or is too old.
        """
        ...


async def answer_sign_in(request: Request, sign_ins: SignIns, speak: Callable[[str], str]) -> Response:
    """POST gives a key in the body (``{"key": …}``), DELETE ends the session. Both only from the console's own page.

    An address signs in by ``{"invitation": …}``. It can stand on anybody's page, so a key does not do there: who owns
    one could sign others in with it, and find in its name what they then ask.
    """
    try:
        # Or another site could sign a browser in with a key of its own, and read what is then asked.
        if not is_same_origin(request.scope):
            raise ForbiddenError(text("Only the console's own page can sign in and out."))
        if request.method == "POST":
            kind, secret = await _secret(request)
            begin = sign_ins.accept_invitation if kind == _INVITATION else sign_ins.sign_in
            cookie: str | None = begin(secret)
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


async def _secret(request: Request) -> tuple[str, str]:
    """Which field the body has, and what stands there."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_BODY:
            body = b""
            break
    try:
        document = json.loads(body)
        kind = _INVITATION if _INVITATION in document else _KEY
        found = document[kind]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    if not isinstance(found, str) or not found.strip():
        raise RequestError(text("Send the key as the field 'key' of a JSON document."), param="key")
    return kind, found.strip()
