"""Engines that outlived an earlier Ansambl: taken over when they are what is wanted now, else ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from ansambl.domain.instance import InstanceHandle
from ansambl.domain.text import text
from ansambl.runtime import readiness
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import EngineProcess, Launcher, LocalLauncher
from ansambl.runtime.state_files import remove_folder
from ansambl.runtime.store import RuntimeStore

Adopted: TypeAlias = InstanceHandle
"""A handle whose process was found alive, answering to its secret, and started from what is wanted now."""

_MODELS_PATH = "/v1/models"


async def recover(
    store: RuntimeStore, wanted: Mapping[str, str], *, launcher: Launcher, events: EventLog
) -> dict[str, Adopted]:
    """Look at every stored handle, and return those to adopt, by model; all other engines are ended.

    Args:
        store: where the handles are.
        wanted: for each model that is to run here, the digest of its launch spec.
        launcher: finds the processes.
        events: told what was ended.
    """
    adopted = {}
    for model, handle in (await store.handles()).items():
        process = launcher.adopt(handle.process) if handle is not None else None
        if handle is not None and process is not None:
            if wanted.get(model) == handle.digest and await _is_ours(handle):
                adopted[model] = handle
                continue
            await _end(process)
            events.add(model, "ended", text("an engine of an earlier run (process {pid}) was ended: it is not what is "
                       "wanted now", pid=handle.process.pid))  # fmt: skip
        if handle is not None:
            await launcher.forget(Path(handle.log_path))
        await store.remove_handle(model)
    return adopted


async def _is_ours(handle: InstanceHandle) -> bool:
    return await readiness.ask(handle.port, _MODELS_PATH, key=handle.secret) == 200


async def _end(process: EngineProcess) -> None:
    await process.stop()
    await process.wait()


async def end_all(store: RuntimeStore) -> int:
    """End every engine that an Ansambl which is gone left behind; return how many there were."""
    count = 0
    launcher = LocalLauncher()
    for model, handle in (await store.handles()).items():
        process = launcher.adopt(handle.process) if handle is not None else None
        if process is not None:
            await _end(process)
            count += 1
        if handle is not None:
            await asyncio.to_thread(remove_folder, handle.state_folder)
            await launcher.forget(Path(handle.log_path))
        await store.remove_handle(model)
    return count
