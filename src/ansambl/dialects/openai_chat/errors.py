"""Errors in OpenAI's shape: ours, and those of engines."""

from __future__ import annotations

from typing import Any

from ansambl.dialects.openai_chat.reading import decode_object
from ansambl.domain.errors import AnsamblError


def error_object(error: AnsamblError, sentence: str) -> dict[str, Any]:
    """An error in OpenAI's shape; `sentence` is the error's message in the reader's language."""
    return {"error": {"message": sentence, "type": error.type, "param": error.param, "code": error.code}}


_CLIENTS_FAULT = ("image input is not supported", "audio input is not supported", "failed to parse messages",
                  "failed to parse tools")  # fmt: skip
"""What llama.cpp says with status 500 although the request is to blame (seen on 2026.10.11549), in lower case."""


def engine_status(status: int, body: bytes) -> int:
    """The status for the client: 400 where an engine says 500 of a request that can never succeed.

    The official clients send a request again after a 5xx.
    """
    if status >= 500 and any(words.encode() in body.lower() for words in _CLIENTS_FAULT):
        return 400
    return status


def engine_error_object(status: int, body: bytes) -> dict[str, Any]:
    """An engine's own error answer, brought into OpenAI's shape without losing its words.

    An engine that was given more than its context is said with OpenAI's code, which clients look for
    (llama.cpp writes ``exceed_context_size_error``, vLLM only the sentence).
    """
    corrected = engine_status(status, body)
    found = decode_object(body) or {}
    error = found.get("error")
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        message = found.get("message")
        if not isinstance(message, str):
            message = body[:500].decode("utf-8", "replace").strip() or f"The engine answered {status}."
        error = {"message": message}
    shaped = dict(error)
    message = str(error.get("message") or f"The engine answered {status}.")
    kind, code = error.get("type"), error.get("code")
    too_long = kind == "exceed_context_size_error" or "maximum context length" in message
    shaped["message"] = message
    shaped["type"] = (
        "invalid_request_error"
        if too_long or corrected != status
        else kind
        if isinstance(kind, str)
        else _type_of(status)
    )
    shaped["code"] = "context_length_exceeded" if too_long else code if isinstance(code, str) else None
    shaped.setdefault("param", "messages" if too_long else None)
    return {"error": shaped}


def _type_of(status: int) -> str:
    return "invalid_request_error" if 400 <= status < 500 else "engine_error"
