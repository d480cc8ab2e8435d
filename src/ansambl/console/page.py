"""What a page of the console is, and how one is written: shared by all, so that each holds its own matter alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ansambl.access.credentials import credentials_of
from ansambl.console import formatting
from ansambl.console.admin_client import AdminApi, AdminError
from ansambl.console.assets import Assets, load_assets
from ansambl.console.words import Speak, common_words
from ansambl.domain.access import Endpoint
from ansambl.foundation.locales import LANGUAGE_COOKIE, LANGUAGES, language_of_header, supported, translator

FOLDER = Path(__file__).resolve().parent

_YEAR = 365 * 86_400
_CALLER = "ansambl.caller"


class RoutesOf(Protocol):
    """Makes the routes of a page."""

    def __call__(self, frame: Frame) -> list[Route]:
        """The routes; the first one is the page itself."""
        ...


def _no_words(speak: Speak) -> dict[str, str]:  # noqa: ARG001 - one signature
    return {}


@dataclass(frozen=True, slots=True)
class Page:
    """One page: where it is, what the navigation calls it, its script and the sentences that the script says.

    `script` is a module below ``static/pages``; "" where the page needs no script of its own. `needs` is what a key
    must allow for the page to show anything; `part` is what lets a key see a part of it, None where nothing else does.
    """

    key: str
    path: str
    name: Callable[[Speak], str]
    routes: RoutesOf
    script: str = ""
    words: Callable[[Speak], Mapping[str, str]] = _no_words
    styles: tuple[str, ...] = field(default=())
    needs: Endpoint = Endpoint.ADMIN_READ
    part: Endpoint | None = None

    def bare(self) -> Page:
        """The page without its script, where it shows a problem or the sign-in: its parts are not there."""
        return replace(self, script="", styles=(), words=_no_words)


class Frame:
    """What all pages share: templates, static files, the way to the admin API and the list of pages itself."""

    def __init__(self, *, version: str, admin: ASGIApp, pages: tuple[Page, ...]) -> None:
        self.version = version
        self.pages = pages
        self.assets: Assets = load_assets(FOLDER / "static")
        self._admin = admin
        self._imported: dict[str, tuple[str, ...]] = {}
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip

    def _modules(self, page: Page | None) -> tuple[str, ...]:
        """What the browser fetches beside the page's own script, which imports it."""
        script = f"pages/{page.script}" if page is not None and page.script else "lib/plain.js"
        if script not in self._imported:
            self._imported[script] = self.assets.modules_of(script)
        return self._imported[script]

    @property
    def static(self) -> str:
        """Where the static files are, without a final slash."""
        return f"/console/static/{self.assets.digest}"

    def admin(self, request: Request) -> AdminApi:
        """The admin API as whoever sent `request` sees it."""
        return AdminApi(self._admin, request, language_of(request))

    def speak(self, request: Request) -> Speak:
        """The translator into the language of `request`."""
        return translator(language_of(request))

    async def learn_caller(self, request: Request) -> None:
        """Ask who sent `request`; the page then shows what that caller may see.

        Raises:
            AdminError: a key is needed, or nobody from there is let in.
        """
        try:
            request.scope[_CALLER] = await self.admin(request).get("me")
        except AdminError as error:
            # Without the owner's proof, and without keys, a page may still show what programs of this machine may see.
            if error.code != "invalid_token" and error.status != 404:
                raise

    def may_see(self, request: Request, page: Page) -> bool:
        """Whether whoever sent `request` may see what stands on `page`, or a part of it; True where nobody knows."""
        return may(request, page.needs) or (page.part is not None and may(request, page.part))

    def page(self, request: Request, page: Page, template: str, *, status: int = 200, **values: Any) -> Response:
        """A whole page: `template` extends ``frame.html`` and gets `values`."""
        answer = HTMLResponse(self._render(request, page, template, values), status)
        answer.headers["cache-control"] = "no-cache, private"
        answer.headers["content-language"] = language_of(request)
        answer.headers["vary"] = "accept-language, cookie"
        asked = supported(request.query_params.get("lang", ""))
        if asked is not None:
            answer.set_cookie(LANGUAGE_COOKIE, asked, max_age=_YEAR, samesite="strict", path="/")
        return answer

    def fragment(
        self, request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:  # fmt: skip
        """A part of a page, which htmx puts into its place."""
        return HTMLResponse(
            self._render(request, None, template, values), status, {"cache-control": "no-store", **(headers or {})}
        )

    def _render(self, request: Request, page: Page | None, template: str, values: Mapping[str, Any]) -> str:
        language = language_of(request)
        speak = translator(language)
        words = {"language": language, "strings": {**common_words(speak), **(page.words(speak) if page else {})}}
        return self._templates.get_template(template).render(
            language=language, languages=LANGUAGES, speak=speak, static=self.static, version=self.version, page=page,
            pages=[one for one in self.pages if self.may_see(request, one)], words=words, modules=self._modules(page),
            caller=caller_of(request),
            has_session=credentials_of(request.scope, local=True).cookie is not None,
            watches=may(request, Endpoint.ADMIN_READ), form=formatting.of(speak, language), request=request, **values,
        )  # fmt: skip


def caller_of(request: Request) -> dict[str, Any] | None:
    """Who sent a request, as ``GET /admin/api/me`` says; None where that is not known."""
    found: dict[str, Any] | None = request.scope.get(_CALLER)
    return found


def may(request: Request, endpoint: Endpoint) -> bool:
    """Whether whoever sent `request` may do this; True where nobody knows who it is: the admin API asks again."""
    caller = caller_of(request)
    if caller is None:
        return True
    allowed = caller["endpoints"]
    return endpoint in allowed or (endpoint is Endpoint.ADMIN_READ and Endpoint.ADMIN in allowed)


def language_of(request: Request) -> str:
    """The language that the address asks for, else the one that was chosen here before, else the browser's."""
    return (
        supported(request.query_params.get("lang", ""))
        or supported(request.cookies.get(LANGUAGE_COOKIE, ""))
        or language_of_header(request.headers.get("accept-language"))
    )


def wants_fragment(request: Request) -> bool:
    """Whether htmx asks, and puts the answer into a page that is already there."""
    return request.headers.get("hx-request") == "true"
