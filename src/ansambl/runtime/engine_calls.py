"""Calls to the engine of an instance that are no client's request: sleep, wake, LoRA adapters."""

from __future__ import annotations

import httpx
import msgspec

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineCall, LoraCalls

_SHOWN = 200


async def send(
    endpoint: Endpoint, call: EngineCall, *, patience: float, loras: LoraCalls | None = None, lora: str | None = None
) -> bytes:  # fmt: skip
    """Send `call` and return the body of its answer; `patience` in seconds, `loras` and `lora` as for `body_of`.

    Raises:
        EngineError: the engine refused, did not answer in time, or the connection failed.
    """
    headers = {"Content-Type": "application/json"}
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    address = endpoint.base_url.removesuffix("/v1") + call.path
    body = None if call.method == "GET" else body_of(call, loras, lora)
    try:
        # No proxy: the engine is on this machine.
        async with httpx.AsyncClient(timeout=patience, trust_env=False) as client:
            answer = await client.request(call.method, address, content=body, headers=headers)
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


def body_of(call: EngineCall, loras: LoraCalls | None, lora: str | None) -> bytes:
    """The body of a call with that LoRA adapter, or with none; as it is where there is nothing to say."""
    # Of a client's request parts may be there as they came (msgspec.Raw), which the standard library cannot write.
    body = msgspec.json.encode(dict(call.body))
    return body if loras is None or not call.body else loras.applied(body, call.path, lora)
