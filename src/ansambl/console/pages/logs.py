"""The page Logs: Ansambl's own log and those of its engines, as they are written."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.page import Frame, Page
from ansambl.console.words import Speak


def _name(speak: Speak) -> str:
    return speak("Logs")


def _words(speak: Speak) -> dict[str, str]:
    return {
        "live": speak("live"),
        "paused": speak("paused"),
        "opening": speak("is being opened"),
        "lost": speak("lost; trying again"),
        "nobody": speak("not followed"),
        "own": speak("Ansambl itself"),
        "attached": speak("{model} (attached)"),
        "counts": speak("{shown} of {kept} lines shown"),
        "held": speak("{count} new lines wait"),
        "gap": speak("some lines were left out here: they came faster than they could be read"),
        "emptied": speak("the log was emptied here"),
        "dropped": speak("older lines are not kept here; the download has more"),
        "pause": speak("Pause"),
        "continue": speak("Continue"),
    }


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        state = await frame.admin(request).get("state")
        sources = [{"model": one["model"], "attached": one["attached"]} for one in state["instances"]]
        asked = request.query_params.get("model", "")
        chosen = asked if any(one["model"] == asked for one in sources) else ""
        return frame.page(request, PAGE, "logs/page.html", shown={"sources": sources, "chosen": chosen})

    return [Route(PAGE.path, get)]


PAGE = Page(
    key="logs", path="/console/logs", name=_name, routes=_routes, script="logs/page.js", words=_words,
    styles=("pages/logs/page.css",),
)  # fmt: skip
