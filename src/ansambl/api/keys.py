"""The admin API's routes for API keys: listing, creating and revoking. A secret is told once, when it is made."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Query, Request

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.guarding import caller_of
from ansambl.api.key_schemas import (
    CallerDocument,
    CreatedKeyDocument,
    CreateKeyRequest,
    KeyDocument,
    KeysDocument,
    SignInDocument,
)
from ansambl.domain.access import Caller


class KeyControls(Protocol):
    """What the running product lets the admin API do with keys."""

    def keys(self, *, all_of_them: bool) -> KeysDocument:
        """The keys that were not revoked, or all of them."""
        ...

    def key(self, wanted: str) -> KeyDocument:
        """One that was not revoked, by its id or name.

        Raises:
            UnknownKeyError: there is none.
        """
        ...

    def caller(self, caller: Caller) -> CallerDocument:
        """Who asks, in a document."""
        ...

    def invite(self, caller: Caller) -> SignInDocument:
        """Make a secret that signs a browser in as `caller`, once."""
        ...

    async def create(self, wanted: CreateKeyRequest) -> CreatedKeyDocument:
        """Make one.

        Raises:
            UsageError: it cannot be made so.
        """
        ...

    async def revoke(self, wanted: str) -> KeyDocument:
        """Revoke one, by its id or name.

        Raises:
            UnknownKeyError: there is none that was not revoked.
        """
        ...


def add_key_routes(router: APIRouter, controls: KeyControls) -> None:
    """Add the routes."""
    base = f"{PREFIX}/keys"
    one = base + "/{key:path}"

    @router.get(f"{PREFIX}/me", tags=["Keys"], operation_id="get_caller")
    async def get_caller(request: Request) -> CallerDocument:
        """Who asks, and what it may do; any key may ask it."""
        return controls.caller(caller_of(request))

    @router.post(f"{PREFIX}/sign-ins", status_code=201, tags=["Keys"], operation_id="create_sign_in")
    async def post_sign_in(request: Request) -> SignInDocument:
        """Make a secret that signs one browser in to the console, once and soon, in the name of whoever asks."""
        return controls.invite(caller_of(request))

    @router.get(base, tags=["Keys"], operation_id="list_keys", responses=may_fail(422))
    async def get_keys(
        revoked: Annotated[bool, Query(description="Also those that were revoked.")] = False,
    ) -> KeysDocument:
        """The API keys, without their secrets."""
        return controls.keys(all_of_them=revoked)

    @router.post(
        base, status_code=201, tags=["Keys"], operation_id="create_key", responses=may_fail(400, 404, 409, 422)
    )
    async def post_key(wanted: CreateKeyRequest) -> CreatedKeyDocument:
        """Make an API key. Its secret stands in this answer and nowhere else."""
        return await controls.create(wanted)

    @router.get(one, tags=["Keys"], operation_id="get_key", responses=may_fail(404))
    async def get_key(key: str) -> KeyDocument:
        """One API key, by its id or name."""
        return controls.key(key)

    @router.delete(one, tags=["Keys"], operation_id="revoke_key", responses=may_fail(404))
    async def delete_key(key: str) -> KeyDocument:
        """Revoke an API key, by its id or name: it lets in nobody from now on, and what it is being answered ends."""
        return await controls.revoke(key)
