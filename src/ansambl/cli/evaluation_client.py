"""Asking the running Ansambl for an evaluation: what names it knows, and one answer at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import httpx

from ansambl.app.running_state import RunningState
from ansambl.dialects.openai_chat import read_usage
from ansambl.domain.errors import UsageError
from ansambl.domain.role import Layout
from ansambl.domain.text import text
from ansambl.evaluation.records import AskError, Contestant, ContestantKind, Cost, Reply, Settings
from ansambl.evaluation.tasks import Message
from ansambl.foundation.locales import speak

PLAIN = "plain"
"""The name of the default model without any role."""
_PATIENCE = 10.0


class EvaluationClient:
    """Implements `ansambl.evaluation.records.Asker` over HTTP."""

    def __init__(self, state: RunningState) -> None:
        self._http = httpx.AsyncClient(
            base_url=state.address,
            headers={"authorization": f"Bearer {state.token}", "accept-language": speak.language},
            # Loading a model and an ensemble's calls take minutes.
            timeout=httpx.Timeout(_PATIENCE, read=None, pool=None),
            trust_env=False,
            verify=state.verification(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def known(self) -> tuple[dict[str, tuple[str, ContestantKind]], str]:
        """All names and aliases with the name and kind that they mean, and the default model.

        Raises:
            AskError: Ansambl does not answer.
        """
        listed = (await self._call("GET", "/v1/models"))["data"]
        state = await self._call("GET", "/admin/api/state")
        found = {}
        for one in listed:
            meant = str(one["id"]), ContestantKind(one["kind"])
            found.update({str(name): meant for name in (one["id"], *one.get("aliases", ()))})
        return found, str(state["default_model"])

    async def ask(self, contestant: Contestant, messages: Sequence[Message], settings: Settings) -> Reply:
        """Ask for one answer.

        Raises:
            AskError: Ansambl refused, failed or does not answer.
        """
        start = time.monotonic()
        found = await self._call("POST", "/v1/chat/completions", request_body(contestant, messages, settings))
        return read_reply(found, time.monotonic() - start)

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise AskError(
                text("Ansambl does not answer ({reason})", reason=str(error) or type(error).__name__)
            ) from error
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status_code >= 400 or not isinstance(found, dict):
            told = found.get("error") if isinstance(found, dict) else None
            message = told.get("message") if isinstance(told, dict) else None
            raise AskError(text("{message}", message=str(message or f"HTTP {answer.status_code}")[:300]))
        return found


def request_body(contestant: Contestant, messages: Sequence[Message], settings: Settings) -> dict[str, Any]:
    """The request for one answer; the same number of tokens for every contestant.

    A role or a model gets it as ``max_tokens``, an ensemble as the bound over all its calls together.
    """
    body: dict[str, Any] = {"model": contestant.name, "messages": [dict(one) for one in messages]}
    options: dict[str, Any] = {}
    if contestant.kind is ContestantKind.ENSEMBLE:
        options["tokens"] = settings.tokens
    else:
        body["max_tokens"] = settings.tokens
    if contestant.layout is not None:
        options["layout"] = str(contestant.layout)
    if options:
        body["ansambl"] = options
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    return body


def read_reply(found: Mapping[str, Any], seconds: float) -> Reply:
    """One answer out of a chat completion.

    Raises:
        AskError: it holds no message.
    """
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, dict):
        raise AskError(text("the answer holds no message"))
    usage = read_usage(found.get("usage"))
    cost = Cost(seconds=seconds)
    if usage is not None:
        cost = Cost(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, seconds)
    own = found.get("ansambl")
    branches = own.get("branches") if isinstance(own, dict) else None
    content, reason = message.get("content"), choice.get("finish_reason")
    # Half characters, which JSON can write, cannot be sent back as history.
    words = content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""
    return Reply(
        words, cost, reason if isinstance(reason, str) else None,
        tuple(one for one in branches if isinstance(one, dict)) if isinstance(branches, list) else (),
    )  # fmt: skip


def read_contestants(
    against: str, layout: str | None, known: Mapping[str, tuple[str, ContestantKind]], default_model: str
) -> tuple[Contestant, ...]:
    """Who is compared: each name with each layout. A plain model has no layout and stands once.

    Raises:
        UsageError: a name or the layout is not known, or stands twice.
    """
    found: list[Contestant] = []
    for word in (one.strip() for one in against.split(",")):
        if not word:
            continue
        if word not in known and word != PLAIN:
            raise UsageError(text("there is no role, ensemble or model '{name}'; known are: {known}", name=word[:60],
                                  known=", ".join([PLAIN, *known])[:300]))  # fmt: skip
        name, kind = known.get(word, (default_model, ContestantKind.MODEL))
        shown = word if word == PLAIN else name
        layouts = read_layouts(layout) if kind is not ContestantKind.MODEL else (None,)
        found += [Contestant(name, kind, one, shown) for one in layouts]
    labels = [one.label for one in found]
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise UsageError(text("--against names {name} twice", name=twice))
    if not found:
        raise UsageError(text("--against names nobody; for example: --against plain,coder,council"))
    return tuple(found)


def read_layouts(layout: str | None) -> Iterable[Layout | None]:
    """The layouts that ``--layout`` means.

    Raises:
        UsageError: there is no such layout.
    """
    if layout is None:
        return (None,)
    if layout == "both":
        return (Layout.SHARED_PREFIX, Layout.CLASSIC)
    try:
        return (Layout(layout),)
    except ValueError as error:
        raise UsageError(text("there is no layout '{layout}'; use shared-prefix, classic or both",
                              layout=layout[:40])) from error  # fmt: skip
