"""What the admin API does with the keys of a running Ansambl: they let in, and let in no more, at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import find_key
from ansambl.access.sessions import INVITED
from ansambl.access.store import KeyStore
from ansambl.api.key_schemas import (
    CallerDocument,
    CreatedKeyDocument,
    CreateKeyRequest,
    KeyDocument,
    KeysDocument,
    SignInDocument,
)
from ansambl.app.keys.desk import KeyDesk, key_document
from ansambl.app.wiring import Product
from ansambl.domain.access import Caller
from ansambl.domain.errors import AnsamblError
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger

log = get_logger(__name__)


class ProductKeys:
    """Implements `ansambl.api.keys.KeyControls` on a product and its door."""

    def __init__(self, product: Product, door: KeyDoor, store: KeyStore, clock: Clock, address: str = "") -> None:
        self._address = address
        self._product = product
        self._door = door
        self._clock = clock
        self._desk = KeyDesk(store, self._own_name, clock)
        self._lock = asyncio.Lock()

    def keys(self, *, all_of_them: bool) -> KeysDocument:
        """The keys, from memory."""
        now = self._clock.now()
        found = [one for one in self._door.all_keys() if all_of_them or one.revoked is None]
        return KeysDocument(keys=[key_document(one, now, self._door.allowances(one.id)) for one in found])

    def key(self, wanted: str) -> KeyDocument:
        """One of them."""
        found = find_key(self._door.all_keys(), wanted)
        return key_document(found, self._clock.now(), self._door.allowances(found.id))

    def caller(self, caller: Caller) -> CallerDocument:
        """Who asks."""
        found = next((one for one in self._door.all_keys() if one.id == caller.key), None)
        return CallerDocument(
            key=None if caller.key == LOCAL_KEY else caller.key, name=None if found is None else found.name,
            endpoints=sorted(one.value for one in caller.endpoints),
            names=None if caller.names is None else sorted(caller.names), has_keys=self._door.has_keys,
        )  # fmt: skip

    def invite(self, caller: Caller) -> SignInDocument:
        """A secret for one browser."""
        secret = self._door.invite(caller)
        return SignInDocument(
            secret=secret, address=f"{self._address}/#enter={secret}", expires=self._clock.now() + INVITED
        )

    async def create(self, wanted: CreateKeyRequest) -> CreatedKeyDocument:
        """Make one."""
        # Once begun it is finished, also when the client has gone: the database has it then.
        return await asyncio.shield(self._create(wanted))

    async def revoke(self, wanted: str) -> KeyDocument:
        """Revoke one."""
        return await asyncio.shield(self._revoke(wanted, asyncio.current_task()))

    async def _create(self, wanted: CreateKeyRequest) -> CreatedKeyDocument:
        async with self._lock:
            key, secret = await asyncio.to_thread(self._desk.create, wanted)
            self._door.add(key)
        log.info("key_created", key_id=key.id, called=key.name)
        return CreatedKeyDocument(key=key_document(key, key.created), secret=secret)

    async def _revoke(self, wanted: str, asking: asyncio.Task[Any] | None) -> KeyDocument:
        async with self._lock:
            key = await asyncio.to_thread(self._desk.revoke, wanted)
            now = self._clock.now()
            await self._door.revoke(key.id, now, spared=asking)
        log.info("key_revoked", key_id=key.id, called=key.name)
        # After its answers have ended: they would bring what is forgotten here.
        await self._forget(key.id)
        if self._product.knowledge.exists:
            try:
                await asyncio.to_thread(self._product.knowledge.forget, key.id)
            except AnsamblError as error:
                # The next start forgets it, too.
                log.warning("knowledge_not_forgotten", key_id=key.id, reason=str(error))
        return key_document(replace(key, revoked=now), now)

    async def forget_revoked(self) -> None:
        """Forget what is remembered of keys that were revoked while no Ansambl ran; `KnowledgeKeeper` does the rest."""
        for key in self._door.all_keys():
            if key.revoked is not None:
                await self._forget(key.id)

    async def _forget(self, key: str) -> None:
        self._product.service.forget_key(key)
        self._product.answering.memory.forget(key)
        await self._product.conversations.forget_key(key)

    def _own_name(self, written: str) -> str:
        return self._product.resolver.resolve(written).name
