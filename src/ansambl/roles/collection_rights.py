"""Which collections a caller may search and read by itself. Pure; the one place where this is decided.

A key that is restricted to names reads what the roles behind these names read, and nothing else: it could have asked
those roles anyway. Who may use an ensemble may use it as a whole, so its members count, too. A key without such a
restriction reads every collection. Whose documents are found in them is `Caller.document_owners`.
"""

from __future__ import annotations

from collections.abc import Iterable

from ansambl.domain.access import Caller
from ansambl.roles.records import RoleCatalog


def readable(caller: Caller, catalog: RoleCatalog) -> frozenset[str] | None:
    """The names of the collections that `caller` may read; None for all of them."""
    if caller.names is None:
        return None
    found: set[str] = set()
    left, seen = list(caller.names), set(caller.names)
    while left:
        name = left.pop()
        role, ensemble = catalog.roles.get(name), catalog.ensembles.get(name)
        if role is not None:
            found.update(role.collections)
        if ensemble is not None:
            members = {*ensemble.roles, ensemble.merging_role} - seen
            seen |= members
            left.extend(members)
    return frozenset(found)


def allowed(caller: Caller, catalog: RoleCatalog, wanted: Iterable[str] | None) -> tuple[str, ...] | None:
    """The collections to search where `wanted` are asked for (None: all that may be); None means every collection.

    What may not be read is left out silently, as if it were not there; an empty result finds nothing.
    """
    may = readable(caller, catalog)
    if wanted is None:
        return None if may is None else tuple(sorted(may))
    return tuple(one for one in dict.fromkeys(wanted) if may is None or one in may)
