"""How the refusal of an engine is handed to a client: in OpenAI's shape, without our key, with the engine's wish."""

from __future__ import annotations

from typing import Any

from ansambl.dialects import openai_chat
from ansambl.foundation.redaction import redact
from ansambl.gateway.exchange import Exchange
from ansambl.runtime.upstream import UpstreamAnswer

ENGINE_REFUSED = "engine_refused"
"""The code under which an engine's refusal is counted that has none."""


def noted_refusal(exchange: Exchange, answer: UpstreamAnswer, body: bytes, payload: dict[str, Any]) -> int:
    """Make `payload`, the error object for what stands in `body`, fit to be sent; returns the status to send.

    Its code, and when the engine wants to be asked again, are known to the exchange from now on.
    """
    error = payload["error"]
    # An engine may say the key that it was given.
    error["message"] = redact(error["message"])
    exchange.code = str(error["code"] or ENGINE_REFUSED)
    if answer.retry_after is not None:
        exchange.headers.append((b"retry-after", b"%d" % answer.retry_after))
    return openai_chat.engine_status(answer.status, body)
