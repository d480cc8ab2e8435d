"""The roles and ensembles of one data folder: what is shipped, saved and in the file, and changing what is saved."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansambl.app.catalog import CatalogMaker, in_file
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_lines import KeyPath, written_path
from ansambl.app.configuration.settings_records import is_unconfigured
from ansambl.app.roles.written import check_tables
from ansambl.domain.errors import ConfigurationError, RequestError
from ansambl.domain.plan import Attachment
from ansambl.domain.text import Text, text
from ansambl.roles.catalog import Kind, Tables, shipped
from ansambl.roles.field_checks import Fields
from ansambl.roles.records import RoleCatalog
from ansambl.roles.store import Change, Remove, Rename, Save, Saved, SavedRoles

Key = tuple[Kind, str]
"""What something saved is known by: its table and its name."""


class ReadOnlyError(RequestError):
    """It stands in the configuration file, which only its owner changes."""

    status = 409
    code = "read_only"


@dataclass(frozen=True, slots=True)
class Hidden:
    """Something saved that is not in effect. `keys` are those that the reason is about, as far as it is about some."""

    kind: Kind
    name: str
    reason: Text
    keys: tuple[KeyPath, ...] = ()

    @property
    def warning(self) -> Text:
        """The line that the start and a reload say."""
        if self.kind == "roles":
            return text("The saved role '{name}' is not in effect: {reason}", name=self.name, reason=self.reason)
        return text("The saved ensemble '{name}' is not in effect: {reason}", name=self.name, reason=self.reason)


@dataclass(frozen=True, slots=True)
class Joined:
    """A catalog, what of the saved ones is in it, and what is not."""

    catalog: RoleCatalog
    saved: Mapping[Key, Saved]
    hidden: Mapping[Key, Hidden]
    problem: Text | None = None
    """Why all of them together cannot be used; None when they can."""
    problem_keys: tuple[KeyPath, ...] = ()
    """The keys that `problem` is about."""


class RoleBook:
    """Joins a configuration with the saved roles, and changes the saved ones. Calls block; one change at a time.

    `joined` is what is in effect. Every change is checked against everything before anything is written.
    """

    def __init__(self, loaded: LoadedSettings, store: SavedRoles, offered: Attachment | None = None) -> None:
        """Join what is there. Saved ones that contradict the file are hidden, so that a start never fails by them.

        Raises:
            ConfigurationError: the file contradicts itself.
        """
        self.loaded = loaded
        self.store = store
        self._offered = offered
        self._lock = threading.Lock()
        self.joined = _join(loaded, store.all(), offered)

    def change(self, changes: Sequence[Change], *, dry_run: bool = False) -> Joined:
        """Do all of `changes`, or none; `dry_run` only checks them.

        Raises:
            ReadOnlyError: it stands in the file.
            ConfigurationError: the change would contradict itself or something else.
            VersionConflictError: somebody else changed it in the meantime.
            UnknownSavedError: what is to be removed or renamed is not saved.
        """
        with self._lock:
            self._refuse_what_is_in_the_file(changes)
            _refuse_shipped_names(changes)
            joined = self._join(_changed(self.store.all(), changes))
            touched = {(one.kind, one.name) for one in changes}
            touched |= {(one.kind, one.new_name) for one in changes if isinstance(one, Rename)}
            for key, hidden in joined.hidden.items():
                if key in touched or key not in self.joined.hidden:
                    # Together they tell of a cycle; one by one each only misses another.
                    if joined.problem is not None and not self.joined.problem:
                        raise ConfigurationError(joined.problem, keys=joined.problem_keys)
                    raise ConfigurationError(hidden.reason, keys=hidden.keys)
            if dry_run:
                return joined
            self.store.apply(changes)
            self.joined = self._join(self.store.all())
            return self.joined

    def reloaded(self, loaded: LoadedSettings) -> Joined:
        """Take another configuration in place of this one.

        Raises:
            ConfigurationError: it contradicts itself; the old one stays.
        """
        with self._lock:
            self.joined = _join(loaded, self.store.all(), self._offered if is_unconfigured(loaded) else None)
            self.loaded = loaded
            return self.joined

    def _join(self, saved: Iterable[Saved]) -> Joined:
        return _join(self.loaded, saved, self._offered if is_unconfigured(self.loaded) else None)

    def _refuse_what_is_in_the_file(self, changes: Sequence[Change]) -> None:
        for one in changes:
            names = (one.name, one.new_name) if isinstance(one, Rename) else (one.name,)
            # What the file hides may still be removed.
            for name in names[1:] if isinstance(one, Remove | Rename) and self._is_saved(one) else names:
                if in_file(self.loaded, one.kind, name):
                    raise ReadOnlyError(read_only(self.loaded, one.kind, name), param="name")

    def _is_saved(self, change: Remove | Rename) -> bool:
        return any((one.kind, one.name) == (change.kind, change.name) for one in self.store.all())


def _refuse_shipped_names(changes: Sequence[Change]) -> None:
    """A new name that is shipped would silently change what is shipped."""
    for one in changes:
        if isinstance(one, Rename) and one.new_name in shipped().of(one.kind):
            raise RequestError(
                text("'{name}' comes with Ansambl; choose another name, or change that one: ansambl roles edit {name}",
                     name=one.new_name), param="name")  # fmt: skip


def read_only(loaded: LoadedSettings, kind: Kind, name: str) -> Text:
    """Why something of the file cannot be changed, and how to copy it."""
    place = loaded.tables[written_path((kind, name))]
    file, _, line = place.rpartition(":")
    return text(
        "'{name}' stands in {file}, line {line}, and is changed there; copy it: ansambl roles edit NEW --from {name}",
        name=name, file=file, line=line,
    )  # fmt: skip


def _changed(saved: Iterable[Saved], changes: Sequence[Change]) -> tuple[Saved, ...]:
    """What would be saved after `changes`; what a change needs and is not there is left for the store to refuse."""
    found: dict[Key, Saved] = {(one.kind, one.name): one for one in saved}
    for one in changes:
        key: Key = (one.kind, one.name)
        if isinstance(one, Save):
            before = found.get(key)
            found[key] = Saved(one.kind, one.name, before.version + 1 if before else 1, 0.0, one.fields)
        elif isinstance(one, Remove):
            found.pop(key, None)
        elif key in found:
            old = found.pop(key)
            found[one.kind, one.new_name] = Saved(one.kind, one.new_name, old.version + 1, old.time, old.fields)
    return tuple(found.values())


def _join(loaded: LoadedSettings, saved: Iterable[Saved], offered: Attachment | None) -> Joined:
    maker = CatalogMaker(loaded, offered)
    kept: dict[Key, Saved] = {}
    hidden: dict[Key, Hidden] = {}
    fields: dict[Key, Fields] = {}
    for one in saved:
        key: Key = (one.kind, one.name)
        kept[key] = one
        if in_file(loaded, *key):
            file = loaded.tables[written_path(key)].rpartition(":")[0]
            reason = text("{file} has a table of this name, which comes first; remove one of them.", file=file)
            hidden[key] = Hidden(*key, reason)
            continue
        try:
            fields[key] = check_tables({one.kind: {one.name: one.fields}}).of(one.kind)[one.name]
        except ConfigurationError as error:
            hidden[key] = Hidden(*key, error.message, keys=error.keys)
    problem: Text | None = None
    about: tuple[KeyPath, ...] = ()
    try:
        catalog = maker.make(_tables(fields))
    except ConfigurationError as error:
        problem, about = error.message, error.keys
        catalog, refused = _join_one_by_one(maker, fields)
        hidden.update({key: Hidden(*key, one.message, keys=one.keys) for key, one in refused.items()})
    return Joined(catalog, kept, hidden, problem, about)


def _join_one_by_one(
    maker: CatalogMaker, fields: Mapping[Key, Fields]
) -> tuple[RoleCatalog, dict[Key, ConfigurationError]]:
    """The catalog with all that goes together, the oldest first, and why the others do not."""
    accepted: dict[Key, Fields] = {}
    catalog = maker.make()
    waiting, refused = dict(fields), dict[Key, ConfigurationError]()
    progress = True
    while waiting and progress:
        progress = False
        # An ensemble may need a role, or an ensemble, that comes later.
        for key in sorted(waiting, key=lambda one: one[0] == "ensembles"):
            try:
                catalog = maker.make(_tables({**accepted, key: waiting[key]}))
            except ConfigurationError as error:
                refused[key] = error
                continue
            accepted[key] = waiting.pop(key)
            refused.pop(key, None)
            progress = True
    return catalog, refused


def _tables(fields: Mapping[Key, Fields]) -> Tables:
    return Tables(
        {name: one for (kind, name), one in fields.items() if kind == "roles"},
        {name: one for (kind, name), one in fields.items() if kind == "ensembles"},
    )
