"""The page Chat: questions to one or several roles, ensembles and models.

It asks nothing of the admin API, so a key that may only chat can use it: all comes to the browser from ``/v1``.
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.page import Frame, Page
from ansambl.console.pages.chat.words import chat_words, examples
from ansambl.console.words import Speak
from ansambl.domain.access import Endpoint


def _name(speak: Speak) -> str:
    return speak("Chat")


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        offered = [asdict(one) for one in examples(frame.speak(request))]
        return frame.page(request, PAGE, "chat/page.html", examples=offered)

    return [Route(PAGE.path, get)]


PAGE = Page(
    key="chat", path="/console/chat", name=_name, routes=_routes, script="chat/page.js", words=chat_words,
    styles=("pages/chat/page.css",), needs=Endpoint.CHAT,
)  # fmt: skip
