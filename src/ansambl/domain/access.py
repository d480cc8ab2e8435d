"""Who asks, and what they may ask for. Pure records: `ansambl.access` keeps the keys, the faces ask for permission."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import EVERYBODY
from ansambl.domain.scheduling import LOCAL_KEY, RequestClass
from ansambl.domain.text import text


class Endpoint(StrEnum):
    """What a key may be allowed to do, by the part of the address where it is asked for.

    ``chat`` is the chat in every dialect, the counting of its tokens included; ``knowledge`` searches and reads
    documents without a model; ``admin:read`` reads the state of Ansambl, ``admin`` changes it and reads all of it.
    """

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    AUDIO = "audio"
    IMAGES = "images"
    KNOWLEDGE = "knowledge"
    METRICS = "metrics"
    ADMIN_READ = "admin:read"
    ADMIN = "admin"


ANSWERING = frozenset(
    {Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS, Endpoint.RERANK, Endpoint.AUDIO, Endpoint.IMAGES}
)
"""What models answer: what a key may do where nothing else was said."""

COUNTED = ANSWERING | {Endpoint.KNOWLEDGE}
"""What counts against a key's limit of requests."""

EVERYTHING = frozenset(Endpoint)


class UnauthorizedError(AnsamblError):
    """No key was given, or none that lets in; `key` is the id of one that is known all the same."""

    key: str | None = None

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class ForbiddenError(AnsamblError):
    """The key, of which `key` is the id, is known and may not do this."""

    key: str | None = None

    status = 403
    type = "permission_error"
    code = "not_allowed"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without a field it is the owner of this machine, who may do everything.

    `key` is the id of the API key, by which all that is remembered is kept apart; it is no secret. `default_class` is
    how urgent its requests are where they do not say it themselves. `names` are the roles, ensembles and models that it
    may use, by their own names; None for all. `endpoints` are what it may do.
    """

    key: str = LOCAL_KEY
    default_class: RequestClass = RequestClass.INTERACTIVE
    names: frozenset[str] | None = None
    endpoints: frozenset[Endpoint] = EVERYTHING

    def may(self, endpoint: Endpoint) -> bool:
        """Whether it may do this; who may change all may read it."""
        return endpoint in self.endpoints or (
            endpoint is Endpoint.ADMIN_READ and Endpoint.ADMIN in self.endpoints
        )  # fmt: skip

    def may_use(self, name: str) -> bool:
        """Whether it may use a role, ensemble, model or LoRA adapter, by its own name (no alias)."""
        return self.names is None or name in self.names

    @property
    def document_owners(self) -> tuple[str, ...]:
        """Whose documents it finds (`Filters.owners`): those of everybody, and what is remembered for itself."""
        return (EVERYBODY, self.key)

    def require(self, endpoint: Endpoint) -> None:
        """Refuse what it may not do.

        Raises:
            ForbiddenError: it may not.
        """
        if not self.may(endpoint):
            raise self._forbidden(
                ForbiddenError(
                    text("This API key may not use '{endpoint}'; the owner of this Ansambl can create one that may.",
                         endpoint=endpoint.value)
                )
            )  # fmt: skip

    def require_name(self, name: str) -> None:
        """Refuse a role, ensemble or model that it may not use.

        Raises:
            ForbiddenError: it may not.
        """
        if not self.may_use(name):
            raise self._forbidden(
                ForbiddenError(
                    text("This API key may not use '{name}'; GET /v1/models lists what it may use.", name=name),
                    param="model",
                )
            )

    def _forbidden(self, error: ForbiddenError) -> ForbiddenError:
        error.key = self.key
        return error


OWNER = Caller()
"""The owner of this machine: every program on it as long as no key exists, and Ansambl's own commands."""
