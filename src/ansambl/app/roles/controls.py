"""What the admin API does with the roles of a running Ansambl: changes that are in effect at once, and the reload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ansambl.api.schemas import (
    EntriesDocument,
    EntryDocument,
    ImportedDocument,
    ReloadedDocument,
    SetDocument,
    TrialDocument,
    TrialRequest,
    VersionsDocument,
)
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.reloading import Prepared, Reloader, joined_with_plan
from ansambl.app.roles.book import Joined, RoleBook
from ansambl.app.roles.desk import RoleDesk
from ansambl.app.wiring import Product
from ansambl.domain.access import Caller
from ansambl.domain.text import Text
from ansambl.foundation.logging import get_logger
from ansambl.roles.catalog import Kind
from ansambl.roles.resolver import Resolver

log = get_logger(__name__)

Translate = Callable[[str], str]
_Result = TypeVar("_Result")


def apply(product: Product, joined: Joined, common_instruction: str | None = None) -> None:
    """Answer with another catalog from the next request on; those that run go on with theirs."""
    # LoRA adapters are no part of the configuration; they stay those that are in use.
    product.catalog = replace(joined.catalog, loras=product.catalog.loras)
    product.resolver.use(product.catalog)
    product.service.use(product.catalog, common_instruction)


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A configuration that was applied: what its owner should know, and which models it concerned."""

    warnings: list[Text]
    models: Prepared | None


class ProductRoles:
    """Implements `ansambl.api.roles.RoleControls` on a product.

    `reread` reads the configuration file again, as the start did; `written` is what it read then, before anything was
    planned on top of it. `reloader` applies what is more than roles; without one only they are.
    """

    def __init__(
        self, product: Product, book: RoleBook, written: LoadedSettings, reread: Callable[[], LoadedSettings],
        reloader: Reloader | None = None,
    ) -> None:  # fmt: skip
        self._product = product
        self._book = book
        self._desk = RoleDesk(book, product.service.templates)
        self.written = written
        self._reread = reread
        self._reloader = reloader
        self._lock = asyncio.Lock()

    @property
    def loaded(self) -> LoadedSettings:
        """The settings in effect."""
        return self._book.loaded

    async def entries(self, kind: Kind, translate: Translate) -> EntriesDocument:
        """All roles or all ensembles."""
        return await asyncio.to_thread(self._desk.entries, kind, translate)

    async def entry(self, kind: Kind, name: str, translate: Translate) -> EntryDocument:
        """One of them."""
        return await asyncio.to_thread(self._desk.entry, kind, name, translate)

    async def versions(self, kind: Kind, name: str) -> VersionsDocument:
        """Every version of one that was saved."""
        return await asyncio.to_thread(self._desk.versions, kind, name)

    async def export(self, names: list[str] | None) -> SetDocument:
        """What is saved and in the file, or what is named."""
        return await asyncio.to_thread(self._desk.export, names)

    async def save(self, kind: Kind, name: str, fields: dict[str, Any], base: int | None) -> None:
        """Keep one."""
        await self._change(lambda: self._desk.save(kind, name, fields, base))

    async def remove(self, kind: Kind, name: str, base: int | None) -> None:
        """Take one that was saved out of use."""
        await self._change(lambda: self._desk.remove(kind, name, base))

    async def rename(self, kind: Kind, name: str, new_name: str, base: int | None) -> None:
        """Give one that was saved another name."""
        await self._change(lambda: self._desk.rename(kind, name, new_name, base))

    async def restore(self, kind: Kind, name: str, version: int, base: int | None) -> None:
        """Put an earlier version into effect again."""
        await self._change(lambda: self._desk.restore(kind, name, version, base))

    async def try_out(self, kind: Kind, name: str, wanted: TrialRequest, caller: Caller) -> TrialDocument:
        """Let `caller` ask for a version that is not in effect."""
        catalog = await asyncio.to_thread(self._desk.tried, kind, name, wanted.fields, wanted.version)
        catalog = replace(catalog, loras=self._product.catalog.loras)
        made = self._product.trials.add(Resolver(catalog).resolve(name), catalog, caller.key)
        return TrialDocument(model=made.name, shown=made.shown, ends=made.ends)

    async def import_set(self, document: dict[str, Any], *, dry_run: bool) -> ImportedDocument:
        """Save a whole set, or nothing."""
        found: list[ImportedDocument] = []
        await self._change(lambda: found.append(self._desk.import_set(document, dry_run=dry_run)))
        return found[0]

    async def reload(self, translate: Translate) -> ReloadedDocument:
        """Read the configuration file again."""
        found = await self.reload_file()
        catalog, models = self._product.catalog, found.models
        return ReloadedDocument(
            roles=list(catalog.roles), ensembles=list(catalog.ensembles),
            warnings=[one.render(translate) for one in found.warnings], models=list(catalog.models),
            added=models.added if models else [], changed=models.changed if models else [],
            removed=models.removed if models else [],
        )  # fmt: skip

    async def reload_file(self) -> Reloaded:
        """Read the configuration file again, and apply it as a whole.

        Raises:
            ConfigurationError, NotSupportedError: it cannot be used, or has changes that only a start reads; nothing
                is applied.
        """
        # As a change: the book must not hold what nobody answers with.
        return await asyncio.shield(self._alone(self._reloaded))

    async def use(self, make: Callable[[LoadedSettings], LoadedSettings]) -> Reloaded:
        """Put what `make` makes of the settings in effect in their place; it is called in a thread.

        Raises:
            ConfigurationError, NotSupportedError: it cannot be used; nothing is applied.
        """

        async def used() -> Reloaded:
            return await self._used(await asyncio.to_thread(make, self._book.loaded))

        return await asyncio.shield(self._alone(used))

    async def _reloaded(self) -> Reloaded:
        written = await asyncio.to_thread(self._reread)
        found = await self._used(joined_with_plan(self.written, written, self._book.loaded))
        self.written = written
        return found

    async def _used(self, loaded: LoadedSettings) -> Reloaded:
        models = await self._reloader.prepare(loaded) if self._reloader is not None else None
        joined = await asyncio.to_thread(self._book.reloaded, loaded)
        if self._reloader is not None and models is not None:
            await self._reloader.apply(models, joined.catalog)
        else:
            apply(self._product, joined, loaded.settings.prompt.common_instruction)
        log.info("reloaded", roles=len(joined.catalog.roles), hidden=len(joined.hidden))
        hidden = [one.warning for one in joined.hidden.values()]
        return Reloaded([*hidden, *(models.warnings if models else ())], models)

    async def _change(self, work: Callable[[], None]) -> None:
        # Once begun it is finished and applied, also when the client has gone: the database has it then.
        await asyncio.shield(self._alone(lambda: self._changed(work)))

    async def _alone(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do `work` when nothing else of the kind is being done; nor does it begin while `work` goes on unwatched."""
        async with self._lock:
            return await work()

    async def _changed(self, work: Callable[[], None]) -> None:
        await asyncio.to_thread(work)
        apply(self._product, self._book.joined)
