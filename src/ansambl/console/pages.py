"""The console's pages as one ASGI application.

All that changes comes to the browser from ``/v1`` and ``/admin/api``; the pages themselves hold words and files only.
A new page is a template, its sentences in `strings` and one route in `make_console`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ansambl.console.assets import Assets, load_assets
from ansambl.console.security import SecurityHeaders
from ansambl.console.signing_in import SignIns, answer_sign_in
from ansambl.console.strings import examples, page_strings
from ansambl.foundation.locales import LANGUAGES, language_of_header, supported, translator

_FOLDER = Path(__file__).resolve().parent
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


def make_console(*, version: str, sessions: SignIns | None = None) -> Starlette:
    """Build the console for the paths ``/`` and ``/console/…``; `version` is what the page says of the product.

    `sessions` lets browsers in by a key; without it the console has no sign-in.
    """
    console = _Console(version)

    async def session(request: Request) -> Response:
        if sessions is None:
            raise HTTPException(404)
        return await answer_sign_in(request, sessions, translator(_language(request)))

    return Starlette(
        routes=[
            Route("/", console.get_page),
            Route("/console/words/{language}", console.get_words),
            Route("/console/session", session, methods=["POST", "DELETE"]),
            Route("/console/static/{digest}/{name}", console.get_static),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={HTTPException: _answer_failure},
    )


class _Console:
    """Holds what all requests share: the templates, the static files and the version."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._assets: Assets = load_assets(_FOLDER / "static")
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def get_page(self, request: Request) -> Response:
        """The page, in the language that the address or else the browser asks for."""
        language = _language(request)
        words = _words(language)
        page = self._templates.get_template("chat.html").render(
            language=language,
            languages=LANGUAGES,
            static=f"/console/static/{self._assets.digest}",
            version=self._version,
            words=words,
            say=words["strings"].__getitem__,
        )
        return Response(
            page,
            media_type="text/html",
            headers={"cache-control": _ASK_AGAIN, "content-language": language, "vary": "accept-language"},
        )

    async def get_words(self, request: Request) -> Response:
        """The sentences of one language, for a page that changes its language without loading anew."""
        language = supported(request.path_params["language"])
        if language is None:
            raise HTTPException(404)
        return JSONResponse(_words(language), headers={"cache-control": _ASK_AGAIN})

    async def get_static(self, request: Request) -> Response:
        """A static file; one asked for under an older digest is sent as it is now, and not kept."""
        asset = self._assets.by_name.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        current = request.path_params["digest"] == self._assets.digest
        return Response(
            asset.content,
            media_type=asset.content_type,
            headers={"cache-control": _FOREVER if current else _ASK_AGAIN},
        )


def _language(request: Request) -> str:
    asked = supported(request.query_params.get("lang", ""))
    return asked or language_of_header(request.headers.get("accept-language"))


def _words(language: str) -> dict[str, Any]:
    translate = translator(language)
    return {
        "language": language,
        "strings": page_strings(translate),
        "examples": [asdict(one) for one in examples(translate)],
    }


async def _answer_failure(request: Request, error: Exception) -> Response:
    speak = translator(_language(request))
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentence = (
        speak("The console has no page {path}; it begins at /.")
        if status == 404
        else speak("The console cannot do that with {path}; open / in a browser.")
    )
    return PlainTextResponse(sentence.format(path=request.url.path[:200]), status)
