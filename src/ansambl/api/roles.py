"""The admin API's routes for roles and ensembles: reading, changing, versions, export and import."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request

from ansambl.api import PREFIX
from ansambl.api.errors import NotHereError, may_fail
from ansambl.api.guarding import caller_of
from ansambl.api.schemas import (
    EntriesDocument,
    EntryDocument,
    ExportRequest,
    ImportedDocument,
    ImportRequest,
    ReloadedDocument,
    RenameRequest,
    RestoreRequest,
    SaveRequest,
    SetDocument,
    TrialDocument,
    TrialRequest,
    VersionsDocument,
)
from ansambl.domain.access import Caller
from ansambl.domain.text import text
from ansambl.roles.catalog import Kind

LARGEST_BODY = 1_000_000
"""Bytes of a body; a configuration file may not be larger either."""

_LONGEST_TOLD = 200

Translate = Callable[[str], str]


class RoleControls(Protocol):
    """What the running product lets the admin API do with roles and ensembles.

    Every change is checked against everything first; then it is in effect at once, for the next request.
    """

    async def entries(self, kind: Kind, translate: Translate) -> EntriesDocument:
        """All roles or all ensembles."""
        ...

    async def entry(self, kind: Kind, name: str, translate: Translate) -> EntryDocument:
        """One of them.

        Raises:
            UnknownNameError: there is none of this name.
        """
        ...

    async def save(self, kind: Kind, name: str, fields: dict[str, Any], base: int | None) -> None:
        """Keep one.

        Raises:
            UsageError: it cannot be used, stands in the file, or was changed in the meantime.
        """
        ...

    async def remove(self, kind: Kind, name: str, base: int | None) -> None:
        """Take one that was saved out of use."""
        ...

    async def rename(self, kind: Kind, name: str, new_name: str, base: int | None) -> None:
        """Give one that was saved another name."""
        ...

    async def restore(self, kind: Kind, name: str, version: int, base: int | None) -> None:
        """Put an earlier version into effect again."""
        ...

    async def versions(self, kind: Kind, name: str) -> VersionsDocument:
        """Every version of one that was saved."""
        ...

    async def try_out(self, kind: Kind, name: str, wanted: TrialRequest, caller: Caller) -> TrialDocument:
        """Let `caller` ask for a version that is not in effect, for some minutes; nothing is saved.

        Raises:
            UsageError: it cannot be used, or stands in the file.
        """
        ...

    async def export(self, names: list[str] | None) -> SetDocument:
        """What is saved and in the file, or what is named."""
        ...

    async def import_set(self, document: dict[str, Any], *, dry_run: bool) -> ImportedDocument:
        """Save a whole set, or nothing."""
        ...

    async def reload(self, translate: Translate) -> ReloadedDocument:
        """Read the configuration file again.

        Raises:
            ConfigurationError: it cannot be used, or more than roles changed; nothing is applied.
        """
        ...


Speak = Callable[[Request], Translate]
KINDS: tuple[Kind, ...] = ("roles", "ensembles")
BaseVersion = Annotated[int | None, Query(ge=0)]


def add_role_routes(router: APIRouter, controls: RoleControls, language: Speak) -> None:
    """Add the routes of both tables, and the reload. The router asks for the token."""
    for kind in KINDS:
        # First, or a name would seem to end with it.
        _add_trials(router, controls, kind)
        _add_table(router, controls, language, kind)

    @router.post(f"{PREFIX}/reload", tags=["Configuration"], operation_id="reload", responses=may_fail(400, 501, 503))
    async def post_reload(request: Request) -> ReloadedDocument:
        """Read the configuration file again, and apply it as a whole; what needs a restart is told."""
        return await controls.reload(language(request))


def _not_below(kind: Kind, below: str) -> Callable[[str], Awaitable[None]]:
    """What answers where something is to be kept that would be named like a path below a role."""

    async def not_here(name: str) -> None:
        raise NotHereError(
            text("Nothing can be kept as '{name}': a name cannot hold '/'. What {path} can do says the header Allow.",
                 name=f"{name}/{below}"[:_LONGEST_TOLD], path=f"{PREFIX}/{kind}/{name}/{below}"[:_LONGEST_TOLD])
        )  # fmt: skip

    return not_here


def _add_table(router: APIRouter, controls: RoleControls, language: Speak, kind: Kind) -> None:
    base = f"{PREFIX}/{kind}"
    # With slashes and empty too: what checks names says what is wrong with one.
    one = base + "/{name:path}"

    async def get_all(request: Request) -> EntriesDocument:
        """All of them, with where each key comes from."""
        return await controls.entries(kind, language(request))

    async def get_one(name: str, request: Request) -> EntryDocument:
        """One of them, with where each key comes from."""
        return await controls.entry(kind, name, language(request))

    async def put_one(name: str, wanted: SaveRequest, request: Request) -> EntryDocument:
        """Save it as a new version; it is in effect from the next request on."""
        await controls.save(kind, name, wanted.fields, wanted.base_version)
        return await controls.entry(kind, name, language(request))

    async def delete_one(name: str, base_version: BaseVersion = None) -> dict[str, bool]:
        """Take what was saved out of use. Its versions stay and can be restored."""
        await controls.remove(kind, name, base_version)
        return {"removed": True}

    async def get_versions(name: str) -> VersionsDocument:
        """Every version that was saved, also of what was removed."""
        return await controls.versions(kind, name)

    async def post_restore(name: str, wanted: RestoreRequest, request: Request) -> EntryDocument:
        """Put an earlier version into effect again, as a new version."""
        await controls.restore(kind, name, wanted.version, wanted.base_version)
        return await controls.entry(kind, name, language(request))

    async def post_rename(name: str, wanted: RenameRequest, request: Request) -> EntryDocument:
        """Give what was saved another name."""
        await controls.rename(kind, name, wanted.name, wanted.base_version)
        return await controls.entry(kind, wanted.name, language(request))

    async def post_export(wanted: ExportRequest) -> SetDocument:
        """Roles and ensembles as the tables of a configuration file."""
        return await controls.export(wanted.names)

    async def post_import(wanted: ImportRequest) -> ImportedDocument:
        """Save a set of roles and ensembles: all of it, or nothing."""
        return await controls.import_set(wanted.document, dry_run=wanted.dry_run)

    routes: list[tuple[str, str, Callable[..., Awaitable[Any]], tuple[int, ...]]] = [
        ("GET", base, get_all, ()), ("POST", f"{base}/export", post_export, (400, 404)),
        ("POST", f"{base}/import", post_import, (400,)), ("GET", f"{one}/versions", get_versions, (404,)),
        ("POST", f"{one}/restore", post_restore, (400, 404, 409)),
        ("POST", f"{one}/rename", post_rename, (400, 404, 409)),
        ("GET", one, get_one, (404,)),
        ("PUT", one, put_one, (400, 404, 409)), ("DELETE", one, delete_one, (400, 404, 409, 422)),
    ]  # fmt: skip
    for below in ("versions", "restore", "rename", "trials"):
        # Or a role's name would seem to end with it.
        router.add_api_route(
            f"{one}/{below}", _not_below(kind, below), methods=["PUT", "DELETE", "PATCH"], include_in_schema=False,
            name=f"{kind}_{below}_otherwise",
        )  # fmt: skip
    for method, path, endpoint, failures in routes:
        name = f"{kind}_{endpoint.__name__}"
        router.add_api_route(
            path, endpoint, methods=[method], name=name, operation_id=name, tags=[kind.capitalize()],
            responses=may_fail(*failures),
        )  # fmt: skip


def _add_trials(router: APIRouter, controls: RoleControls, kind: Kind) -> None:
    async def post_trials(name: str, wanted: TrialRequest, request: Request) -> TrialDocument:
        """Try a draft or an earlier version: chat requests of the same key may ask for it for some minutes.

        It is checked as a save is, and nothing is saved. Its name stands in no list, and no other key may use it.
        """
        return await controls.try_out(kind, name, wanted, caller_of(request))

    router.add_api_route(
        f"{PREFIX}/{kind}/{{name:path}}/trials", post_trials, methods=["POST"], name=f"{kind}_post_trials",
        operation_id=f"{kind}_post_trials", tags=[kind.capitalize()], responses=may_fail(400, 404, 409),
    )  # fmt: skip
