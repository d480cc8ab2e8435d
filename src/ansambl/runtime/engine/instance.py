"""An instance whose engine we run: one task owns it, from the first start to the last stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.errors import AnsamblError, LoadFailedError, UnavailableError
from ansambl.domain.instance import Endpoint, InstanceHandle, InstanceState, InstanceStatus
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.engines.adapter import EngineAdapter, KeepsConversations
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.runtime.engine.door import Door
from ansambl.runtime.engine.front import EngineFront
from ansambl.runtime.engine.hanging import HangWatch
from ansambl.runtime.engine.holding import Holding
from ansambl.runtime.engine.load_facts import GpuMemory, LoadFacts, LoadTelling, OnReady
from ansambl.runtime.engine.loras import EngineLoras
from ansambl.runtime.engine.renewing import Renewal
from ansambl.runtime.engine.restarts import RestartPolicy
from ansambl.runtime.engine.resting import Rest
from ansambl.runtime.engine.runs import EngineRuns, Run
from ansambl.runtime.engine.sleeping import Sleeper
from ansambl.runtime.engine.uses import Uses
from ansambl.runtime.engine.waiting import first_of
from ansambl.runtime.engine.watch import EngineWatch
from ansambl.runtime.engine.watchers import NOBODY, Watchers
from ansambl.runtime.events import EventLog
from ansambl.runtime.flight import Flight
from ansambl.runtime.kept_states import KeptStates
from ansambl.runtime.launcher import Launcher, LaunchFailedError
from ansambl.runtime.log_buffer import LogBuffer, engine_log
from ansambl.runtime.scheduling.records import gpu_device
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.store import RuntimeStore

_LOOK_EVERY = 2.0
"""Seconds between two looks at the log and the memory of a ready engine."""

_log = get_logger(__name__)


class EngineInstance(EngineFront):
    """Runs `placement` with the engine of `adapter`.

    The engine starts at the first `ensure_ready`, is restarted with growing pauses when it dies, and is given up after
    a few quick failures in a row, or at once when a restart cannot help or its load finds too little memory. Make it
    anywhere; use it on one event loop.

    Args:
        placement: what runs, with the LoRA adapters that requests may name.
        adapter: its engine.
        launcher: where it runs.
        store: where its handle is kept; None keeps none.
        events: where it tells what happened.
        log_folder: where its engine's log lies.
        clock: time.
        adopted: an engine process of an earlier Ansambl that `recovery.recover` found usable.
        port: the port to listen on; a free one by default.
        states: where its engine may keep the state of a slot for a moment; None where it may not.
        on_ready: told what each start took.
        gpu_memory: tells what a process holds on GPUs.
        watchers: told what its engine does, asked why it ended.
        silence: seconds without a sign of work, while requests wait for it, after which its engine is started again; it
            may be changed, for the next run.
        device_of: what the scheduler calls a GPU of the placement, by its index.
    """

    def __init__(
        self, placement: Placement, adapter: EngineAdapter, *, launcher: Launcher, store: RuntimeStore | None,
        events: EventLog, log_folder: Path, clock: Clock | None = None, adopted: InstanceHandle | None = None,
        port: int | None = None, states: StateFolders | None = None, on_ready: OnReady | None = None,
        gpu_memory: GpuMemory | None = None, watchers: Watchers = NOBODY, silence: float = 120.0,
        device_of: Callable[[int], str] = gpu_device,
    ) -> None:  # fmt: skip
        self.model = placement.model
        self._placement = placement
        self._adapter = adapter
        self._events = events
        self._clock = clock or RealClock()
        self._log = LogBuffer(engine_log(log_folder, self.model))
        self._loras = EngineLoras(adapter, placement)
        self._runs = EngineRuns(
            placement, adapter, launcher=launcher, store=store, events=events, log=self._log.path, clock=self._clock,
            adopted=adopted, port=port, states=states,
        )  # fmt: skip
        self._runs.use_loras(self._loras.wanted)
        self._facts = LoadFacts()
        self._telling, self._watchers = LoadTelling(on_ready, gpu_memory), watchers
        self._keeps = adapter if isinstance(adapter, KeepsConversations) else None
        self._calls = self._keeps.conversation_calls(placement) if self._keeps else None
        self._policy = RestartPolicy()
        self._task: asyncio.Task[None] | None = None
        self._door = Door()
        self._uses = Uses()
        self._holding = Holding(self.model, gpu_memory, self._clock, device_of)
        self._rest = Rest(
            adapter.traits.title, self._door, self._uses, Sleeper(adapter, gpu_memory, self._clock, watchers.gpus_used),
            self._loras, self._clock, self._holding, self._set, self._tell,
        )  # fmt: skip
        self._renewal = Renewal(
            adapter.traits.title, self._door, self._uses, self._loras, KeptStates(states), self._clock, self._tell
        )
        self._renewing = False
        self._stopping = asyncio.Event()
        self.flight = Flight()
        self.silence, self._garbled = silence, 0
        self._suspected = asyncio.Event()
        self._state = InstanceState.STOPPED
        self._message: Text | None = None
        self._run: Run | None = None
        self._restarts = 0
        self._load_seconds: float | None = None
        self._out_of_memory = False

    # What others ask for.

    async def ensure_ready(self) -> Endpoint:
        """Return where it answers, after starting, restarting or waking its engine when that is needed.

        Raises:
            LoadFailedError: it cannot be made ready now; the message says why and what to do.
        """
        while True:
            run, endpoint = self._run, self._door.endpoint()
            if endpoint is not None and run is not None and run.process.alive():
                return endpoint
            while self._task is not None and self._stopping.is_set():
                await asyncio.wait([self._task])
            if self._task is None:
                wait = self._policy.wait_left(self._clock.monotonic())
                if wait > 0 and self._message is not None:
                    raise self._unavailable(self._message, retry_after=max(1, round(wait)))
                self._begin()
            elif self._door.is_open:
                # The process just ended and its owner has not been told yet.
                self.suspect()
            endpoint = await self._door.wait()
            if endpoint is not None:
                return endpoint

    def endpoint(self) -> Endpoint | None:
        """As `Instance.endpoint`."""
        run = self._run
        return self._door.endpoint() if run is not None and run.process.alive() else None

    def suspect(self) -> None:
        """Tell that a request to it just failed at the connection: nobody gets its endpoint before it was checked."""
        if self._task is None or self._stopping.is_set():
            return
        self._door.shut()
        self._suspected.set()

    def garbled(self) -> None:
        """As `Instance.garbled`."""
        self._garbled += 1
        if self._garbled >= self._policy.garbage_limit():
            self.suspect()

    def proven(self) -> None:
        """Forget its earlier failures: an engine that answers is not one that cannot start."""
        self._garbled = 0
        self._policy.answered()
        self._telling.answered()

    async def sleep(self, level: int | None = None) -> None:
        """As `Instance.sleep`."""
        if self._state is InstanceState.ASLEEP:
            return
        if self._task is None or self._stopping.is_set():
            raise UnavailableError(text("'{model}' does not run, so it cannot sleep.", model=self.model))
        await self._rest.ask(level)

    async def stop(self) -> None:
        """End the engine; return when nothing of it is left. A later `ensure_ready` starts it again."""
        if self._task is not None:
            self._stopping.set()
            await asyncio.wait([self._task])
        if await self._runs.end_unused():
            self._holding.ended()

    async def use_lora(self, name: str) -> None:
        """As `Instance.use_lora`."""
        endpoint = await self.ensure_ready()
        await self._loras.use(name, endpoint)

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
            memory=self._holding.resident,
            message=self._message,
            loras=tuple(one.name for one in self._loras.wanted),
            metrics=run.metrics if run else None,
        )

    # What its own task does.

    def _begin(self) -> None:
        self._stopping.clear()
        self._suspected.clear()
        self._door.shut()
        self._set(InstanceState.STARTING, None)
        self._out_of_memory = False
        self._task = asyncio.create_task(self._own(), name=f"instance {self.model}")

    def _set(self, state: InstanceState, message: Text | None) -> None:
        self._state, self._message = state, message

    def _unavailable(self, message: Text, retry_after: int = 5) -> LoadFailedError:
        return LoadFailedError(
            text("'{model}' is not available: {reason}", model=self.model, reason=message),
            out_of_memory=self._out_of_memory, retry_after=retry_after,
        )  # fmt: skip

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
            await self._renewal.kept.drop()
            self._task = None
            wait = self._policy.wait_left(self._clock.monotonic())
            why = self._unavailable(self._message or text("it was stopped"), retry_after=max(1, round(wait)))
            self._door.give_up(why)
            self._rest.dismiss(why.message)
            self._holding.ended(out_of_memory=self._out_of_memory)

    def _give_up(self, message: Text) -> None:
        self._policy.give_up(self._clock.monotonic(), out_of_memory=self._out_of_memory)
        self._set(InstanceState.FAILED, message)
        self._tell("failed", message)

    async def _live(self) -> None:
        """Run the engine until a stop is asked for; raises when it is given up."""
        while not self._stopping.is_set():
            explanation, ready_seconds = await self._one_run()
            if self._renewing and not self._stopping.is_set():
                self._set(InstanceState.RESTARTING, None)
                continue
            if explanation is None:
                return
            pause = self._policy.after_end(explanation, ready_seconds)
            if pause is None:
                self._out_of_memory = explanation.reason is ExitReason.OUT_OF_MEMORY
                raise UnavailableError(explanation.message)
            self._restarts += 1
            self._set(InstanceState.RESTARTING, explanation.message)
            await first_of(self._clock.sleep(pause), self._stopping.wait())

    async def _one_run(self) -> tuple[ExitExplanation | None, float | None]:
        """One process from start to end: why it ended (None: we were asked to stop it), and seconds it was ready.

        None seconds: it never was.
        """
        self._log.begin_run()
        self._facts, self._renewing = LoadFacts(), False
        try:
            run = await self._runs.open()
        except LaunchFailedError as failure:
            self._tell("exited", failure.explanation.message)
            return failure.explanation, None
        self._run = run
        self._calls = self._keeps.conversation_calls(run.placement) if self._keeps else None
        self._loras.begin(run.placement, adopted=run.adopted)
        ended = asyncio.create_task(run.process.wait())
        watch = EngineWatch(self._adapter, run, ended, stopping=self._stopping, clock=self._clock)
        explanation: ExitExplanation | None = None
        try:
            explanation = await self._until_ready(watch)
            if explanation is None and not self._stopping.is_set():
                explanation = await self._watch(watch)
        finally:
            self._door.shut()
            await self._close(watch)
        if self._stopping.is_set():
            self._tell("stopped", text("{engine} was stopped", engine=self._adapter.traits.title))
        if self._stopping.is_set() or self._renewing:
            return None, None
        if explanation is None:
            explanation = self._adapter.explain_exit(ended.result(), self._log.run_tail())
        explanation = await asyncio.to_thread(self._watchers.explained, run.placement, explanation)
        self._tell("exited", explanation.message)
        ready_seconds = None if run.ready_at is None else self._clock.monotonic() - run.ready_at
        return explanation, ready_seconds

    def _tell(self, kind: str, message: Text) -> None:
        self._events.add(self.model, kind, message)

    async def _close(self, watch: EngineWatch) -> None:
        """Leave nothing of a run: process group, handle, zombie."""
        run = watch.run
        self._read_log()
        if not watch.ended.done():
            asked = self._stopping.is_set() or self._renewing
            self._set(InstanceState.STOPPING if self._stopping.is_set() else self._state, self._message)
            # While it loads, or hangs, it has nothing to lose, and may not hear a polite signal.
            await run.process.stop(patience=10.0 if asked and run.ready_at is not None else 2.0)
        await asyncio.wait([watch.ended])
        self._run = None
        self._holding.forget()
        self._loras.end()
        await self._runs.forget(run)

    async def _until_ready(self, watch: EngineWatch) -> ExitExplanation | None:
        """Wait until the engine is ready, ended, or to be stopped; an explanation when its patience is over."""
        explanation, run = await watch.until_ready(), watch.run
        if explanation is None and run.adopted and not watch.over():
            explanation = await self._rest.rouse(watch)
        if explanation is not None or watch.over():
            return explanation
        run.ready_at = self._clock.monotonic()
        self._read_log()
        run.endpoint = replace(run.endpoint, state_bytes_per_token=self._facts.state_bytes_per_token(run.placement))
        self._load_seconds = None if run.adopted else run.ready_at - run.began
        resident = await asyncio.to_thread(run.process.memory)
        if self._load_seconds is not None:
            load = self._facts.measured(run.placement, resident=resident, load_seconds=self._load_seconds)
            await self._telling.ready(run.process.identity.pid, load)
            self._tell("ready", text("{engine} is ready after {seconds} s",
                             engine=self._adapter.traits.title, seconds=round(self._load_seconds, 1)))  # fmt: skip
        await self._renewal.follow(watch, self._calls)
        await self._holding.ready(run, self._facts, self._load_seconds)
        if watch.over():
            return None
        self._set(InstanceState.READY, None)
        self._suspected.clear()
        self._garbled = 0
        self._door.open(run.endpoint)
        return None

    async def _watch(self, watch: EngineWatch) -> ExitExplanation | None:
        """Stay until the engine ended, is to be stopped or to be started anew; an explanation when it hangs."""
        run, meter = watch.run, self._watchers.meter(self._adapter, watch.run, self._clock)
        hangs = HangWatch(self._adapter.traits.title, run, self.flight, self.silence, self._clock)
        while not watch.over():
            if self._state is InstanceState.READY:
                await meter.look(self._holding.resident)
                await self._telling.look(run.process.identity.pid, self._holding.resident, busy=self._uses.any())
            await first_of(
                asyncio.shield(watch.ended), self._stopping.wait(), self._suspected.wait(), self._rest.wished.wait(),
                self._clock.sleep(_LOOK_EVERY),
            )  # fmt: skip
            if (self._suspected.is_set() or watch.due()) and not watch.ended.done():
                self._suspected.clear()
                explanation = self._useless() or await watch.still_answers()
                if explanation is not None or watch.over():
                    return explanation
                self._door.open(run.endpoint)
            self._read_log()
            if (explanation := await hangs.look()) is not None:
                return explanation
            if (explanation := await self._rest.take(watch, self._facts)) is not None:
                return explanation
            if await self._renewal.take(watch, self._calls):
                self._renewing = True
                return None
            trouble = None if watch.over() else await watch.unless_over(self._loras.tidy(run.endpoint))
            if trouble is not None:
                self._tell("lora_failed", trouble)
            await self._holding.look(run, self._facts)
        await meter.look(self._holding.resident, last=True)
        return None

    def _useless(self) -> ExitExplanation | None:
        """An explanation when its answers are none."""
        if self._garbled < self._policy.garbage_limit():
            return None
        return ExitExplanation(
            ExitReason.CRASHED,
            text("{engine} answered {count} times in a row with what is no answer, and was ended",
                 engine=self._adapter.traits.title, count=self._garbled))  # fmt: skip

    def _read_log(self) -> None:
        self._facts.take(self._log.refresh(), self._adapter.read_log)
