"""The dialects of the chat, each one line: where it answers, how it is read, how its errors look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.anthropic_messages import answers as messages
from ansambl.dialects.anthropic_messages import requests as messages_requests
from ansambl.dialects.ollama import answers as ollama
from ansambl.dialects.ollama import requests as ollama_requests
from ansambl.dialects.openai_chat import ChatRequest
from ansambl.dialects.openai_responses import answers as responses
from ansambl.dialects.openai_responses import requests as responses_requests
from ansambl.dialects.translation import Asked
from ansambl.domain.errors import AnsamblError

ErrorObject = Callable[[AnsamblError, str], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to ask.

    `parse` gives a chat request as it is, where the dialect is that of the engines and their bytes go out unchanged,
    else a translated one. `count` is how the number of a prompt's tokens is told, None where the dialect has no such
    question; it is asked under `path` and `count_path`.
    """

    path: str
    parse: Callable[[bytes], ChatRequest | Asked]
    error_object: ErrorObject
    count: Callable[[int], dict[str, Any]] | None = None
    count_path: str = "/count_tokens"


DIALECTS = (
    Dialect("/v1/chat/completions", openai_chat.parse_chat, openai_chat.error_object),
    Dialect("/v1/messages", messages_requests.parse_request, messages.error_object, messages.count_object),
    Dialect(
        "/v1/responses", responses_requests.parse_request, responses.error_object, responses.count_object,
        "/input_tokens",
    ),
)  # fmt: skip
"""The dialects of `/v1`, which one handler answers."""

_MODELS = "/v1/models"

OLLAMA = (
    Dialect("/api/chat", ollama_requests.parse_chat, ollama.error_object),
    Dialect("/api/generate", ollama_requests.parse_generate, ollama.error_object),
)
"""Ollama's, whose streams are lines, and which load and unload models, too."""

EVERY = (*DIALECTS, *OLLAMA)
"""All dialects in which roles, ensembles and models answer."""


def error_object_of(path: str, *, anthropic: bool = False) -> ErrorObject:
    """How errors look under a path: as in the dialect that answers there or below, else as in OpenAI's.

    The list of models is where OpenAI's and Anthropic's paths are the same; `anthropic` tells whose client asks.
    """
    if anthropic and (path == _MODELS or path.startswith(f"{_MODELS}/")):
        return messages.error_object
    for one in DIALECTS:
        if path == one.path or path.startswith(f"{one.path}/"):
            return one.error_object
    if path.startswith("/api/"):
        return ollama.error_object
    return openai_chat.error_object
