"""The page Traffic: requests, tokens, waits and failures over time, by minute for the last day and by day before it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.page import Frame, Page
from ansambl.console.words import Speak
from ansambl.domain.scheduling import LOCAL_KEY

METRICS = (
    "requests", "failed", "prompt_tokens", "output_tokens", "cached_share", "first_token", "queue", "swaps",
)  # fmt: skip
"""What is drawn and told, in order; each has its chart and its column."""


def _name(speak: Speak) -> str:
    return speak("Traffic")


def _titles(speak: Speak) -> dict[str, str]:
    return {
        "requests": speak("Requests"),
        "failed": speak("Failed"),
        "prompt_tokens": speak("Prompt tokens"),
        "output_tokens": speak("Answer tokens"),
        "cached_share": speak("Cached of prompt, %"),
        "first_token": speak("First word, s"),
        "queue": speak("Queue, s"),
        "swaps": speak("Waits for a swap"),
    }


def _words(speak: Speak) -> dict[str, str]:
    return {
        **{f"metric_{key}": title for key, title in _titles(speak).items()},
        "all": speak("All"),
        "others": speak("others"),
        "no_model": speak("not answered"),
        "no_name": speak("the model itself"),
        "unresolved": speak("unknown name"),
        "since": speak("Counted since {time}; minutes are kept for a day."),
        "nothing": speak("Nothing was asked in this time."),
        "point": speak("{time}: {values}"),
        "value": speak("{name} {value}"),
        "chart": speak("{title}: {sum}. The tables below hold all numbers."),
    }


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        speak, admin = frame.speak(request), frame.admin(request)
        traffic = await admin.get("traffic")
        keys = (await admin.get("keys", revoked="true"))["keys"]
        names = {LOCAL_KEY: speak("this machine"), **{one["id"]: one["name"] or one["shown"] for one in keys}}
        return frame.page(
            request, PAGE, "traffic/page.html", shown={"traffic": traffic, "keys": names}, keys=names if keys else {},
            titles={key: _titles(speak)[key] for key in METRICS},
        )  # fmt: skip

    return [Route(PAGE.path, get)]


PAGE = Page(
    key="traffic", path="/console/traffic", name=_name, routes=_routes, script="traffic/page.js", words=_words,
    styles=("vendor/uplot-1.6.32.min.css", "pages/traffic/page.css"),
)  # fmt: skip
