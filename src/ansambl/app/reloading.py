"""Another configuration for a running Ansambl: checked first, then applied, while requests go on.

Models that are as they were keep their engines and their requests. A changed one answers what it has begun, its
conversations are kept, and then another engine takes its place; a removed one is asked for no more and ends when its
answers have; a new one can be asked for at once. Whatever is wrong with the new configuration, the old one stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansambl.app.configuration.role_settings import RoleSettings
from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import attachments, conversation_budget, is_unconfigured
from ansambl.app.footprints import Footprints, rules_of
from ansambl.app.instance_making import InstanceMaker
from ansambl.app.model_details import DetailsBook, model_details
from ansambl.app.plan_checks import check_plan, misfits
from ansambl.app.starting import start_changed, start_pinned
from ansambl.app.templates import ModelTemplates, model_templates
from ansambl.app.wiring import Product, footprints_of
from ansambl.domain.errors import AnsamblError, ConfigurationError
from ansambl.domain.plan import Attachment
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.roles.records import RoleCatalog
from ansambl.runtime.attached_instance import AttachedInstance
from ansambl.runtime.deferred_instance import DeferredInstance
from ansambl.runtime.instance import Instance

log = get_logger(__name__)

_FIXED: Mapping[str, tuple[str, ...]] = {"gateway": ("host", "port", "speaks_tls", "hsts"), "data": ("folder",)}
"""Keys that a start reads once: where Ansambl listens and how it speaks there, and where its data are."""


_OPEN_WEBUI_LATER = text("The table [open_webui] has changed; that holds from the next start of Ansambl")


def needing_restart(before: Settings, after: Settings) -> tuple[str, ...]:
    """The tables of which a key differs that only a start reads."""
    return tuple(
        table for table, keys in _FIXED.items()
        if any(getattr(getattr(before, table), key) != getattr(getattr(after, table), key) for key in keys)
    )  # fmt: skip


def joined_with_plan(before: LoadedSettings, after: LoadedSettings, running: LoadedSettings) -> LoadedSettings:
    """The settings of `after` with what was planned on top of the file, where the file names no models now either.

    `before` is the file as it was when `running` was made of it.

    Raises:
        ConfigurationError: it has changes that only a start reads, so that nothing is applied.
    """
    changed = needing_restart(before.settings, after.settings)
    if changed:
        tables = ", ".join(f"[{one}]" for one in changed)
        raise ConfigurationError(
            text("A restart is needed, because {tables} changed too; nothing of the file was applied.", tables=tables)
        )
    if before.settings.models != after.settings.models:
        return after
    roles = dict(after.settings.roles)
    for name, one in running.settings.roles.items():
        was, now = before.settings.roles.get(name), roles.get(name, RoleSettings())
        if one.model is not None and (was is None or was.model is None) and now.model is None:
            roles[name] = now.model_copy(update={"model": one.model})
    return replace(
        after, settings=after.settings.model_copy(update={"models": running.settings.models, "roles": roles})
    )


@dataclass(slots=True)
class Prepared:
    """A configuration that was checked and can be applied.

    `added`, `changed` and `removed` are models; the `fresh` ones have no engine yet and are made of other settings.
    """

    loaded: LoadedSettings
    attached: Mapping[str, Attachment]
    maker: InstanceMaker
    footprints: Footprints
    templates: ModelTemplates
    details: DetailsBook
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    warnings: list[Text] = field(default_factory=list)


class Reloader:
    """Puts one configuration after another into effect. One at a time: whoever calls it sees to that.

    `offered` is a server that stands in for the embedded model as long as nothing is configured.
    """

    def __init__(self, product: Product, offered: Attachment | None = None) -> None:
        self._product = product
        self._offered = offered
        self._starting: set[asyncio.Task[None]] = set()
        self._replacing: dict[str, asyncio.Task[None]] = {}
        self._removing: set[str] = set()

    async def prepare(self, loaded: LoadedSettings) -> Prepared:
        """Check a configuration against this machine; nothing is changed.

        Raises:
            ConfigurationError, NotSupportedError: it cannot be used.
        """
        product = self._product
        offered = self._offered if is_unconfigured(loaded) else None
        maker = product.maker.renewed(loaded)
        footprints = footprints_of(maker)
        attached = {one.model: one for one in ((offered,) if offered is not None else attachments(loaded))}
        here = [] if offered is not None else maker.models()
        if offered is None:
            await check_plan(loaded, footprints)
        warnings = product.front.check(loaded.settings.gateway)
        found = Prepared(
            loaded, attached, maker, footprints,
            model_templates(loaded, maker.workshop.paths, tuple(attached.values())),
            model_details(loaded, maker.workshop.paths),
        )  # fmt: skip
        # What is on its way out is there no more, and what is being replaced is not what was asked for now.
        moving = set(self._replacing)
        running = {one.model for one in product.coordinator.statuses()} - self._removing
        for name in (*attached, *here):
            if name not in running:
                found.added.append(name)
                continue
            instance = product.coordinator.instance(name)
            same: bool | None = attached.get(name) == product.attached.get(name)
            if name in here:
                # What was attached before is another instance, whatever the settings.
                deferred = instance if isinstance(instance, DeferredInstance) else None
                same = await asyncio.to_thread(maker.is_as_made, deferred) if deferred is not None else False
            if name in moving:
                same = False
            (found.fresh if same is None else found.kept if same else found.changed).append(name)
        found.removed = [one for one in running if one not in {*attached, *here}]
        if offered is None:
            warnings += [one async for one in misfits(loaded, footprints)]
        if loaded.settings.open_webui != product.maker.loaded.settings.open_webui:
            warnings.append(_OPEN_WEBUI_LATER)
        found.warnings = warnings
        return found

    async def apply(self, prepared: Prepared, catalog: RoleCatalog) -> None:
        """Put it into effect. It returns when everything can be asked for that `catalog` names.

        Models that are in use are replaced and removed as their answers end; events tell when.
        """
        product, maker, coordinator = self._product, prepared.maker, self._product.coordinator
        settings = prepared.loaded.settings
        # What was changed or removed a moment ago may still end its answers.
        await self.settled()
        product.maker, product.footprints, product.attached = maker, prepared.footprints, prepared.attached
        product.lora_source = maker.loras.for_model
        devices = await asyncio.to_thread(lambda: prepared.footprints.devices)
        coordinator.use(rules_of(settings), devices.whole, devices.capacity)
        adapters = await asyncio.to_thread(
            lambda: [one for name in maker.models() for one in maker.loras.for_model(name)]
        )
        for name in prepared.added:
            await coordinator.replace(name, self._instance(prepared, name))
        product.catalog = replace(catalog, loras={one.name: one for one in adapters})
        product.resolver.use(product.catalog)
        product.service.use(product.catalog, settings.prompt.common_instruction)
        product.templates.use(prepared.templates, prepared.changed)
        product.details.use(prepared.details, prepared.changed)
        product.gateway.use(
            body_limit=settings.gateway.max_body, recognises_tasks=settings.tasks.recognise,
            log_requests=settings.gateway.log_requests, log_contents=settings.gateway.log_contents,
        )  # fmt: skip
        product.front.use(settings.gateway)
        product.knowledge.follow(prepared.loaded)
        product.keeper.wake()
        await product.conversations.use(conversation_budget(settings))
        for name in prepared.kept:
            maker.follow(coordinator.instance(name))
            await coordinator.renew(name)
        for name in (*prepared.fresh, *prepared.changed):
            self._begin(name, self._instance(prepared, name), quietly=name in prepared.fresh)
        for name in prepared.removed:
            self._removing.add(name)
            self._begin(name, None)
        for task in self._starting:
            task.cancel()
        # What is pinned or kept warm now does not wait for a request.
        self._start("start of models", start_pinned(prepared.loaded, _tell, product))
        log.info(
            "models_reloaded", added=prepared.added, changed=prepared.changed, removed=prepared.removed,
            kept=prepared.kept,
        )  # fmt: skip

    async def settled(self) -> None:
        """Wait until every model that was changed or removed is."""
        if self._replacing:
            await asyncio.wait(self._replacing.values())

    def _instance(self, prepared: Prepared, name: str) -> Instance:
        shop = prepared.maker.workshop
        attachment = prepared.attached.get(name)
        if attachment is not None:
            return AttachedInstance(attachment, events=shop.events, clock=shop.clock)
        return prepared.maker.deferred(name)

    def _begin(self, name: str, instance: Instance | None, *, quietly: bool = False) -> None:
        task = asyncio.create_task(self._replaced(name, instance, quietly=quietly), name=f"reload {name}")
        self._replacing[name] = task
        task.add_done_callback(lambda _: self._ended(name))

    def _ended(self, name: str) -> None:
        del self._replacing[name]
        self._removing.discard(name)

    async def _replaced(self, name: str, instance: Instance | None, *, quietly: bool) -> None:
        events = self._product.events
        try:
            await self._product.coordinator.replace(name, instance)
        except AnsamblError as failure:
            events.add(name, "failed", failure.message)
            return
        if instance is None:
            events.add(name, "removed", text("it was taken out of the configuration, and its engine has ended"))
        elif not quietly:
            events.add(name, "replaced", text("its settings changed; the next request starts its engine with them"))
        if instance is not None:
            # On its own: the next change waits until this one is settled, and not until an engine has loaded.
            self._start(f"return of {name}", start_changed(name, self._product.maker.loaded, _tell, self._product))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Have models started aside, until the next configuration."""
        task = asyncio.create_task(work, name=name)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)


def _tell(warning: Text) -> None:
    log.warning("model_not_started", message=warning.render())
