"""The page Keys: who is let in, with which rights and limits, and what of those is used."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.page import Frame, Page, caller_of, may
from ansambl.console.words import Speak
from ansambl.domain.access import ANSWERING, Endpoint
from ansambl.domain.scheduling import RequestClass


def _name(speak: Speak) -> str:
    return speak("Keys")


def _rights(speak: Speak) -> list[tuple[str, str, bool]]:
    """What a key may be allowed: the word for it, what it means, and whether a new key has it."""
    meanings = {
        Endpoint.CHAT: speak("Chat, in every dialect"),
        Endpoint.COMPLETIONS: speak("Plain completions"),
        Endpoint.EMBEDDINGS: speak("Embeddings"),
        Endpoint.RERANK: speak("Reranking"),
        Endpoint.AUDIO: speak("Speech"),
        Endpoint.IMAGES: speak("Images"),
        Endpoint.KNOWLEDGE: speak("Search and read documents"),
        Endpoint.METRICS: speak("Figures for Prometheus"),
        Endpoint.ADMIN_READ: speak("Read this console"),
        Endpoint.ADMIN: speak("Change everything, keys too"),
    }
    return [(one.value, meaning, one in ANSWERING) for one, meaning in meanings.items()]


def _words(speak: Speak) -> dict[str, str]:
    return {
        "key_made": speak("The key was made."),
        "key_revoked": speak("The key '{name}' lets nobody in any more."),
        "revoke_title": speak("Revoke the key '{name}'?"),
    }


async def _lists(frame: Frame, request: Request) -> dict[str, Any]:
    found = (await frame.admin(request).get("keys", revoked="true"))["keys"]
    valid = [one for one in found if one["state"] != "revoked"]
    return {
        "keys": valid, "revoked": [one for one in found if one["state"] == "revoked"],
        "may_change": may(request, Endpoint.ADMIN), "own": (caller_of(request) or {}).get("key"),
    }  # fmt: skip


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        admin, speak = frame.admin(request), frame.speak(request)
        lists = await _lists(frame, request)
        state = await admin.get("state")
        names = [
            (speak("Roles"), [one["name"] for one in state["roles"]]),
            (speak("Ensembles"), [one["name"] for one in state["ensembles"]]),
            (speak("Models"), [one["model"] for one in state["instances"]]),
        ]
        return frame.page(
            request, PAGE, "keys/page.html", names=[(title, some) for title, some in names if some],
            rights=_rights(speak), classes=[one.value for one in RequestClass], **lists,
        )  # fmt: skip

    async def get_list(request: Request) -> Response:
        return frame.fragment(request, "keys/list.html", **await _lists(frame, request))

    return [Route(PAGE.path, get), Route(f"{PAGE.path}/list", get_list)]


PAGE = Page(key="keys", path="/console/keys", name=_name, routes=_routes, script="keys/page.js", words=_words)
