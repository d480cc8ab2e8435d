"""Calls to the engine of an instance that are no client's request: sleep, wake, LoRA adapters."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineCall, LoraCalls

_SHOWN = 200


async def send(endpoint: Endpoint, call: EngineCall, *, patience: float) -> bytes:
    """Send `call` and return the body of its answer; `patience` in seconds.

    Raises:
        EngineError: the engine refused, did not answer in time, or the connection failed.
    """
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    address = endpoint.base_url.removesuffix("/v1") + call.path
    body = None if call.method == "GET" else dict(call.body)
    try:
        # No proxy: the engine is on this machine.
        async with httpx.AsyncClient(timeout=patience, trust_env=False) as client:
            answer = await client.request(call.method, address, json=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        raise EngineError(
            text("The engine did not answer to {path} ({reason}).", path=call.path,
                 reason=str(failure) or type(failure).__name__)
        ) from failure  # fmt: skip
    if answer.status_code >= 400:
        raise EngineError(
            text("The engine refused {path} with status {status}: {reason}", path=call.path, status=answer.status_code,
                 reason=answer.text[:_SHOWN])
        )  # fmt: skip
    return answer.content


def body_with(loras: LoraCalls | None, call: EngineCall, lora: str | None) -> dict[str, Any]:
    """The body of a call with that LoRA adapter, or with none; as it is where there is nothing to say."""
    if loras is None or not call.body:
        return dict(call.body)
    # Of a client's request parts may be there as they came (msgspec.Raw), which the standard library cannot write.
    written = msgspec.json.encode(dict(call.body))
    found: dict[str, Any] = json.loads(loras.applied(written, call.path, lora))
    return found
