"""Asking models from threads: those that run here through the coordinator, those at an address also while nothing runs.

Knowledge works in threads and the runtime on its event loop, so every request crosses once and can be given up.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx
import msgspec

from ansambl.domain.errors import EngineError, UnavailableError
from ansambl.domain.plan import Attachment
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import Residency

QUESTION_PATIENCE = Seconds(2.0)
"""How long a question waits for a place on its model; then it is answered by words alone."""
QUESTION_LIMIT = 8.0
"""Seconds for a question in all."""
INGEST_PATIENCE = Seconds(60.0)
"""How long a batch of passages waits for its model; whoever embeds asks again later."""
INGEST_LIMIT = 600.0
"""Seconds for a batch of passages in all."""

_SHOWN = 200
_Result = TypeVar("_Result")


class Asks(Protocol):
    """Sends a request to one model and returns the JSON object of its answer."""

    def ask(self, path: str, body: dict[str, Any], *, urgent: bool) -> Any:
        """Send `body` to `path` (``/embeddings``). The model's name there is put into it.

        Raises:
            EngineError: it refuses the request, or answers with something else than JSON.
            UnavailableError: it cannot be reached or loaded now.
        """
        ...

    def close(self) -> None:
        """Give up what is being asked, and ask nothing any more."""
        ...


@dataclass(slots=True)
class RuntimeModel:
    """A model of the running product; fulfils `Asks`.

    Passages are background requests: they fill free room, hold up nobody and never cause a swap. A question is one of
    a person where the model is in memory, and does not bring it there otherwise: an answer must not wait for a model of
    vectors to push out the model that answers.
    """

    coordinator: Coordinator
    loop: asyncio.AbstractEventLoop
    model: str
    _asked: set[concurrent.futures.Future[Any]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def ask(self, path: str, body: dict[str, Any], *, urgent: bool) -> Any:
        """As `Asks.ask`; never on the event loop."""
        return _decoded(self.model, self._wait(self._send(path, body, urgent=urgent), urgent=urgent))

    def _wait(self, work: Coroutine[Any, Any, _Result], *, urgent: bool) -> _Result:
        with self._lock:
            if self._closed or self.loop.is_closed():
                work.close()
                raise _stopping()
            future = asyncio.run_coroutine_threadsafe(work, self.loop)
            self._asked.add(future)
        try:
            return future.result(QUESTION_LIMIT if urgent else INGEST_LIMIT)
        except concurrent.futures.CancelledError:
            raise _stopping() from None
        except TimeoutError:
            future.cancel()
            raise UnavailableError(text("'{model}' takes too long.", model=self.model)) from None
        finally:
            self._asked.discard(future)

    async def _send(self, path: str, body: dict[str, Any], *, urgent: bool) -> bytes:
        standing = Standing(RequestClass.BACKGROUND, patience=INGEST_PATIENCE)
        if urgent:
            view = self.coordinator.views().get(self.model)
            here = view is not None and view.residency is Residency.IN
            standing = Standing() if here else Standing(RequestClass.BACKGROUND, patience=QUESTION_PATIENCE)
        async with self.coordinator.lease(self.model, standing=standing) as lease:
            content = msgspec.json.encode({**body, "model": lease.endpoint.name or self.model})
            async with self.coordinator.open(lease, path, content) as answer:
                found = await answer.body()
                if answer.status >= httpx.codes.BAD_REQUEST:
                    raise _refused(self.model, answer.status, found)
                return found

    def close(self) -> None:
        """As `Asks.close`."""
        with self._lock:
            self._closed = True
            for one in tuple(self._asked):
                one.cancel()


@dataclass(slots=True)
class AddressedModel:
    """A model at an address, asked directly: for commands while no Ansambl runs. Fulfils `Asks`."""

    attachment: Attachment
    _client: httpx.Client | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, path: str, body: dict[str, Any], *, urgent: bool) -> Any:
        """As `Asks.ask`."""
        with self._lock:
            if self._client is None:
                key = self.attachment.key
                headers = {"authorization": f"Bearer {key}"} if key else {}
                self._client = httpx.Client(headers=headers, trust_env=False)
        name = self.attachment.model
        try:
            answer = self._client.post(
                self.attachment.address.rstrip("/") + path, json={**body, "model": self.attachment.name},
                timeout=QUESTION_LIMIT if urgent else INGEST_LIMIT,
            )  # fmt: skip
        except httpx.HTTPError as error:
            raise UnavailableError(
                text("'{model}' at {address} does not answer ({reason}).", model=name,
                     address=self.attachment.address, reason=str(error) or type(error).__name__)
            ) from None  # fmt: skip
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise _refused(name, answer.status_code, answer.content)
        return _decoded(name, answer.content)

    def close(self) -> None:
        """As `Asks.close`."""
        with self._lock:
            if self._client is not None:
                self._client.close()


@dataclass(frozen=True, slots=True)
class RestingModel:
    """A model that runs only while Ansambl does; fulfils `Asks` by saying so."""

    model: str

    def ask(self, path: str, body: dict[str, Any], *, urgent: bool) -> Any:  # noqa: ARG002 - as `Asks`
        """Refuse."""
        raise UnavailableError(
            text("'{model}' gives vectors only while Ansambl runs; what is added now gets them after: ansambl up",
                 model=self.model), retry_after=None,
        )  # fmt: skip

    def close(self) -> None:
        """Nothing is held."""


def _stopping() -> UnavailableError:
    return UnavailableError(text("Ansambl is stopping."), retry_after=None)


def _decoded(model: str, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise EngineError(text("'{model}' did not answer with JSON.", model=model)) from None


def _refused(model: str, status: int, content: bytes) -> EngineError | UnavailableError:
    reason = content[:_SHOWN].decode("utf-8", "replace").strip() or status
    if status in {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.UNAUTHORIZED}:
        return UnavailableError(text("'{model}' cannot be asked now: {reason}", model=model, reason=reason))
    return EngineError(text("'{model}' refuses: {reason}", model=model, reason=reason))
