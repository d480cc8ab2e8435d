"""The processes of one instance: how each is started or adopted, and what is kept of it while it runs."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from ansambl.domain.engine import EngineMetrics, ExitExplanation, ExitReason, LaunchSpec
from ansambl.domain.instance import Endpoint, InstanceHandle
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineAdapter
from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger
from ansambl.foundation.redaction import register_secret
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import EngineProcess, Launcher, LaunchFailedError
from ansambl.runtime.state_files import StateFolders, remove_folder
from ansambl.runtime.store import RuntimeStore

_log = get_logger(__name__)


@dataclass(slots=True)
class Run:
    """One process of an engine, from its start to its end.

    `placement` is what it was started from, `metrics` what it said of itself when it was last asked.
    """

    process: EngineProcess
    placement: Placement
    endpoint: Endpoint
    port: int
    secret: str
    adopted: bool
    began: float
    since: float | None
    ready_at: float | None = None
    metrics: EngineMetrics | None = None


class EngineRuns:
    """Opens runs of `placement`, the first of them perhaps an adopted one; the arguments are those of the instance."""

    def __init__(
        self, placement: Placement, adapter: EngineAdapter, *, launcher: Launcher, store: RuntimeStore | None,
        events: EventLog, log: Path, clock: Clock, adopted: InstanceHandle | None, port: int | None,
        states: StateFolders | None,
    ) -> None:  # fmt: skip
        self.adopted = adopted
        self._placement = placement
        self._adapter = adapter
        self._launcher = launcher
        self._store = store
        self._events = events
        self._log = log
        self._clock = clock
        self._port = port
        self._states = states

    def use_loras(self, loras: tuple[LoraAdapter, ...]) -> None:
        """Start with these LoRA adapters from now on."""
        self._placement = replace(self._placement, loras=loras)

    async def open(self) -> Run:
        """Adopt the engine that was found running, or start one.

        Raises:
            LaunchFailedError: it cannot be started, or not be noted for a later start.
            AnsamblError: the placement contradicts itself.
        """
        handle, self.adopted = self.adopted, None
        if handle is not None:
            process = self._launcher.adopt(handle.process)
            if process is not None:
                placement = replace(self._placement, state_folder=handle.state_folder)
                spec = self._adapter.launch_spec(placement, port=handle.port, secret=handle.secret)
                self._events.add(self._placement.model, "adopted",
                                 text("{engine} still runs since earlier (process {pid})",
                                      engine=self._adapter.traits.title, pid=handle.process.pid))  # fmt: skip
                return self._run(spec, placement, handle.secret, process, since=handle.since, adopted=True)
            # It ended since it was found; what it kept is nobody's.
            await asyncio.to_thread(remove_folder, handle.state_folder)
        return await self._start()

    async def forget(self, run: Run) -> None:
        """Keep nothing of a run that ended."""
        await asyncio.to_thread(remove_folder, run.placement.state_folder)
        await self._launcher.forget(self._log)
        await self._remove_handle()

    async def end_unused(self) -> bool:
        """End the engine that was to be adopted and never was; returns whether there was one."""
        handle, self.adopted = self.adopted, None
        if handle is None:
            return False
        process = self._launcher.adopt(handle.process)
        if process is not None:
            await process.stop()
            await process.wait()
        await asyncio.to_thread(remove_folder, handle.state_folder)
        await self._launcher.forget(self._log)
        await self._remove_handle()
        return True

    async def _remove_handle(self) -> None:
        if self._store is not None:
            try:
                await self._store.remove_handle(self._placement.model)
            except (OSError, sqlite3.Error) as failure:
                # The disk is full, say. A handle that is left over names a process that is gone, and adopts nothing.
                _log.warning("handle_not_removed", model=self._placement.model, reason=str(failure))

    async def _start(self) -> Run:
        secret = secrets.token_urlsafe(32)
        placement = replace(self._placement, state_folder=await self._state_folder())
        try:
            spec = self._adapter.launch_spec(placement, port=self._port or self._launcher.choose_port(), secret=secret)
            process = await self._launcher.start(spec, self._log)
            try:
                run = self._run(spec, placement, secret, process, since=self._clock.now(), adopted=False)
                await self._save(run, spec)
            except BaseException:
                # Without a handle no later Ansambl could find it.
                await process.stop()
                await process.wait()
                await self._launcher.forget(self._log)
                raise
        except BaseException:
            await asyncio.to_thread(remove_folder, placement.state_folder)
            raise
        self._events.add(self._placement.model, "started",
                         text("{engine} started (process {pid})", engine=self._adapter.traits.title,
                              pid=process.identity.pid))  # fmt: skip
        return run

    async def _state_folder(self) -> str | None:
        if self._states is None:
            return None
        try:
            return str(await asyncio.to_thread(self._states.make))
        except OSError:
            return None

    async def _save(self, run: Run, spec: LaunchSpec) -> None:
        if self._store is not None:
            handle = InstanceHandle(
                model=self._placement.model, engine=spec.engine, process=run.process.identity, port=spec.port,
                secret=run.secret, digest=spec.digest, log_path=str(self._log), since=run.since,
                state_folder=run.placement.state_folder,
            )  # fmt: skip
            try:
                await self._store.save_handle(handle)
            except (OSError, sqlite3.Error) as failure:
                raise LaunchFailedError(
                    ExitExplanation(
                        ExitReason.UNKNOWN,
                        text("{engine} was ended again, because what a later start must know of it cannot be written "
                             "to the data folder ({reason}); make room on its disk, or correct its rights",
                             engine=self._adapter.traits.title, reason=str(failure)),
                        restart_helps=False)
                ) from failure  # fmt: skip

    def _run(
        self, spec: LaunchSpec, placement: Placement, secret: str, process: EngineProcess, *, since: float | None,
        adopted: bool,
    ) -> Run:  # fmt: skip
        register_secret(secret)
        endpoint = Endpoint(
            base_url=f"http://{spec.host}:{spec.port}{spec.base_path}", key=secret, name=spec.upstream_name,
            slots=placement.parallel, state_folder=placement.state_folder,
        )  # fmt: skip
        return Run(process, placement, endpoint, spec.port, secret, adopted, self._clock.monotonic(), since)
