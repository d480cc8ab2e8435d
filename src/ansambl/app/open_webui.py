"""Open WebUI beside a running Ansambl: its key, its environment, its installation, and how it stands in documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret, shown_of
from ansambl.access.store import KeyStore
from ansambl.api.schemas import CompanionDocument
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.wiring import Product
from ansambl.companions.open_webui import installing
from ansambl.companions.open_webui.environment import environment_of
from ansambl.companions.open_webui.keeping import Places, Secrets, keep_secrets
from ansambl.companions.open_webui.records import NAME, TITLE, Connection, State, Wanted
from ansambl.companions.open_webui.watching import Watched, launch_spec
from ansambl.domain.access import ANSWERING
from ansambl.domain.engine import LaunchSpec
from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.text import Text, text
from ansambl.engines.install.folders import make_private
from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import DataPaths
from ansambl.runtime.launcher import LocalLauncher

log = get_logger(__name__)

LOG = f"{NAME}.log"
_LOOK = 1.0
"""Seconds between two looks whether there are keys now, so that Open WebUI needs one."""

LOCKED_OUT = text("Open WebUI's API key was revoked or has expired, so Ansambl answers it no more; the next start with "
                  "--open-webui makes another")  # fmt: skip
NOT_INSTALLED = text("Open WebUI is not installed; install it once with: ansambl open-webui install")


class OpenWebuiBeside:
    """Has Open WebUI running while Ansambl runs. Nothing of ours waits for it.

    Args:
        loaded: the configuration.
        paths: the data folder.
        address: where Ansambl answers, without a final slash.
        door: lets it in; `store` keeps its key.
        product: told of what happens.
        say: told what people should know; `warn` what went wrong.
        installs: whether it may be fetched where it is not installed: somebody has agreed.
        offline: whether nothing may be fetched.
    """

    def __init__(
        self, loaded: LoadedSettings, paths: DataPaths, address: str, *, door: KeyDoor, store: KeyStore, clock: Clock,
        product: Product, say: Callable[[Text], None], warn: Callable[[Text], None], installs: bool, offline: bool,
    ) -> None:  # fmt: skip
        self.wanted: Wanted = loaded.settings.open_webui.wanted()
        self._places = Places(paths.companions)
        self._address = address
        self._door, self._store, self._clock = door, store, clock
        self._product = product
        self._say, self._warn = say, warn
        self._installs, self._offline = installs, offline
        self._secrets: Secrets | None = None
        self._locked_out = False
        self._watched = Watched(self.wanted, self._spec, LocalLauncher(), paths.logs / LOG, self._tell, clock=clock)

    async def run(self) -> None:
        """Install it where that was agreed to, start it, and have it running until this is cancelled."""
        try:
            self._check_names()
            self._check_port()
            if not await self._have_it():
                return
            self._secrets = await asyncio.to_thread(self._keep_secrets)
            await asyncio.to_thread(make_private, self._places.data(signs_in=self.wanted.signs_in))
            keeping = asyncio.create_task(self._keep_key(self._secrets.key))
            try:
                await self._watched.run()
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
        except AnsamblError as error:
            self._watched.fail(error.message)
        except OSError as failure:
            self._watched.fail(
                text("{path}: {reason}", path=str(failure.filename or "-"), reason=failure.strerror or str(failure))
            )

    def documents(self, translate: Callable[[str], str]) -> list[CompanionDocument]:
        """How it stands, for the admin API."""
        status = self._watched.status
        message = status.message
        if message is None and self._locked_out and status.state is State.READY:
            message = LOCKED_OUT
        return [
            CompanionDocument(
                name=NAME, title=TITLE, state=status.state.value, address=status.address, version=status.version,
                build=status.build, pid=status.pid, restarts=status.restarts, sign_in=self.wanted.signs_in,
                message=None if message is None else message.render(translate),
            )
        ]  # fmt: skip

    def _tell(self, kind: str, message: Text) -> None:
        self._product.events.add(NAME, kind, message)
        (self._say if kind == "ready" else self._warn)(message)

    def _check_names(self) -> None:
        for name in {self.wanted.task_model, self.wanted.default_model, self.wanted.embedding_model} - {None, ""}:
            try:
                self._product.resolver.resolve(name or "")
            except AnsamblError as error:
                self._warn(text("open_webui: {reason}", reason=error.message))

    def _check_port(self) -> None:
        """See that it is not to listen where Ansambl does, before anything is fetched for it.

        Raises:
            UsageError: it is.
        """
        if urlsplit(self._address).port == self.wanted.port:
            raise UsageError(
                text("its port {port} is Ansambl's own; set another port under [open_webui], or give Ansambl another "
                     "with --port", port=self.wanted.port)
            )  # fmt: skip

    async def _have_it(self) -> bool:
        """Whether its program is there by now."""
        programs, build = self._places.programs, self.wanted.build
        if await self._is_installed():
            return True
        if await asyncio.to_thread(installing.is_being_installed, programs):
            # Another terminal, or the leftover of an Ansambl that was killed, which ends by itself.
            self._watched.show(State.INSTALLING, text("another Ansambl installs or removes it at this moment"))
            while await asyncio.to_thread(installing.is_being_installed, programs):
                await self._clock.sleep(_LOOK)
            if await self._is_installed():
                return True
        if not self._installs or self._offline:
            self._watched.fail(NOT_INSTALLED)
            return False
        self._say(
            text("Open WebUI is being installed meanwhile; Ansambl answers already. How far it is: ansambl status")
        )
        self._watched.show(State.INSTALLING)
        try:
            await installing.install_in_child(
                programs, build, lambda message: self._watched.show(State.INSTALLING, message)
            )  # fmt: skip
        except asyncio.CancelledError:
            self._say(text("The installation of Open WebUI was broken off; what has come stays, and the same command "
                           "goes on from there."))  # fmt: skip
            raise
        self._say(text("Open WebUI is installed and is being started."))
        return True

    async def _is_installed(self) -> bool:
        program = await asyncio.to_thread(installing.installed_program, self._places.programs, self.wanted.build)
        return program is not None

    def _spec(self) -> LaunchSpec:
        program = installing.installed_program(self._places.programs, self.wanted.build)
        if program is None or self._secrets is None:
            raise AnsamblError(NOT_INSTALLED)
        data = self._places.data(signs_in=self.wanted.signs_in)
        connection = Connection(self._address, self._secrets.key, self._offline)
        environment = environment_of(self.wanted, connection, data, self._secrets.session)
        return launch_spec(program, self.wanted, environment, data)

    def _keep_secrets(self) -> Secrets:
        found = keep_secrets(self._places, new_secret())
        now, digest = self._clock.now(), digest_of(found.key)
        if any(one.digest == digest and not one.usable(now) for one in self._door.all_keys()):
            # It was revoked, and yet Open WebUI is wanted again.
            found = keep_secrets(self._places, new_secret(), renew=True)
        return found

    async def _keep_key(self, secret: str) -> None:
        """Have a key for it as soon as there are others: while there are none, none is asked for.

        Revoked while it runs, it is not made anew: somebody does not want it to ask.
        """
        digest = digest_of(secret)
        while True:
            known = next((one for one in self._door.all_keys() if one.digest == digest), None)
            if known is None and self._door.has_keys:
                try:
                    key = self._own_key(secret)
                    await asyncio.to_thread(self._store.add, key)
                    self._door.add(key)
                    log.info("key_created", key_id=key.id, called=key.name)
                except AnsamblError as error:
                    log.warning("key_not_created", reason=str(error))
            elif known is not None and not self._locked_out and not known.usable(self._clock.now()):
                self._locked_out = True
                self._tell("locked_out", LOCKED_OUT)
            await self._clock.sleep(_LOOK)

    def _own_key(self, secret: str) -> ApiKey:
        key, taken = new_id(), {one.name for one in self._door.all_keys() if one.revoked is None}
        name = NAME if NAME not in taken else f"{NAME}-{key}"
        return ApiKey(
            key, name, digest_of(secret), shown_of(secret), endpoints=ANSWERING, created=self._clock.now()
        )  # fmt: skip
