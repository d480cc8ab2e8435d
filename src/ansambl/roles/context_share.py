"""A role's part of its model's context: prompt and answer of one request stay within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import msgspec

from ansambl.dialects.openai_chat import LIMIT_FIELDS, ChatRequest, Message
from ansambl.domain.errors import AnsamblError, RequestError
from ansambl.domain.role import ModelName, Role
from ansambl.domain.text import Text, text
from ansambl.roles.service import Prepared

CHARACTERS_PER_TOKEN = 2
"""The safe estimate where the engine cannot count: text of any usual language has more characters per token."""

LARGE_PART = 3
"""An instruction that fills more than one part in so many of a prompt is named when the prompt is too long."""

_TOO_LONG = "context_length_exceeded"


@runtime_checkable
class CountsPrompts(Protocol):
    """Engines that can count the tokens of a prompt."""

    async def count_prompt(self, model: str, request: ChatRequest) -> int | None:
        """The tokens of the request's prompt; None where the engine of `model` cannot tell."""
        ...


async def within_share(prepared: Prepared, role: Role, model: ModelName, engines: object) -> Prepared:
    """The request with its answer limited to what the role's share of the context leaves.

    `engines` count the prompt where they are `CountsPrompts` and can; else it is estimated. Nothing changes for a role
    without a share, or where the context is not known.

    Raises:
        RequestError: the prompt alone is over the share.
    """
    if role.context_share >= 1 or model.context is None:
        return prepared
    share = int(model.context * role.context_share)
    request = prepared.request
    counted = await engines.count_prompt(prepared.model, request) if isinstance(engines, CountsPrompts) else None
    prompt = estimate_tokens(request) if counted is None else counted
    left = share - prompt
    if left < 1:
        raise RequestError(
            text(
                "The prompt has {prompt} tokens, more than the share of {share} tokens that the role '{role}' may use "
                "of the context ({part} of {context}); shorten the conversation or raise roles.{role}.context_share.",
                prompt=prompt if counted is not None else text("about {prompt}", prompt=prompt),
                share=share,
                role=role.name,
                part=f"{role.context_share:.0%}",
                context=model.context,
            ),
            param="messages",
            code=_TOO_LONG,
        )
    limits = {name: request.value(name) for name in LIMIT_FIELDS}
    changes = {name: left for name, limit in limits.items() if isinstance(limit, int) and limit > left}
    if all(limit is None for limit in limits.values()):
        changes = {"max_tokens": left}
    return replace(prepared, request=request.changed(changes)) if changes else prepared


def estimate_tokens(request: ChatRequest) -> int:
    """At least the tokens of a request's prompt, by its characters; images and sound are not counted."""
    characters = sum(map(_characters, request.messages()))
    for name in ("tools", "response_format"):
        raw = request.fields.get(name)
        characters += 0 if raw is None else len(bytes(raw).decode("utf-8", "replace"))
    return -(-characters // CHARACTERS_PER_TOKEN)


def _characters(message: Message) -> int:
    content: Any = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    found = sum(len(one["text"]) for one in parts if isinstance(one, dict) and isinstance(one.get("text"), str))
    calls = message.get("tool_calls")
    return found + (len(msgspec.json.encode(calls).decode()) if calls else 0)


def instruction_is_large(role: Role, messages: Sequence[Message]) -> Text | None:
    """What to say of a prompt that is too long when the role's instruction is a large part of it; else None.

    `messages` are the client's own.
    """
    instruction = max(map(len, (role.instruction, *role.instructions.values())))
    if instruction * LARGE_PART <= instruction + sum(map(_characters, messages)):
        return None
    return text(
        "The instruction of the role '{role}' alone has {letters} letters; shorten roles.{role}.instruction.",
        role=role.name,
        letters=instruction,
    )


def with_instruction_named(error: AnsamblError, role: Role, messages: Sequence[Message]) -> AnsamblError:
    """The error, or a clearer one when the context is exceeded and the role's instruction is a large part of it."""
    sentence = instruction_is_large(role, messages) if error.code == _TOO_LONG else None
    if sentence is None:
        return error
    clearer = RequestError(
        text("{instruction} (The engine said: {reason})", reason=error.message, instruction=sentence),
        param=error.param,
        code=_TOO_LONG,
    )
    clearer.__cause__ = error
    return clearer
