"""The admin API's routes for API keys: listing, creating and revoking. A secret is told once, when it is made."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail

_Words = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=1000)]


class KeyDocument(BaseModel):
    """One API key; its secret is nowhere. Times are seconds since the epoch.

    `state` is valid, expired or revoked. `names` are the roles, ensembles and models that it may use, null for all.
    `limit` and `tokens` are its limits of requests and of tokens, such as 60/min. What is left of the tightest ones is
    null where there is none, and where Ansambl does not run.
    """

    id: str
    name: str
    shown: str
    state: str
    names: list[str] | None
    endpoints: list[str]
    request_class: str
    limit: list[str]
    tokens: list[str]
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None
    requests_left: int | None = None
    tokens_left: int | None = None


class KeysDocument(BaseModel):
    """API keys in the order in which they were made."""

    keys: list[KeyDocument]


class CreatedKeyDocument(BaseModel):
    """A new key with its secret, which nobody can read again."""

    key: KeyDocument
    secret: str = Field(repr=False)


class CreateKeyRequest(BaseModel):
    """What a new key shall be. Left out: all roles and models, what models answer, interactive, no limit, no end."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=200)
    roles: _Words = []
    endpoints: _Words = []
    limit: _Words = []
    tokens: _Words = []
    request_class: str | None = Field(None, max_length=200)
    expires: str | None = Field(None, max_length=200)


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
