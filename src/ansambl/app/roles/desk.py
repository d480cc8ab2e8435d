"""What can be asked about roles and ensembles and done to them, in the documents of the admin API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansambl.api.schemas import (
    EntriesDocument,
    EntryDocument,
    ImportedDocument,
    PrefixGroupDocument,
    SetDocument,
    TakenOutDocument,
    VersionDocument,
    VersionsDocument,
)
from ansambl.app.catalog import configured_tables, in_file
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_lines import KeyPath, written_path
from ansambl.app.roles.book import ReadOnlyError, RoleBook, read_only
from ansambl.app.roles.written import KINDS, check_tables
from ansambl.domain.chat_template import TemplateFacts
from ansambl.domain.errors import ConfigurationError, RequestError, UnknownNameError
from ansambl.domain.names import nearest_names
from ansambl.domain.role import Ensemble, Role
from ansambl.domain.text import text
from ansambl.roles.catalog import CONFIGURATION, SAVED, SHIPPED, Kind, Tables, effective_fields, shipped
from ansambl.roles.field_checks import written
from ansambl.roles.prefix_groups import PrefixGroup, group_roles
from ansambl.roles.records import RoleCatalog
from ansambl.roles.store import Action, Remove, Rename, Save, UnknownSavedError

Translate = Callable[[str], str]


class RoleDesk:
    """Answers about the roles of one book, and changes them. Calls block.

    `templates` tells what the chat template of a model does, as far as it is known.
    """

    def __init__(self, book: RoleBook, templates: Callable[[str], TemplateFacts | None] = lambda _: None) -> None:
        self.book = book
        self._templates = templates
        self._configured: tuple[LoadedSettings, Tables] | None = None

    def entries(self, kind: Kind, translate: Translate) -> EntriesDocument:
        """All roles or all ensembles, then what is saved and not in effect under a name of its own."""
        joined = self.book.joined
        names = list(_things(joined.catalog.roles, joined.catalog.ensembles, kind))
        hidden = [name for found, name in joined.hidden if found == kind and name not in names]
        groups = group_roles(joined.catalog, self._templates)
        return EntriesDocument(
            entries=[self._entry(kind, one, groups, translate) for one in (*names, *hidden)],
            prefix_groups=[_group(*one, translate) for one in enumerate(groups, 1)] if kind == "roles" else [],
            removed=[
                TakenOutDocument(name=one.name, version=one.version, time=one.time)
                for one in self.book.store.all(removed=True)
                if one.removed and one.kind == kind
            ],
        )

    def entry(self, kind: Kind, name: str, translate: Translate) -> EntryDocument:
        """One role or ensemble.

        Raises:
            UnknownNameError: there is none of this name.
        """
        self._known(kind, name)
        return self._entry(kind, name, group_roles(self.book.joined.catalog, self._templates), translate)

    def save(self, kind: Kind, name: str, fields: Mapping[str, Any], base: int | None) -> None:
        """Keep a role or an ensemble; see `RoleBook.change` for what is raised, with the key as its `param`."""
        with _naming_the_key(kind, name):
            check_tables({kind: {name: fields}})
            self.book.change([Save(kind, name, fields, base)])

    def tried(self, kind: Kind, name: str, fields: Mapping[str, Any] | None, version: int | None) -> RoleCatalog:
        """The catalog as it would be with these keys, or with an earlier version; nothing is saved.

        Raises:
            RequestError: neither or both were given, or there is no such version.
            ConfigurationError: it cannot be used; `RoleBook.change` says more.
        """
        if (fields is None) == (version is None):
            raise RequestError(text("Give either 'fields' or 'version' to try."), param="fields")
        if version is not None:
            fields = self.book.store.version(kind, name, version).fields
        wanted = fields or {}
        with _naming_the_key(kind, name):
            check_tables({kind: {name: wanted}})
            return self.book.change([Save(kind, name, wanted)], dry_run=True).catalog

    def remove(self, kind: Kind, name: str, base: int | None) -> None:
        """Take something saved out of use; its versions stay.

        Raises:
            RequestError: it was not saved, or something else needs it.
        """
        if (kind, name) not in self.book.joined.saved:
            if in_file(self.book.loaded, kind, name):
                raise ReadOnlyError(read_only(self.book.loaded, kind, name), param="name")
            if name in shipped().of(kind):
                raise UnknownSavedError(
                    text("'{name}' comes with Ansambl and nothing of it is saved, so there is nothing to remove.",
                         name=name), param="name")  # fmt: skip
            self._known(kind, name)
        self.book.change([Remove(kind, name, base)])

    def rename(self, kind: Kind, name: str, new_name: str, base: int | None) -> None:
        """Give something saved another name."""
        with _naming_the_key(kind, new_name):
            check_tables({kind: {new_name: {}}})
            self.book.change([Rename(kind, name, new_name, base)])

    def restore(self, kind: Kind, name: str, version: int, base: int | None) -> None:
        """Put an earlier version into effect again, as the newest one."""
        found = self.book.store.version(kind, name, version)
        self.book.change([Save(kind, name, found.fields, base, Action.RESTORED)])

    def versions(self, kind: Kind, name: str) -> VersionsDocument:
        """Every version of something saved, also of what was removed."""
        return VersionsDocument(
            versions=[
                VersionDocument(
                    number=one.number, time=one.time, action=one.action.value, changed=list(one.changed),
                    fields=dict(one.fields),
                )
                for one in self.book.store.versions(kind, name)
            ]
        )  # fmt: skip

    def export(self, names: Sequence[str] | None = None) -> SetDocument:
        """What is saved and what the file holds, as tables; with `names`, those alone, shipped ones too.

        Raises:
            UnknownNameError: there is no role or ensemble of a name.
        """
        catalog = self.book.joined.catalog
        found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for kind in KINDS:
            things = _things(catalog.roles, catalog.ensembles, kind)
            for name, thing in things.items():
                if thing.origin != SHIPPED if names is None else name in names:
                    found[kind][name] = self._own_fields(kind, name) or self._effective(kind, name)
        if names is not None:
            for name in names:
                if not any(name in found[kind] for kind in KINDS):
                    raise _unknown_name(name, (*catalog.roles, *catalog.ensembles))
        return SetDocument(**found)

    def import_set(self, document: Mapping[str, Any], *, dry_run: bool) -> ImportedDocument:
        """Save all of a set, or nothing. What the file holds already in the same words is left alone.

        Raises:
            RequestError: something of it cannot be used.
        """
        check_tables(document)
        changes: list[Save] = []
        result: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": []}
        for kind in KINDS:
            for name, fields in document.get(kind, {}).items():
                before = self.book.joined.saved.get((kind, name))
                is_there = before is not None or in_file(self.book.loaded, kind, name)
                if is_there and fields == self._own_fields(kind, name):
                    result["unchanged"].append(name)
                else:
                    result["created" if before is None else "changed"].append(name)
                    changes.append(Save(kind, name, fields, action=Action.IMPORTED))
        if changes:
            self.book.change(changes, dry_run=dry_run)
        return ImportedDocument(dry_run=dry_run, **result)

    def _known(self, kind: Kind, name: str) -> None:
        joined = self.book.joined
        things = _things(joined.catalog.roles, joined.catalog.ensembles, kind)
        if name not in things and (kind, name) not in joined.saved:
            raise _unknown_name(name, things)

    def _entry(self, kind: Kind, name: str, groups: Sequence[PrefixGroup], translate: Translate) -> EntryDocument:
        joined = self.book.joined
        thing = _things(joined.catalog.roles, joined.catalog.ensembles, kind).get(name)
        saved, hidden = joined.saved.get((kind, name)), joined.hidden.get((kind, name))
        document = EntryDocument(
            kind=kind, name=name, origin=thing.origin if thing else SAVED,
            read_only=in_file(self.book.loaded, kind, name),
            version=saved.version if saved else None, saved=dict(saved.fields) if saved else None,
            shipped=_written(shipped().of(kind).get(name, {})),
            hidden=hidden.reason.render(translate) if hidden else None,
        )  # fmt: skip
        if thing is None:
            return document.model_copy(update={"fields": document.saved or {}})
        fields, own = self._effective(kind, name), self._own_fields(kind, name)
        document = document.model_copy(update={
            "description": translate(thing.description), "aliases": list(thing.aliases), "fields": fields,
            "origins": {key: self._origin((kind, name, key), thing.origin, own) for key in fields},
        })  # fmt: skip
        if isinstance(thing, Role):
            number, group = next((index, one) for index, one in enumerate(groups, 1) if name in one.roles)
            why = None if group.shares else group.reason
            document = document.model_copy(update={
                "model": joined.catalog.model_of(thing), "layout": thing.layout.value,
                "prefix_group": number, "not_shared": why.render(translate) if why else None,
            })  # fmt: skip
        return document

    def _effective(self, kind: Kind, name: str) -> dict[str, Any]:
        """What is in effect, the keys named as a configuration file names them."""
        joined = self.book.joined
        saved = joined.saved.get((kind, name))
        tables = Tables()
        if saved is not None and (kind, name) not in joined.hidden:
            tables = check_tables({kind: {name: saved.fields}})
        return _written(effective_fields(kind, name, tables, self._tables_of_file()))

    def _own_fields(self, kind: Kind, name: str) -> dict[str, Any]:
        """What was set over what is shipped: in the file, else what is saved."""
        if in_file(self.book.loaded, kind, name):
            return _written(self._tables_of_file().of(kind)[name])
        saved = self.book.joined.saved.get((kind, name))
        return dict(saved.fields) if saved is not None else {}

    def _tables_of_file(self) -> Tables:
        """Those of the configuration in effect, made once for it: each entry asks, and there may be hundreds."""
        loaded = self.book.loaded
        if self._configured is None or self._configured[0] is not loaded:
            self._configured = (loaded, configured_tables(loaded))
        return self._configured[1]

    def _origin(self, key: tuple[Kind, str, str], origin: str, own: Mapping[str, Any]) -> str:
        if key[2] not in own:
            return SHIPPED
        if origin != CONFIGURATION:
            return origin
        tables = self.book.loaded.tables
        return tables.get(written_path(key)) or tables.get(written_path(key[:2]), CONFIGURATION)


@contextmanager
def _naming_the_key(kind: Kind, name: str) -> Iterator[None]:
    """What is wrong within one table is told with its key, so that a form can say it beside the field."""
    try:
        yield
    except ConfigurationError as error:
        own = next((one for one in error.keys if one[:2] == (kind, name)), None)
        if own is not None and error.param is None:
            error.param = _written_key(own[2:]) or "name"
        raise


def _written_key(path: KeyPath) -> str:
    return written(path).replace("output_limit", "max_tokens", 1) if path else ""


def _group(number: int, group: PrefixGroup, translate: Translate) -> PrefixGroupDocument:
    return PrefixGroupDocument(
        number=number, model=group.model, roles=list(group.roles), shares=group.shares,
        reason=group.reason.render(translate) if group.reason else None, head=sorted(group.head), lora=group.lora,
    )  # fmt: skip


def _things(roles: Mapping[str, Role], ensembles: Mapping[str, Ensemble], kind: Kind) -> Mapping[str, Role | Ensemble]:
    return roles if kind == "roles" else ensembles


def _written(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values as a configuration file writes them, ready for JSON."""
    return {"max_tokens" if key == "output_limit" else key: _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _unknown_name(name: str, known: Iterable[str]) -> UnknownNameError:
    close = nearest_names(name, known)
    if close:
        return UnknownNameError(
            text("There is no '{name}' here; nearest: {nearest}.", name=name[:100], nearest=", ".join(close)),
            param="name", code="unknown_name",
        )  # fmt: skip
    return UnknownNameError(text("There is no '{name}' here; see: ansambl roles list", name=name[:100]),
                            param="name", code="unknown_name")  # fmt: skip
