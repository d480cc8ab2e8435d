"""Offering a plan to the owner once, and fetching it after a yes, while everything else goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import is_unconfigured
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import library

if TYPE_CHECKING:
    from ansambl.app.first_plan import Proposal


class Offering(Protocol):
    """Whoever can ask the owner and show how far a download is."""

    async def consent(self, proposal: Proposal) -> bool | None:
        """Show the proposal and ask; None when nobody could be asked."""
        ...

    def fetching(self, done: int, total: int) -> None:
        """Bytes that have arrived."""
        ...

    def say(self, message: Text) -> None:
        """One line about what is happening."""
        ...


class _BrokenOffError(Exception):
    """Ends a download in its thread when Ansambl stops."""


def with_installed(loaded: LoadedSettings, paths: DataPaths) -> LoadedSettings:
    """The settings with the best checkpoint that is here, where nothing is configured; else as they are."""
    if not is_unconfigured(loaded):
        return loaded
    found = list(library.in_models_folder(paths.models))
    if not found:
        return loaded
    # The planner and its catalog are loaded by those starts alone that plan something.
    from ansambl.app import first_plan

    return first_plan.with_installed(loaded, found, paths)


async def propose_once(loaded: LoadedSettings, paths: DataPaths, reporter: Offering) -> bool:
    """Offer what is better than the embedded model, and fetch it when the owner agrees; return whether it is here now.

    Raises:
        AnsamblError: what was agreed to could not be fetched; the rest goes on as it was.
    """
    from ansambl.app import first_plan

    proposal = await asyncio.to_thread(first_plan.propose, loaded, paths)
    if proposal is None or first_plan.is_declined(proposal, paths):
        return False
    agreed = await reporter.consent(proposal)
    if agreed is False:
        first_plan.remember_declined(proposal, paths)
    if not agreed:
        return False
    loop = asyncio.get_running_loop()
    stopped = False

    def progress(done: int, total: int) -> None:
        if stopped:
            raise _BrokenOffError
        loop.call_soon_threadsafe(reporter.fetching, done, total)

    fetching = asyncio.create_task(asyncio.to_thread(first_plan.fetch_all, proposal, paths, progress))
    try:
        await asyncio.shield(fetching)
    except asyncio.CancelledError:
        # The thread must end too, or the process would wait for gigabytes; what has come stays for the next time.
        stopped = True
        await asyncio.gather(fetching, return_exceptions=True)
        raise
    reporter.say(text("Fetched. Now it is started; answers that are running may finish first."))
    return True
