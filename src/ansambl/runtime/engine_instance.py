"""An instance whose engine we run: one task owns it, from the first start to the last stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.instance import Endpoint, InstanceHandle, InstanceState, InstanceStatus
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import ConversationCalls, EngineAdapter, KeepsConversations, SharesPrefixes
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.runtime import readiness
from ansambl.runtime.engine_runs import EngineRuns, Run
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import Launcher, LaunchFailedError
from ansambl.runtime.load_facts import GpuMemory, LoadFacts, OnReady
from ansambl.runtime.log_buffer import LogBuffer, engine_log
from ansambl.runtime.restarts import RestartPolicy
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.store import RuntimeStore

_LOOK_EVERY = 2.0
"""Seconds between two looks at the log and the memory of a ready engine."""
_CHECK_PATIENCE = 20.0
"""Seconds that a suspected engine, still alive, has to answer its probe before it is ended."""
_CHECK_PAUSE = 0.1
_PROBE_EVERY = 30.0
"""Seconds between two looks at whether a ready engine still answers its probe, which no generation holds up."""

_log = get_logger(__name__)


class EngineInstance:
    """Runs `placement` with the engine of `adapter`.

    The engine starts at the first `ensure_ready`, is restarted with growing pauses when it dies, and is given up after
    five quick failures in a row, or at once when a restart cannot help. Make it anywhere; use it on one event loop.

    Args:
        placement: what runs.
        adapter: its engine.
        launcher: where it runs.
        store: where its handle is kept; None keeps none.
        events: where it tells what happened.
        log_folder: where its engine's log lies.
        clock: time.
        adopted: an engine process of an earlier Ansambl that `recovery.recover` found usable.
        port: the port to listen on; a free one by default.
        states: where its engine may keep the state of a slot for a moment; None where it may not.
        on_ready: told what each start took, when it became ready.
        gpu_memory: tells what a process holds on GPUs.
    """

    def __init__(
        self, placement: Placement, adapter: EngineAdapter, *, launcher: Launcher, store: RuntimeStore | None,
        events: EventLog, log_folder: Path, clock: Clock | None = None, adopted: InstanceHandle | None = None,
        port: int | None = None, states: StateFolders | None = None, on_ready: OnReady | None = None,
        gpu_memory: GpuMemory | None = None,
    ) -> None:  # fmt: skip
        self.model = placement.model
        self._placement = placement
        self._adapter = adapter
        self._events = events
        self._clock = clock or RealClock()
        self._log = LogBuffer(engine_log(log_folder, self.model))
        self._runs = EngineRuns(
            placement, adapter, launcher=launcher, store=store, events=events, log=self._log.path, clock=self._clock,
            adopted=adopted, port=port, states=states,
        )  # fmt: skip
        self._facts = LoadFacts()
        self._on_ready = on_ready
        self._gpu_memory = gpu_memory
        self._keeps = adapter if isinstance(adapter, KeepsConversations) else None
        self._calls = self._keeps.conversation_calls(placement) if self._keeps else None
        self._policy = RestartPolicy()
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Endpoint] | None = None
        self._stopping = asyncio.Event()
        self._suspected = asyncio.Event()
        self._state = InstanceState.STOPPED
        self._message: Text | None = None
        self._run: Run | None = None
        self._restarts = 0
        self._load_seconds: float | None = None
        self._memory: Bytes | None = None

    # What others ask for.

    async def ensure_ready(self) -> Endpoint:
        """Return where it answers, after starting or restarting its engine when that is needed.

        Raises:
            UnavailableError: it cannot be made ready now; the message says why and what to do.
        """
        run, ready = self._run, self._ready
        if ready is not None and ready.done() and run is not None and run.process.alive():
            return ready.result()
        while self._task is not None and self._stopping.is_set():
            await asyncio.wait([self._task])
        if self._task is None:
            wait = self._policy.wait_left(self._clock.monotonic())
            if wait > 0 and self._message is not None:
                raise self._unavailable(self._message, retry_after=max(1, round(wait)))
            self._begin()
        elif self._ready is not None and self._ready.done():
            # The process just ended and its owner has not been told yet.
            self.suspect()
        assert self._ready is not None  # noqa: S101 - for the type checker: _begin and suspect make one
        # Shielded: a caller that goes away must not cancel the start that others wait for.
        return await asyncio.shield(self._ready)

    def suspect(self) -> None:
        """Tell that a request to it just failed at the connection: nobody gets its endpoint before it was checked."""
        if self._task is None or self._stopping.is_set():
            return
        if self._ready is not None and self._ready.done():
            self._ready = self._new_future()
        self._suspected.set()

    def proven(self) -> None:
        """Forget its earlier failures: an engine that answers is not one that cannot start."""
        self._policy.answered()

    async def stop(self) -> None:
        """End the engine; return when nothing of it is left. A later `ensure_ready` starts it again."""
        task = self._task
        if task is not None:
            self._stopping.set()
            await asyncio.wait([task])
        await self._runs.end_unused()

    def conversations(self) -> ConversationCalls | None:
        """How its engine's slots are used; they can be copied only while it runs."""
        return self._calls

    def shares_prefixes(self) -> bool | None:
        """As its adapter says; None where it says nothing."""
        return self._adapter.shares_prefixes(self._placement) if isinstance(self._adapter, SharesPrefixes) else None

    def status(self) -> InstanceStatus:
        """A snapshot for people."""
        run, adopted = self._run, self._runs.adopted
        port = run.port if run else adopted.port if adopted else None
        waits = run is None and adopted is not None
        return InstanceStatus(
            model=self.model,
            engine=self._adapter.traits.name,
            state=InstanceState.READY if waits else self._state,
            address=f"http://127.0.0.1:{port}/v1" if port else None,
            pid=run.process.identity.pid if run else adopted.process.pid if adopted else None,
            adopted=run.adopted if run else waits,
            context=self._facts.context or self._placement.context,
            parallel=self._placement.parallel,
            restarts=self._restarts,
            started=run.since if run else adopted.since if adopted else None,
            load_seconds=self._load_seconds,
            memory=self._memory,
            message=self._message,
        )

    def log_tail(self, lines: int = 200) -> list[str]:
        """The newest lines of the engine's log, oldest first."""
        return self._log.tail(lines)

    # What its own task does.

    def _begin(self) -> None:
        self._stopping.clear()
        self._suspected.clear()
        self._ready = self._new_future()
        self._set(InstanceState.STARTING, None)
        self._task = asyncio.create_task(self._own(), name=f"instance {self.model}")

    def _new_future(self) -> asyncio.Future[Endpoint]:
        future: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        # Nobody may be waiting when it fails; that is no mistake of the program.
        future.add_done_callback(lambda one: one.cancelled() or one.exception())
        return future

    def _set(self, state: InstanceState, message: Text | None) -> None:
        self._state, self._message = state, message

    def _unavailable(self, message: Text, retry_after: int = 5) -> UnavailableError:
        return UnavailableError(
            text("'{model}' is not available: {reason}", model=self.model, reason=message), retry_after=retry_after
        )

    async def _own(self) -> None:
        try:
            await self._live()
            self._set(InstanceState.STOPPED, None)
        except AnsamblError as failure:
            self._give_up(failure.message)
        except Exception as failure:  # noqa: BLE001 - the last place where anything can still be told to the callers
            _log.exception("instance_failed", model=self.model)
            self._give_up(text("an unexpected error: {reason}", reason=f"{type(failure).__name__}: {failure}"))
        finally:
            self._task = None
            why: Text = self._message or text("it was stopped")
            if self._ready is not None and not self._ready.done():
                wait = self._policy.wait_left(self._clock.monotonic())
                self._ready.set_exception(self._unavailable(why, retry_after=max(1, round(wait))))
            self._ready = None

    def _give_up(self, message: Text) -> None:
        self._policy.give_up(self._clock.monotonic())
        self._set(InstanceState.FAILED, message)
        self._tell("failed", message)

    async def _live(self) -> None:
        """Run the engine until a stop is asked for; raises when it is given up."""
        while not self._stopping.is_set():
            explanation, ready_seconds = await self._one_run()
            if explanation is None:
                return
            pause = self._policy.after_end(explanation, ready_seconds)
            if pause is None:
                raise UnavailableError(explanation.message)
            self._restarts += 1
            self._set(InstanceState.RESTARTING, explanation.message)
            await self._first(self._clock.sleep(pause), self._stopping.wait())

    async def _one_run(self) -> tuple[ExitExplanation | None, float]:
        """One process from start to end: why it ended (None: we were asked to stop it), and seconds it was ready."""
        self._log.begin_run()
        self._facts = LoadFacts()
        try:
            run = await self._runs.open()
        except LaunchFailedError as failure:
            self._tell("exited", failure.explanation.message)
            return failure.explanation, 0.0
        self._run = run
        self._calls = self._keeps.conversation_calls(run.placement) if self._keeps else None
        ended = asyncio.create_task(run.process.wait())
        explanation: ExitExplanation | None = None
        try:
            explanation = await self._until_ready(run, ended)
            if explanation is None and not self._stopping.is_set():
                explanation = await self._watch(run, ended)
        finally:
            if self._ready is None or self._ready.done():
                self._ready = self._new_future()
            await self._close(run, ended)
        if self._stopping.is_set():
            self._tell("stopped", text("{engine} was stopped", engine=self._adapter.traits.title))
            return None, 0.0
        if explanation is None:
            explanation = self._adapter.explain_exit(ended.result(), self._log.run_tail())
        self._tell("exited", explanation.message)
        ready_seconds = 0.0 if run.ready_at is None else self._clock.monotonic() - run.ready_at
        return explanation, ready_seconds

    def _tell(self, kind: str, message: Text) -> None:
        self._events.add(self.model, kind, message)

    async def _close(self, run: Run, ended: asyncio.Task[int | None]) -> None:
        """Leave nothing of a run: process group, handle, zombie."""
        self._read_log()
        if not ended.done():
            self._set(InstanceState.STOPPING if self._stopping.is_set() else self._state, self._message)
            # While it loads, or hangs, it has nothing to lose, and may not hear a polite signal.
            await run.process.stop(patience=10.0 if self._stopping.is_set() and run.ready_at is not None else 2.0)
        await asyncio.wait([ended])
        self._run, self._memory = None, None
        await self._runs.forget(run)

    async def _until_ready(self, run: Run, ended: asyncio.Task[int | None]) -> ExitExplanation | None:
        """Wait until the engine is ready, ended, or to be stopped; an explanation when its patience is over."""
        probe = self._adapter.probe
        ready = asyncio.create_task(readiness.wait_until_ready(probe, run.port, key=run.secret, clock=self._clock))
        try:
            await self._first(asyncio.shield(ready), asyncio.shield(ended), self._stopping.wait())
            if ended.done() or self._stopping.is_set():
                return None
            if not ready.result():
                return ExitExplanation(
                    ExitReason.UNKNOWN,
                    text("{engine} was not ready after {seconds} s and was ended; see its log",
                         engine=self._adapter.traits.title, seconds=round(probe.patience)))  # fmt: skip
        finally:
            await _cancel(ready)
        run.ready_at = self._clock.monotonic()
        self._read_log()
        run.endpoint = replace(run.endpoint, state_bytes_per_token=self._facts.state_bytes_per_token(run.placement))
        self._memory = await asyncio.to_thread(run.process.memory)
        if not run.adopted:
            self._load_seconds = run.ready_at - run.began
            await self._measured(run, self._load_seconds)
            self._tell("ready", text("{engine} is ready after {seconds} s",
                             engine=self._adapter.traits.title, seconds=round(self._load_seconds, 1)))  # fmt: skip
        self._set(InstanceState.READY, None)
        self._suspected.clear()
        self._answer(run)
        return None

    async def _measured(self, run: Run, load_seconds: float) -> None:
        if self._on_ready is not None:
            held = await self._held_on_gpus(run)
            self._on_ready(
                self._facts.measured(run.placement, resident=self._memory, gpu_memory=held, load_seconds=load_seconds)
            )

    async def _held_on_gpus(self, run: Run) -> Bytes | None:
        if self._gpu_memory is None:
            return None
        return await asyncio.to_thread(self._gpu_memory, run.process.identity.pid)

    def _answer(self, run: Run) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(run.endpoint)

    async def _watch(self, run: Run, ended: asyncio.Task[int | None]) -> ExitExplanation | None:
        """Stay until the engine ended or is to be stopped; an explanation when it hangs."""
        probed = self._clock.monotonic()
        while not ended.done() and not self._stopping.is_set():
            await self._first(
                asyncio.shield(ended), self._stopping.wait(), self._suspected.wait(), self._clock.sleep(_LOOK_EVERY)
            )
            # An engine that hangs keeps its connections open, so no request would ever make it suspected.
            due = self._clock.monotonic() - probed >= _PROBE_EVERY
            if (self._suspected.is_set() or due) and not ended.done():
                self._suspected.clear()
                probed = self._clock.monotonic()
                if not await self._answers(run, ended):
                    if ended.done() or self._stopping.is_set():
                        return None
                    return ExitExplanation(
                        ExitReason.CRASHED,
                        text("{engine} still ran but did not answer any more, and was ended",
                             engine=self._adapter.traits.title))  # fmt: skip
                self._answer(run)
            self._read_log()
            self._memory = await asyncio.to_thread(run.process.memory)
        return None

    async def _answers(self, run: Run, ended: asyncio.Task[int | None]) -> bool:
        """Whether a suspected engine answers its probe. A dying one closes its connections before its process ends."""
        probe, end = self._adapter.probe, self._clock.monotonic() + _CHECK_PATIENCE
        while self._clock.monotonic() < end:
            if await readiness.ask(run.port, probe.path, key=run.secret) == probe.status and run.process.alive():
                return True
            await self._first(asyncio.shield(ended), self._stopping.wait(), self._clock.sleep(_CHECK_PAUSE))
            if ended.done() or self._stopping.is_set():
                return False
        return False

    def _read_log(self) -> None:
        self._facts.take(self._log.refresh(), self._adapter.read_log)

    @staticmethod
    async def _first(*waits: Awaitable[object]) -> None:
        """Return when the first of `waits` is over; the others are cancelled."""
        tasks = [asyncio.ensure_future(one) for one in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                await _cancel(task)


async def _cancel(task: asyncio.Future[object] | asyncio.Task[bool]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
