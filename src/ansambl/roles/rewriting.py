"""A follow-up as a question of its own, written by the model that will answer it, on the prefix that it holds."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.role import Layout, Role
from ansambl.roles.canonical import strip_thinking
from ansambl.roles.ensembles.events import Engines
from ansambl.roles.ensembles.requests import common_request
from ansambl.roles.records import RequestOptions
from ansambl.roles.service import RoleService

QUESTION_TOKENS = 48
"""The most tokens of the question."""

# For the model, not for people, so these are no translations of one sentence.
_ENGLISH = (
    "Do not answer the message above. Write it as one search query that is understood without the conversation: put "
    "what it refers to in place of pronouns. Write the query alone, in the language of the message."
)
_RUSSIAN = (
    "Не отвечай на сообщение выше. Запиши его одним поисковым запросом, понятным без разговора: вместо местоимений "
    "поставь то, о чём идёт речь. Напиши только запрос, на языке сообщения."
)


async def rewritten(
    service: RoleService, engines: Engines, request: ChatRequest, role: Role, *, key: str, options: RequestOptions
) -> str | None:  # fmt: skip
    """The newest message of a conversation as a query; None where the model says nothing.

    Raises:
        AnsamblError: it cannot be asked.
    """
    told = replace(
        role, instruction=_ENGLISH, instructions={"ru": _RUSSIAN}, layout=Layout.SHARED_PREFIX, output_limit=None,
        thinking_language=None, answer_language=None,
    )  # fmt: skip
    asking = common_request(request).changed({"max_tokens": QUESTION_TOKENS, "temperature": 0})
    prepared = service.prepare(asking, told, key=key, options=replace(options, layout=None))
    async with aclosing(engines.ask(prepared.model, prepared.request)) as deltas:
        said = [delta.content async for delta in deltas]
    lines = strip_thinking("".join(said)).splitlines()
    return next((one.strip(" \"'«»“”") for one in lines if one.strip()), None)
