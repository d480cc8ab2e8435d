"""The HTTP client towards engines, on the request path: the one module that knows pyreqwest.

Why this client: on this path it costs 19 µs of CPU a streamed chunk where httpx costs 210 (`docs/decisions`). Bytes are
handed on as they arrive; nothing is decompressed, followed or parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, PyreqwestError
from pyreqwest.response import Response

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text

_CONNECT_PATIENCE = timedelta(seconds=10)
_JSON = "application/json"


class ConnectionLostError(EngineError):
    """The connection to the engine failed.

    `answered` tells whether its answer had begun: only before that may a request be sent again.
    """

    def __init__(self, reason: str, *, answered: bool) -> None:
        super().__init__(
            text("The connection to the engine was lost ({reason}). Send the request again.", reason=reason)
        )
        self.answered = answered


class UpstreamAnswer:
    """An engine's answer whose body is still arriving. Leaving the context closes the connection at once."""

    def __init__(self, client: Client, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        builder = client.get(url) if body is None else client.post(url).body_bytes(body)
        # pyreqwest reads 64 KiB ahead before it hands out the headers: a stream of tokens would come all at its end.
        self._request = builder.headers(dict(headers)).streamed_read_buffer_limit(0).build_streamed()
        self._response: Response | None = None
        self.status = 0
        self.content_type = ""

    async def __aenter__(self) -> Self:
        try:
            self._response = await self._request.__aenter__()
        except ConnectError as error:
            raise ConnectionLostError(error.message, answered=False) from error
        except PyreqwestError as error:
            raise ConnectionLostError(error.message, answered=False) from error
        self.status = self._response.status
        self.content_type = self._response.get_header("content-type") or ""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            await self._request.__aexit__(kind, error, trace)

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.content_type.startswith("text/event-stream")

    async def chunk(self) -> bytes | None:
        """The next bytes as they arrived; None at the end.

        Raises:
            ConnectionLostError: the engine went away in the middle.
        """
        if self._response is None:
            return None
        try:
            found = await self._response.body_reader.read_chunk()
        except PyreqwestError as error:
            raise ConnectionLostError(error.message, answered=True) from error
        return None if found is None else bytes(found)

    async def body(self, limit: int = 64 * 2**20) -> bytes:
        """The whole body.

        Raises:
            ConnectionLostError: the engine went away in the middle, or the body is over `limit` bytes.
        """
        parts: list[bytes] = []
        size = 0
        while (part := await self.chunk()) is not None:
            size += len(part)
            if size > limit:
                reason = f"its answer is over {limit} bytes"
                raise ConnectionLostError(reason, answered=True)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Upstream:
    """A pool of kept-alive connections to engines. One for the process, closed at its end."""

    def __init__(self) -> None:
        # No proxy: an engine's address is on this machine or on one that the owner named; nothing else may see it.
        self._client = (
            ClientBuilder()
            .no_proxy()
            .follow_redirects(enable=False)
            .referer(enable=False)
            .gzip(enable=False)
            .brotli(enable=False)
            .zstd(enable=False)
            .deflate(enable=False)
            .connect_timeout(_CONNECT_PATIENCE)
            .pool_idle_timeout(timedelta(seconds=4))
            .user_agent("ansambl")
            .build()
        )

    def post(self, endpoint: Endpoint, path: str, body: bytes) -> UpstreamAnswer:
        """POST a JSON body to ``base_url + path``; enter the result to send it."""
        headers = {"content-type": _JSON, "accept": "*/*"}
        if endpoint.key:
            headers["authorization"] = f"Bearer {endpoint.key}"
        return UpstreamAnswer(self._client, endpoint.base_url + path, headers, body)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()
