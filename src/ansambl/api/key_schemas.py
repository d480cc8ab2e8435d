"""The JSON of the admin API's routes for keys, apart from them: who only makes it needs no web framework."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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


class CallerDocument(BaseModel):
    """Who asks. `key` and `name` are those of its API key, null for the owner of this machine.

    `endpoints` are what it may do; `names` are the roles, ensembles and models that it may use, null for all.
    `has_keys` tells whether requests need a key at all.
    """

    key: str | None
    name: str | None
    endpoints: list[str]
    names: list[str] | None
    has_keys: bool


class SignInDocument(BaseModel):
    """A secret that signs one browser in, once, in the name of whoever asked for it.

    `address` is the console's with the secret behind its #, which browsers keep to themselves. `expires` is in seconds
    since the epoch.
    """

    secret: str = Field(repr=False)
    address: str = Field(repr=False)
    expires: float


class CreateKeyRequest(BaseModel):
    """What a new key shall be. Left out: all roles and models, what models answer, interactive, no limit, no end.

    A list of roles or endpoints with nothing in it is refused: it could mean all or none, and would mean all.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=200)
    roles: Annotated[_Words, Field(min_length=1)] | None = None
    endpoints: Annotated[_Words, Field(min_length=1)] | None = None
    limit: _Words = []
    tokens: _Words = []
    request_class: str | None = Field(None, max_length=200)
    expires: str | None = Field(None, max_length=200)
