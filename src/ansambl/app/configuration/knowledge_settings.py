"""The settings of knowledge: documents and past conversations that roles read. The table ``[knowledge]``."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from ansambl.app.configuration.setting_types import (
    Duration,
    Name,
    Names,
    SettingError,
    Size,
    Table,
    Words,
    setting,
)
from ansambl.domain.text import text
from ansambl.domain.units import GIB, KIB, Bytes, Seconds
from ansambl.knowledge.passages.limits import DEFAULT as PASSAGES
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS, DEFAULT_WEB_LIMITS

AUTO, BUNDLED, NONE, MODEL = "auto", "bundled", "none", "model"
"""What stands where else a model's name does: choose, the bundled model, no model, any model that can."""

SERVERS = ("postgresql", "qdrant")
"""The indexes that are kept on a server."""

LONGEST_PASSAGE = 400
"""Tokens. With its title and headings a passage must stay below the 512 that the models of vectors read."""


class CollectionSettings(Table):
    """One collection. It may also be made by a command; what stands here is kept in step with the folders."""

    description: str = setting("", "One line about the collection, for lists and for models that choose among them.")
    folders: Words = setting((), "Folders whose files are in the collection: what changes there changes here, too.")
    include: Words = setting((), 'Files of the folders that count, such as "*.md" or "notes/**".',
                             shown_default="all that can be read")  # fmt: skip
    exclude: Words = setting((), 'Files and folders that do not count, written as in .gitignore, such as "drafts/".')


class KnowledgeSettings(Table):
    """Documents and past conversations that roles read."""

    embedder: str = setting(
        AUTO, 'The model that gives texts their vectors: "auto" (a configured model that can, else the bundled one), '
        '"bundled", "none" (search by words alone), or the name of a table under [models].', min_length=1,
    )  # fmt: skip
    rerank: str = setting(
        NONE, 'Who sorts what was found once more: "none", "model" (a configured model that can), or the name of a '
        "table under [models].", min_length=1,
    )  # fmt: skip
    index: Literal["auto", "qdrant-edge", "exact", "postgresql", "qdrant"] = setting(
        AUTO, 'What finds passages: "auto" (qdrant-edge where it is installed, else exact), "qdrant-edge", "exact" '
        '(every vector is compared), or a server: "postgresql" with pgvector, "qdrant".',
    )  # fmt: skip
    address: str | None = setting(
        None, 'Where the server of the index is, such as "postgresql://ansambl@db.example/ansambl". A password goes '
        "into `address_env`.", unit="URL",
    )  # fmt: skip
    address_env: str | None = setting(
        None, "The environment variable that holds that address, with its password or key."
    )
    passage_tokens: int = setting(
        PASSAGES.tokens, "How long a passage is at most. Others only for documents that are added from then on.",
        unit="tokens", ge=64, le=LONGEST_PASSAGE,
    )  # fmt: skip
    overlap: int = setting(PASSAGES.overlap, "How much of a passage the next one repeats.", unit="tokens", ge=0, le=200)
    roots: Words = setting(
        (), "Folders from which API keys may have files added. Your own commands add whatever you may read.",
        shown_default="none",
    )  # fmt: skip
    allow_private_addresses: bool = setting(
        False, "Whether web pages may be fetched from addresses of this machine and of private networks."
    )
    max_file: Size = setting(
        Bytes(DEFAULT_LIMITS.max_file), "The largest file that is read.", unit='bytes, or text such as "512MiB"',
        ge=KIB, le=64 * GIB,
    )  # fmt: skip
    max_upload: Size = setting(
        Bytes(GIB), "The largest file that may be sent over HTTP to be added.", unit='bytes, or text such as "1GiB"',
        ge=KIB, le=64 * GIB,
    )  # fmt: skip
    max_page: Size = setting(
        Bytes(DEFAULT_WEB_LIMITS.size), "The largest web page that is fetched.",
        unit='bytes, or text such as "32MiB"', ge=KIB, le=GIB,
    )  # fmt: skip
    page_timeout: Duration = setting(
        Seconds(DEFAULT_WEB_LIMITS.seconds), "How long a web page may take to come.",
        unit='seconds, or text such as "30s"', ge=1, le=3600,
    )  # fmt: skip
    watch_interval: Duration = setting(
        Seconds(900.0), "How often the folders of collections are compared with what is known, beside the notices of "
        "the system.", unit='seconds, or text such as "15m"', ge=1,
    )  # fmt: skip
    memory: bool = setting(False, "Whether new conversations are remembered. Each API key finds its own ones alone.")
    memory_roles: Names | None = setting(
        None, "The roles whose conversations are remembered.", shown_default="all roles"
    )
    memory_keys: Names | None = setting(
        None, "The API keys, by name or id, whose conversations are remembered.", shown_default="all keys"
    )
    memory_collection: Name = setting("memory", "The collection that new conversations go into.")
    collections: dict[Name, CollectionSettings] = setting({}, "The collections, by name.")

    @field_validator("address")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https", "postgresql", "postgres"} and (parts.port or 1) > 0
            secret = parts.password is not None
        except ValueError:
            usable = secret = False
        if not usable:
            raise SettingError(text("'{value}' is not an address; write for example {example}", value=value,
                                    example='"http://127.0.0.1:6333"'))  # fmt: skip
        if secret:
            raise SettingError(text("an address with a password goes into a variable; name that in 'address_env'"))
        return value

    @field_validator("collections")
    @classmethod
    def _check_collections(cls, value: dict[str, CollectionSettings]) -> dict[str, CollectionSettings]:
        for name in value:
            if "/" in name:
                raise SettingError(text("a collection's name cannot hold '/'"), name)
        return value

    @model_validator(mode="after")
    def _check_whole(self) -> KnowledgeSettings:
        if self.address is not None and self.address_env is not None:
            raise SettingError(text("stands beside 'address'; keep one of them"), "address_env")
        named = "address" if self.address is not None else "address_env" if self.address_env is not None else None
        if self.index in SERVERS and named is None:
            raise SettingError(text("'{index}' is a server; say where it is in 'address' or 'address_env'",
                                    index=self.index), "index")  # fmt: skip
        if self.index not in SERVERS and named is not None:
            raise SettingError(text("only goes with an index on a server; set 'index' to one, or remove it"), named)
        if self.overlap * 2 > self.passage_tokens:
            raise SettingError(text("may be at most half of 'passage_tokens' ({most})", most=self.passage_tokens // 2),
                               "overlap")  # fmt: skip
        return self
