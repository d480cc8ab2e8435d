"""The console's pages as one ASGI application, for the paths ``/`` and ``/console/…``."""

from __future__ import annotations

from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ansambl.access.credentials import is_same_origin
from ansambl.console.admin_client import AdminError
from ansambl.console.packing import PackedPages, accepts_gzip
from ansambl.console.page import Frame, Page, wants_fragment
from ansambl.console.pages import PAGES
from ansambl.console.security import SecurityHeaders
from ansambl.console.signing_in import SignIns, answer_sign_in
from ansambl.foundation.logging import get_logger

log = get_logger(__name__)

_LONGEST_PATH = 200
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def make_console(*, version: str, admin: ASGIApp, sessions: SignIns | None = None) -> Starlette:
    """Build the console; `version` is what the pages say of the product, `admin` is the admin API.

    `sessions` lets browsers in by a key; without it the console has no sign-in.
    """
    frame = Frame(version=version, admin=admin, pages=PAGES)

    async def session(request: Request) -> Response:
        if sessions is None:
            raise HTTPException(404)
        return await answer_sign_in(request, sessions, frame.speak(request))

    async def static(request: Request) -> Response:
        """A static file; one asked for under an older digest is sent as it is now, and not kept."""
        asset = frame.assets.by_name.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        current = request.path_params["digest"] == frame.assets.digest
        headers = {"cache-control": _FOREVER if current else _ASK_AGAIN, "vary": "accept-encoding"}
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            return Response(
                asset.packed, media_type=asset.content_type, headers={**headers, "content-encoding": "gzip"}
            )
        return Response(asset.content, media_type=asset.content_type, headers=headers)

    async def refused(request: Request, error: Exception) -> Response:
        return _refused(frame, request, cast("AdminError", error))

    async def failed(request: Request, error: Exception) -> Response:
        return _answer_failure(frame, request, error)

    return Starlette(
        routes=[
            *(_for_callers(frame, page, route) for page in PAGES for route in page.routes(frame)),
            Route("/console/session", session, methods=["POST", "DELETE"]),
            Route("/console/static/{digest}/{name:path}", static),
        ],
        middleware=[Middleware(SecurityHeaders), Middleware(PackedPages)],
        exception_handlers={HTTPException: failed, AdminError: refused},
    )


def _for_callers(frame: Frame, page: Page, route: Route) -> Route:
    """The same route for those who may see the page; others are told, or led to what they may see.

    What may change something is done for the console's own page alone, whoever is signed in.
    """

    async def answer(request: Request) -> Response:
        if request.method not in ("GET", "HEAD") and not is_same_origin(request.scope):
            raise AdminError(403, frame.speak(request)("Only the console's own page can do this."), "not_allowed")
        await frame.learn_caller(request)
        if not frame.may_see(request, page):
            return _not_for_you(frame, request, page)
        answered: Response = await route.endpoint(request)
        return answered

    async def get(request: Request) -> Response:
        try:
            return await answer(request)
        except (AdminError, HTTPException):
            raise
        except ClientDisconnect:
            # Nobody reads it; without an answer the server would take it for a failure of its own.
            return Response(status_code=400)
        except Exception as error:
            # A page that fails says so in its own place and with its headers, and the connection lives on.
            log.exception("page_crashed", path=request.url.path[:_LONGEST_PATH])
            message = frame.speak(request)("Something failed inside Ansambl; its log says more: ansambl logs.")
            raise AdminError(500, message, "internal_error") from error

    return Route(route.path, get, methods=sorted(route.methods or {"GET"}), name=route.name)


def _not_for_you(frame: Frame, request: Request, page: Page) -> Response:
    others = [one for one in frame.pages if frame.may_see(request, one)]
    if request.url.path == "/" and others:
        return RedirectResponse(others[0].path, 303)
    speak = frame.speak(request)
    message = speak("This API key may not use '{endpoint}'; the owner of this Ansambl can create one that may.")
    if wants_fragment(request):
        raise AdminError(403, message.format(endpoint=page.needs.value), "not_allowed")
    return frame.page(
        request, page.bare(), "problem_page.html", status=403, title=page.name(speak),
        message=message.format(endpoint=(page.part or page.needs).value), missing=False, back=request.url.path,
    )  # fmt: skip


def _refused(frame: Frame, request: Request, error: AdminError) -> Response:
    """What a page shows where the admin API says no: the sign-in, or the one line that it gave."""
    if wants_fragment(request):
        if error.status == 401:
            return Response(status_code=204, headers={"hx-refresh": "true"})
        return frame.fragment(
            request, "problem.html", status=error.status, message=error.message,
            headers={"hx-retarget": "#problem", "hx-reswap": "innerHTML show:window:top"},
        )  # fmt: skip
    path = request.url.path
    shown = next((one for one in PAGES[1:] if path == one.path or path.startswith(f"{one.path}/")), PAGES[0]).bare()
    if error.status == 401:
        no_keys = error.code == "invalid_token"
        return frame.page(request, shown, "sign_in.html", status=401, message=error.message, no_keys=no_keys)
    title = shown.name(frame.speak(request))
    return frame.page(
        request, shown, "problem_page.html", status=error.status, title=title, message=error.message,
        missing=error.status == 404, back=f"{path}?{request.url.query}" if request.url.query else path,
    )  # fmt: skip


def _answer_failure(frame: Frame, request: Request, error: Exception) -> Response:
    """What there is instead of a page: within the frame for whoever reads pages, one line for all others."""
    speak = frame.speak(request)
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = request.url.path
    sentence = (
        speak("The console has no page {path}; it begins at /.")
        if status == 404
        else speak("The console cannot do that with {path}; open / in a browser.")
    )
    message = sentence.format(path=path[:_LONGEST_PATH])
    if status == 404 and "text/html" in request.headers.get("accept", ""):
        return frame.page(
            request, PAGES[0].bare(), "problem_page.html", status=status, title=speak("There is no such page"),
            message=message, missing=True, back=path,
        )  # fmt: skip
    return PlainTextResponse(message, status)
