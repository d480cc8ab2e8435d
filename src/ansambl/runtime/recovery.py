"""Engines that outlived an earlier Ansambl: taken over when they are what is wanted now, else ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from ansambl.domain.instance import InstanceHandle
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.runtime import readiness
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import EngineProcess, Launcher, LocalLauncher
from ansambl.runtime.state_files import remove_folder
from ansambl.runtime.store import RuntimeStore

Adopted: TypeAlias = InstanceHandle
"""A handle whose process was found alive, answering to its secret, and started from what is wanted now."""

STILL_LOADS = 900.0
"""Seconds since its start in which an engine that does not answer yet counts as loading."""

_MODELS_PATH = "/v1/models"
_OK, _LOADING = 200, 503
_PATIENCE = 5.0

_log = get_logger(__name__)


async def recover(
    store: RuntimeStore, wanted: Mapping[str, str], *, launcher: Launcher, events: EventLog, logs: Path | None = None,
    clock: Clock | None = None,
) -> dict[str, Adopted]:  # fmt: skip
    """Look at every stored handle, and return those to adopt, by model; all other engines are ended.

    Args:
        store: where the handles are.
        wanted: for each model that is to run here, the digest of its launch spec.
        launcher: finds the processes.
        events: told what was ended.
        logs: the folder of the engines' logs; given, those are ended too of which no handle was written.
        clock: time.
    """
    now = (clock or RealClock()).now()
    handles = await store.handles()
    looks = (_look(model, one, wanted.get(model), launcher, now) for model, one in handles.items())
    adopted = {}
    for (model, handle), ended in zip(handles.items(), await asyncio.gather(*looks), strict=True):
        if handle is not None and ended is None:
            adopted[model] = handle
            continue
        if handle is not None and ended:
            events.add(model, "ended", text("an engine of an earlier run (process {pid}) was ended: it is not what is "
                       "wanted now", pid=handle.process.pid))  # fmt: skip
        if handle is not None:
            await launcher.forget(Path(handle.log_path))
        await store.remove_handle(model)
    if logs is not None:
        await _end_unknown(launcher, logs, [one.process.pid for one in adopted.values()])
    return adopted


async def _look(
    model: str, handle: InstanceHandle | None, digest: str | None, launcher: Launcher, now: float
) -> bool | None:
    """None: it is to be adopted. Else it does not run any more, and this tells whether that was our doing."""
    process = launcher.adopt(handle.process) if handle is not None else None
    if handle is None or process is None:
        return False
    if digest == handle.digest and await _is_ours(handle, now):
        return None
    _log.info("engine_not_adopted", model=model, pid=handle.process.pid)
    await _end(process)
    return True


async def _is_ours(handle: InstanceHandle, now: float) -> bool:
    """Whether it answers to its secret, or still loads: it has time for that, and then has to answer its probe."""
    status = await readiness.ask(handle.port, _MODELS_PATH, key=handle.secret, patience=_PATIENCE)
    if status == _OK:
        return True
    if handle.since is None or not -_PATIENCE <= now - handle.since <= STILL_LOADS:
        return False
    # One that hangs, or was stopped, takes the connection and says nothing.
    return status == _LOADING or (status is None and not await readiness.listens(handle.port))


async def _end(process: EngineProcess) -> None:
    await process.stop()
    await process.wait()


async def _end_unknown(launcher: Launcher, logs: Path, known: Collection[int]) -> int:
    """End what nobody knows of; returns how many engines that were."""
    found = await launcher.unknown(logs, known)
    await asyncio.gather(*(one.stop() for one in found))
    return len(found)


async def end_all(store: RuntimeStore, logs: Path | None = None) -> int:
    """End every engine that an Ansambl which is gone left behind; return how many there were.

    `logs` is the folder of the engines' logs; given, those are ended too of which no handle was written.
    """
    launcher = LocalLauncher()
    handles = await store.handles()
    left = {
        model: process
        for model, one in handles.items()
        if one is not None and (process := launcher.adopt(one.process)) is not None
    }
    await asyncio.gather(*(_end(one) for one in left.values()))
    for model, handle in handles.items():
        if handle is not None:
            await asyncio.to_thread(remove_folder, handle.state_folder)
            await launcher.forget(Path(handle.log_path))
        await store.remove_handle(model)
    unknown = await _end_unknown(launcher, logs, ()) if logs is not None else 0
    return len(left) + unknown
