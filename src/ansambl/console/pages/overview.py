"""The page Overview: what the machine holds, what runs, what waits, and what was asked last; live by the event stream.

The server writes it with what is known at that moment; `static/pages/overview/page.js` keeps it true.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ansambl.console.page import Frame, Page, may
from ansambl.console.words import Speak
from ansambl.domain.access import Endpoint

_SHOWN = ("started", "default_model", "instances", "devices", "roles", "ensembles", "events", "requests", "companions")
_REQUESTS = 50


def _name(speak: Speak) -> str:
    return speak("Overview")


def _words(speak: Speak) -> dict[str, str]:
    return {
        **_states(speak),
        **_facts(speak),
        **_actions(speak),
        "part_weights": speak("weights"),
        "part_kv_cache": speak("KV cache"),
        "part_compute": speak("compute buffers"),
        "part_overhead": speak("overhead"),
        "part_undivided": speak("reserved"),
        "part_other": speak("other programs"),
        "part_free": speak("free"),
        "bar": speak("{device}: {parts}"),
        "bar_part": speak("{part} {size}"),
        "used_of": speak("{used} of {capacity} in use"),
        "holds": speak("{size}, measured"),
        "holds_forecast": speak("{size}, forecast"),
        "ensemble_of": speak("{pattern}: {roles}"),
        "nothing_runs_it": speak("no model"),
        "cached_of": speak("{cached} of {prompt}"),
        "local": speak("this machine"),
        "left": speak("client left"),
        "running": speak("running"),
        "unresolved": speak("unknown name"),
    }


def _states(speak: Speak) -> dict[str, str]:
    return {
        "residency_loading": speak("loading"),
        "state_installing": speak("installing"),
        "residency_draining": speak("draining"),
        "draining_for": speak("finishes its answers, then makes room for {model}"),
        "leaving_for": speak("makes room for {model}"),
        "draining_none": speak("finishes its answers, then rests"),
        "attached": speak("attached, not started by Ansambl"),
        "adopted": speak("adopted from an earlier run"),
        "slow_start": speak(
            "It has been starting for {minutes} min and does not answer yet. A large model on a slow disk takes "
            "its time; its log says what it does."
        ),
        "pinned_hand": speak("stays in memory until the next start"),
        "pinned_configuration": speak("stays in memory, as configured"),
        "all_down": speak("No model can answer now."),
        "one_down": speak("{model} cannot answer: {state}"),
        "todo_failed": speak("Read its log, correct the cause, then load it again."),
        "todo_unreachable": speak(
            "Start that server, or correct its address in ansambl.toml; Ansambl looks by itself."
        ),
    }


def _facts(speak: Speak) -> dict[str, str]:
    return {
        "engine": speak("Engine"),
        "memory": speak("Memory"),
        "context": speak("Context"),
        "context_text": speak("{count} tokens"),
        "parallel": speak("At once"),
        "load": speak("Requests"),
        "load_text": speak("{running} running, {waiting} waiting"),
        "waits": speak("Waiting"),
        "waits_class": speak("{count} {class}"),
        "speed": speak("Speed"),
        "speed_text": speak("{rate} tokens/s"),
        "prefill": speak("Reading prompts"),
        "cached": speak("Found in the cache"),
        "percent": speak("{amount} %"),
        "kv_used": speak("KV cache in use"),
        "swaps": speak("Swaps"),
        "restarts": speak("Restarts"),
        "since": speak("Since"),
        "rests_at": speak("Rests if unused"),
        "loras": speak("LoRA adapters"),
        "class_interactive": speak("interactive"),
        "class_task": speak("task"),
        "class_batch": speak("batch"),
        "class_background": speak("background"),
    }


def _actions(speak: Speak) -> dict[str, str]:
    return {
        "do_load": speak("Load"),
        "do_wake": speak("Wake"),
        "do_sleep": speak("Sleep"),
        "do_again": speak("Try again"),
        "do_unload": speak("Unload"),
        "do_restart": speak("Restart"),
        "do_pin": speak("Pin"),
        "do_unpin": speak("Unpin"),
        "do_for": speak("{action}: {model}"),
        "ask_unload": speak("Unload {model}?"),
        "ask_sleep": speak("Have {model} sleep?"),
        "ask_restart": speak("Restart {model}?"),
        "ask_busy": speak(
            "Being answered: {running}; waiting: {waiting}. What is being answered is answered to its end."
        ),
        "ask_then_unload": speak("Then it leaves the memory; the next request loads it again."),
        "ask_then_sleep": speak("Then it gives its memory back and sleeps; the next request wakes it."),
        "ask_then_restart": speak("Then its engine ends and starts again; who waits goes on waiting."),
    }


def _routes(frame: Frame) -> list[Route]:
    async def get(request: Request) -> Response:
        admin = frame.admin(request)
        state = await admin.get("state")
        newest = await admin.get("requests", limit=_REQUESTS)
        shown: dict[str, Any] = {
            "state": {key: state.get(key, []) for key in _SHOWN}, "requests": newest["requests"],
            "may_change": may(request, Endpoint.ADMIN), "now": time.time(),
        }  # fmt: skip
        return frame.page(request, PAGE, "overview/page.html", shown=shown)

    return [Route(PAGE.path, get)]


PAGE = Page(
    key="overview", path="/", name=_name, routes=_routes, script="overview/page.js", words=_words,
    styles=("pages/overview/page.css",),
)  # fmt: skip
