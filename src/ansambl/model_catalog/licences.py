"""What licences ask, read from ``data/licences.toml``. The file is ours: a mistake in it is a bug."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from ansambl.domain.names import folded
from ansambl.domain.review import CommercialUse, LicenceTerms

_DATA = Path(__file__).resolve().parent / "data" / "licences.toml"


@cache
def _tables() -> tuple[Mapping[str, LicenceTerms], Mapping[str, LicenceTerms]]:
    """The terms by the licence's name, and by the repository where the licence has no name."""
    by_name: dict[str, LicenceTerms] = {}
    by_model: dict[str, LicenceTerms] = {}
    for row in tomllib.loads(_DATA.read_text(encoding="utf-8"))["licences"]:
        terms = LicenceTerms(
            name=row["name"], title=row["title"], commercial=CommercialUse(row["commercial"]), source=row["source"],
            users=row.get("users"), revenue=row.get("revenue"), above=row.get("above"), shown=row.get("shown"),
            duties=tuple(row.get("duties", ())), gated=tuple(row.get("gated", ())),
        )  # fmt: skip
        by_name[terms.name] = terms
        by_model |= dict.fromkeys(row.get("models", ()), terms)
    return MappingProxyType(by_name), MappingProxyType(by_model)


def licences() -> Mapping[str, LicenceTerms]:
    """The licences that were read, by name."""
    return _tables()[0]


def find_licence(name: str | None, repo: str | None = None) -> LicenceTerms | None:
    """The terms of a licence by the name that model pages use, or of a repository; None when nobody read it."""
    by_name, by_model = _tables()
    found = by_model.get(folded(repo)) if repo else None
    return found or (by_name.get(folded(name)) if name else None)
