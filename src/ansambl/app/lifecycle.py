"""The life of a running Ansambl, from taking its port to leaving no process behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from ansambl import __version__
from ansambl.access.key_door import KeyDoor
from ansambl.access.store import KeyStore
from ansambl.app.admin.joining import AdminSide
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import is_unconfigured
from ansambl.app.controls import ProductControls
from ansambl.app.data_folder import DataLock, open_database
from ansambl.app.first_model import Welcoming, find_offer, have_embedded
from ansambl.app.front import Front, make_room_for_connections
from ansambl.app.keys.controls import ProductKeys
from ansambl.app.listening import bind, check_address
from ansambl.app.logging_warnings import logging_warnings
from ansambl.app.open_webui import OpenWebuiBeside
from ansambl.app.plan_checks import misfits
from ansambl.app.proposals import Offering, propose_once, with_installed
from ansambl.app.reloading import Reloader
from ansambl.app.roles.book import RoleBook
from ansambl.app.roles.controls import ProductRoles, Reloaded, apply
from ansambl.app.running_state import RunningState, new_token, write_state
from ansambl.app.starting import start_instances
from ansambl.app.stop_signal import StopSignal
from ansambl.app.web import App, Application, MadeWhenAsked, WebServer
from ansambl.app.wiring import Product, build
from ansambl.domain.errors import AnsamblError
from ansambl.domain.plan import Attachment
from ansambl.domain.text import Text, text
from ansambl.foundation import collector
from ansambl.foundation.clock import RealClock
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database
from ansambl.roles.store import SavedRoles
from ansambl.runtime.recovery import end_all
from ansambl.runtime.store import RuntimeStore

log = get_logger(__name__)

_SETTLES = 2.0
"""Seconds after the start when the collector looks at all that was made, which takes a tenth of a second."""


class Reporter(Welcoming, Offering, Protocol):
    """Tells the person who started Ansambl what is going on."""

    def ready(self, running: RunningState, product: Product) -> None:
        """Ansambl answers."""
        ...


async def serve(
    loaded: LoadedSettings, paths: DataPaths, reporter: Reporter, *, reread: Callable[[], LoadedSettings],
    offline: bool = False, open_webui: bool = False,
) -> None:  # fmt: skip
    """Run Ansambl until it is told to stop. The caller holds the data lock; `reread` reads the configuration again.

    `open_webui` starts Open WebUI beside it, and fetches it where it is not installed: somebody has agreed to that.

    Raises:
        AnsamblError: it cannot start; nothing is left running.
    """
    gateway = loaded.settings.gateway
    check_address(gateway.host, paths)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bind(gateway.host, gateway.port))
        database = open_database(paths)
        stack.callback(database.close)
        offered = await find_offer(loaded, reporter)
        chosen = loaded
        if offered is None:
            chosen = await asyncio.to_thread(with_installed, loaded, paths)
            await have_embedded(chosen, paths, reporter, offline=offline)
        proposing = offered is None and not offline and chosen is loaded and is_unconfigured(loaded)
        life = _Life(
            chosen, paths, database, reporter, listener, proposing=proposing, written=loaded, reread=reread,
            offline=offline, open_webui=open_webui,
        )  # fmt: skip
        with life.stop.on_signals():
            await life.run(offered)


class _Life:
    """One run, from the first product to the stop; a plan that was agreed to puts another product in its place."""

    def __init__(
        self, loaded: LoadedSettings, paths: DataPaths, database: Database, reporter: Reporter,
        listener: socket.socket, *, proposing: bool, written: LoadedSettings, reread: Callable[[], LoadedSettings],
        offline: bool, open_webui: bool,
    ) -> None:  # fmt: skip
        self._offline = offline
        self._open_webui = open_webui
        self.stop = StopSignal()
        self._loaded = loaded
        self._paths = paths
        self._database = database
        self._reporter = reporter
        self._listener = listener
        self._proposing = proposing
        self._fetched = asyncio.Event()
        self._reread = reread
        self._written = written
        self._roles: ProductRoles | None = None

    async def run(self, offered: Attachment | None) -> None:
        """Serve until it is told to stop; no engine is left."""
        token, clock, store = new_token(), RealClock(), KeyStore(self._database)
        door = KeyDoor(token, clock, store)
        front = Front(self._loaded.settings.gateway, lambda: door.has_keys)
        product = await build(self._loaded, self._paths, self._database, offered=offered, door=door, front=front)
        try:
            roles = self._with_saved_roles(product, offered)
            host, port = self._listener.getsockname()[:2]
            running = self._write_state(front, host, port, token)
            front.renewed = partial(self._write_state, front, host, port, token)
            keys = ProductKeys(product, door, store, clock, running.address)
            product.gateway.metrics.key_limits.tell = door.all_allowances
            await keys.forget_revoked()
            beside = self._beside(product, door, store, running, clock)
            controls = ProductControls(product, running, self.stop.set, beside.documents if beside else lambda _: [])
            admin = AdminSide(
                product, controls, lambda: roles.loaded, self._paths, self._database, offline=self._offline
            )  # fmt: skip
            admin_api = MadeWhenAsked(partial(admin.api, roles, door, keys))
            console = MadeWhenAsked(partial(_make_console, admin_api, door))
            application = Application(product.gateway, admin_api, console)
            server = self._server(application, front)
            await server.start()
            log.info("started", address=running.address, version=__version__)
            self._keep_knowledge(product, door)
            tasks = [
                asyncio.create_task(work)
                for work in (
                    self._begin(product, running), self._reload_when_asked(), product.usage.keep_writing(),
                    door.keep_writing(), product.gateway.metrics.loop_lag.keep_looking(),
                    *((beside.run(),) if beside else ()),
                )
            ]  # fmt: skip
            self._warn_at_start(front)
            asyncio.get_running_loop().call_later(_SETTLES, collector.settle)
            try:
                while await self._has_fetched():
                    await self._use_fetched(roles)
                    await start_instances(roles.loaded, self._reporter.warn, product)
                    self._reporter.ready(running, product)
                limit = roles.loaded.settings.gateway.drain
                self._reporter.say(text("Stopping: running answers may finish, for at most {seconds} s.",
                                        seconds=round(limit)))  # fmt: skip
                await self._drain(product, limit)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                admin.close()
                await server.stop()
                await asyncio.to_thread(admin.finish)
                self._paths.state.unlink(missing_ok=True)
                log.info("stopped")
        finally:
            await _end(product, door)

    def _beside(
        self, product: Product, door: KeyDoor, store: KeyStore, running: RunningState, clock: RealClock
    ) -> OpenWebuiBeside | None:
        """Open WebUI, where it is wanted."""
        if not (self._open_webui or self._loaded.settings.open_webui.start):
            return None
        return OpenWebuiBeside(
            self._loaded, self._paths, running.address, door=door, store=store, clock=clock, product=product,
            say=self._reporter.say, warn=self._reporter.warn, installs=self._open_webui, offline=self._offline,
        )  # fmt: skip

    def _keep_knowledge(self, product: Product, door: KeyDoor) -> None:
        loop = asyncio.get_running_loop()

        def warn(warning: Text) -> None:
            loop.call_soon_threadsafe(self._warn, (warning,))

        revoked = [one.id for one in door.all_keys() if one.revoked is not None]
        product.keeper.start(revoked, tuple(product.catalog.roles.values()), warn)

    def _write_state(self, front: Front, host: str, port: int, token: str) -> RunningState:
        certificate = front.certificate.pem if front.certificate is not None else None
        return write_state(self._paths, host, port, token, certificate)

    def _server(self, application: App, front: Front) -> WebServer:
        tls = front.certificate.context if front.certificate is not None else None
        return WebServer(application, self._listener, front.connections, front.guard, tls=tls, hsts=front.hsts)

    def _warn_at_start(self, front: Front) -> None:
        settings = self._loaded.settings.gateway
        files = make_room_for_connections(settings)
        for warning in (*front.warnings(), *logging_warnings(settings, self._paths), *((files,) if files else ())):
            self._reporter.warn(warning)

    def _with_saved_roles(self, product: Product, offered: Attachment | None) -> ProductRoles:
        """Let the product answer with what is saved, too; what is hidden is told."""
        book = RoleBook(self._loaded, SavedRoles(self._database), offered)
        apply(product, book.joined)
        self._roles = ProductRoles(product, book, self._written, self._reread, Reloader(product, offered))
        self._warn(one.warning for one in book.joined.hidden.values())
        return self._roles

    def _warn(self, warnings: Iterable[Text]) -> None:
        for one in warnings:
            log.warning("reload_warning", message=one.render())
            self._reporter.warn(one)

    async def _reload_when_asked(self) -> None:
        while True:
            await self.stop.reload.wait()
            self.stop.reload.clear()
            if self._roles is None:
                continue
            try:
                found = await self._roles.reload_file()
            except AnsamblError as error:
                log.warning("reload_refused", message=str(error))
                self._reporter.warn(error.message)
            except Exception as error:
                # Or no later signal would be heard.
                log.exception("reload_failed")
                self._reporter.warn(text("The reload failed ({reason}); nothing was changed.", reason=str(error)))
            else:
                self._warn(found.warnings)
                self._reporter.say(_told(found))

    async def _begin(self, product: Product, running: RunningState) -> None:
        await start_instances(self._loaded, self._reporter.warn, product)
        self._reporter.ready(running, product)
        async for warning in misfits(self._loaded, product.footprints):
            self._reporter.warn(warning)
        if not self._proposing:
            return
        try:
            if await propose_once(self._loaded, self._paths, self._reporter):
                self._fetched.set()
        except AnsamblError as error:
            self._reporter.warn(error.message)

    async def _has_fetched(self) -> bool:
        """Wait for the stop or for the end of a download; return whether it was the download."""
        waits = [asyncio.create_task(one.wait()) for one in (self.stop.requested, self._fetched)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        return not self.stop.requested.is_set()

    async def _use_fetched(self, roles: ProductRoles) -> None:
        """Put what was fetched into effect; running answers end on the engine that they began on."""
        self._fetched.clear()
        try:
            await roles.use(lambda loaded: with_installed(loaded, self._paths))
        except AnsamblError as error:
            self._reporter.warn(error.message)

    async def _drain(self, product: Product, limit: float) -> None:
        answering = product.gateway.answering
        answering.draining = True
        # It goes on at the next start where it was.
        product.knowledge.leave_early()
        # Whoever only watches is told that it ends.
        product.coordinator.changes.tell()
        if not await _holds(lambda: answering.running == 0, limit, self.stop.urgent):
            await answering.cut()


def _make_console(admin_api: App, door: KeyDoor) -> App:
    # Its templates and files take a tenth of a second, which no client of a model waits for.
    from ansambl.console.application import make_console

    return make_console(version=__version__, admin=admin_api, sessions=door)


async def _end(product: Product, door: KeyDoor) -> None:
    """Give everything back; no engine is left."""
    product.knowledge.leave_early()
    await product.gateway.close()
    # They ask engines, so they go first.
    await asyncio.to_thread(product.keeper.stop)
    await asyncio.to_thread(product.knowledge_jobs.close)
    await product.answering.close()
    await asyncio.to_thread(product.knowledge.close)
    await product.coordinator.stop()
    product.save()
    door.write()
    await asyncio.to_thread(product.gateway.close_logs)


def _told(found: Reloaded) -> Text:
    """One line about what a reload did."""
    models = found.models
    parts = [] if models is None else [
        part for names, part in (
            (models.added, text("new models: {models}", models=", ".join(models.added))),
            (models.changed, text("changed: {models}", models=", ".join(models.changed))),
            (models.removed, text("removed: {models}", models=", ".join(models.removed))),
        ) if names
    ]  # fmt: skip
    done = text("The configuration was read again and is in effect")
    for part in parts:
        done = text("{first}; {second}", first=done, second=part)
    return text("{sentence}.", sentence=done)


async def _holds(condition: Callable[[], bool], limit: float, hurry: asyncio.Event) -> bool:
    """Wait until `condition` holds, at most `limit` seconds or until `hurry`; return whether it holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not condition():
        if loop.time() >= end or hurry.is_set():
            return False
        await asyncio.sleep(0.02)
    return True


async def end_leftovers(paths: DataPaths) -> int:
    """End the engines that a crashed Ansambl left running; return how many. Takes the data lock.

    Raises:
        AlreadyRunningError: an Ansambl is running, and its engines are its own to end.
    """
    with DataLock(paths):
        if not paths.database.exists():
            return 0
        database: Database = open_database(paths)
        try:
            return await end_all(RuntimeStore(database), paths.logs)
        finally:
            database.close()
            paths.state.unlink(missing_ok=True)
