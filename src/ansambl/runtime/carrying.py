"""Carries requests to the engine of a leased instance, and once more where it failed before it began to answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.text import text
from ansambl.engines.adapter import ConversationCalls, EngineCall
from ansambl.runtime.engine_calls import body_of
from ansambl.runtime.instance import Instance
from ansambl.runtime.judging import beginning, is_answer
from ansambl.runtime.upstream import JSON, Body, ConnectionLostError, Upstream, UpstreamAnswer

_OK = 200
_GARBAGE = "engine_garbage"


@dataclass(slots=True)
class Lease:
    """A place on a ready instance, held until its request is answered. `queued` is how long it waited, in seconds.

    `slot` is the engine's slot that its requests go to, None where the engine chooses itself; `calls` says then how.
    `prompt` is what the slot is believed to hold afterwards. `lora` is the LoRA adapter that its requests use, `mark`
    what keeps the states that are read with it apart from others (see `hold`). `salt` keeps its requests apart from
    other keys' in an engine's prefix cache, `alone` means that they may use nothing that was read before. `swaps`
    counts the instances that were unloaded for it. `restored` is how many tokens were restored into the slot for it,
    `cached` how many of its prompt the engine says it had already; None until it did.
    """

    model: str
    endpoint: Endpoint
    queued: float
    slot: int | None = None
    calls: ConversationCalls | None = field(default=None, repr=False)
    prompt: bytes = field(default=b"", repr=False)
    place: int | None = None
    lora: str | None = None
    mark: bytes = field(default=b"", repr=False)
    salt: str = field(default="", repr=False)
    alone: bool = False
    swaps: int = 0
    restored: int = 0
    cached: int | None = None

    def hold(self, hint: bytes) -> None:
        """Say what the slot will hold: a prompt that begins as `hint` does."""
        self.prompt = self.mark + hint


class GarbageError(EngineError):
    """What an engine answered is no answer."""


@dataclass(slots=True)
class _Opened(AbstractAsyncContextManager[UpstreamAnswer]):
    """The answer that `send` gives while it is read; its instance is told how that ended."""

    instance: Instance
    send: Callable[[], Awaitable[UpstreamAnswer]]
    _answer: UpstreamAnswer | None = None

    async def __aenter__(self) -> UpstreamAnswer:
        answer = self._answer = await self.send()
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        answer = self._answer
        if answer is None:
            return
        try:
            if error is None:
                if answer.status < 500:
                    self.instance.proven()
            elif isinstance(error, ConnectionLostError):
                # One that came to its end and lacks its last words was not lost: the engine wrote nonsense.
                _blame(self.instance, garbage=answer.ended)
            elif isinstance(error, EngineError) and error.code == _GARBAGE:
                self.instance.garbled()
        finally:
            await answer.__aexit__(None, None, None)


class Carrier:
    """Sends what leases allow.

    Args:
        instance: finds the instance of a model.
        upstream: carries the bytes.
        note: told what a slot will hold.
        ready_again: finds where the engine of a lease answers after a failure.
    """

    def __init__(
        self, instance: Callable[[str], Instance], upstream: Upstream, note: Callable[[Lease], None],
        ready_again: Callable[[Lease], Awaitable[Endpoint]],
    ) -> None:  # fmt: skip
        self._instance = instance
        self._ready_again = ready_again
        self._upstream = upstream
        self._note = note

    def open(
        self, lease: Lease, path: str, body: Body, content_type: str = JSON
    ) -> AbstractAsyncContextManager[UpstreamAnswer]:  # fmt: skip
        """Send a request to the leased instance; when this yields, its answer has begun, and its body may still come.

        What is no JSON object goes out as it is: nothing in it can say which LoRA adapter or which slot is meant.

        It is sent once more when nothing was handed on yet: after a connection that failed before the first bytes of
        an answer (of one that is no stream: before its end), because the engine has just died and was restarted, or
        had closed an idle connection; and after an answer that is none.

        Raises:
            ConnectionLostError: it failed again, or in the middle of the answer.
            EngineError: the engine does not accept the key that we send (the client's own key is not to blame), or
                what it answers is no answer.
            UnavailableError: the engine cannot be made ready again.
        """
        return _Opened(self._instance(lease.model), partial(self._sent, lease, path, body, content_type))

    async def _sent(self, lease: Lease, path: str, body: Body, content_type: str) -> UpstreamAnswer:
        instance = self._instance(lease.model)
        if isinstance(body, bytes) and content_type == JSON:
            body = _addressed(instance, lease, path, body)
        self._note(lease)
        try:
            sent = self._upstream.post(lease.endpoint, path, body, content_type=content_type)
            answer = await self._begun(instance, sent)
        except (ConnectionLostError, GarbageError):
            lease.endpoint = await self._ready_again(lease)
            if lease.lora is not None:
                # Another run of the engine may have to load it again; the lease counts as its user already.
                await instance.use_lora(lease.lora)
                instance.end_lora(lease.lora)
            self._note(lease)
            sent = self._upstream.post(lease.endpoint, path, body, anew=True, content_type=content_type)
            answer = await self._begun(instance, sent)
        if answer.status in {401, 403}:
            instance.suspect()
            await answer.__aexit__(None, None, None)
            raise _refused_key(lease)
        return answer

    async def _begun(self, instance: Instance, answer: UpstreamAnswer) -> UpstreamAnswer:
        """Enter `answer`, and wait until it is sure that an answer comes.

        Raises:
            ConnectionLostError: none comes; the instance was told.
            GarbageError: likewise, and what came is no answer.
        """
        answer.flight = instance.flight
        try:
            await answer.__aenter__()
            pieces = await answer.settle()
        except BaseException as failure:
            await answer.__aexit__(None, None, None)
            if isinstance(failure, ConnectionLostError):
                _blame(instance, garbage=failure.garbage)
            raise
        if answer.status != _OK or is_answer(answer.content_type, pieces, whole=answer.ended):
            return answer
        await answer.__aexit__(None, None, None)
        instance.garbled()
        raise GarbageError(
            text("The engine's answer is not a chat completion but: {start}", start=beginning(pieces)), code=_GARBAGE
        )

    async def call(self, lease: Lease, call: EngineCall) -> bytes:
        """Send a call that concerns a slot and return what it answered.

        A connection that fails before the answer begins is tried once more when the very same engine still runs: it
        had closed an idle connection. A new one holds nothing in its slots.

        Raises:
            ConnectionLostError: the connection failed.
            EngineError: the engine refused it.
            UnavailableError: the connection failed, and the engine cannot be made ready again.
        """
        instance = self._instance(lease.model)
        try:
            status, body = await self._answer_to(lease, call)
        except ConnectionLostError as lost:
            instance.suspect()
            if lost.answered or await self._ready_again(lease) != lease.endpoint:
                raise
            try:
                status, body = await self._answer_to(lease, call, anew=True)
            except ConnectionLostError:
                instance.suspect()
                raise
        if status >= 400:
            reason = body[:200].decode("utf-8", "replace")
            raise EngineError(
                text("The engine refused {path} with status {status}: {reason}", path=call.path, status=status,
                     reason=reason)
            )  # fmt: skip
        return body

    async def _answer_to(self, lease: Lease, call: EngineCall, *, anew: bool = False) -> tuple[int, bytes]:
        root = replace(lease.endpoint, base_url=lease.endpoint.base_url.removesuffix("/v1"))
        body = body_of(call, self._instance(lease.model).loras(), lease.lora)
        sent = self._upstream.post(root, call.path, body, anew=anew)
        sent.flight = self._instance(lease.model).flight
        async with sent as answer:
            return answer.status, await answer.body()


def _addressed(instance: Instance, lease: Lease, path: str, body: bytes) -> bytes:
    """The body with what the lease has to say in it: the LoRA adapter, whose it is, which slot."""
    loras = instance.loras()
    if loras is not None:
        # Also for the plain model: some engines otherwise go on with the adapter of the request before.
        body = loras.applied(body, path, lease.lora)
    if lease.salt:
        body = instance.salted(body, lease.salt)
    if lease.slot is not None and lease.calls is not None:
        body = lease.calls.pinned(body, lease.slot)
        if lease.alone:
            body = lease.calls.unshared(body)
    return body


def _refused_key(lease: Lease) -> EngineError:
    return EngineError(
        text("The engine of '{model}' refuses the key that Ansambl sends; correct models.{model}.key.",
             model=lease.model),
        code="engine_refuses_key",
    )  # fmt: skip


def _blame(instance: Instance, *, garbage: bool) -> None:
    if garbage:
        instance.garbled()
    else:
        instance.suspect()
