"""Licences that want to be accepted before a model is fetched, and which of them the user accepted."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from ansambl.domain.names import folded
from ansambl.domain.review import CommercialUse, LicenceTerms
from ansambl.foundation.paths import PRIVATE_FOLDER, write_atomically
from ansambl.model_catalog.licences import find_licence

FILE = "accepted-licences.json"
"""Where acceptance is remembered, in the data folder."""
UNNAMED = "other"
"""What a licence without a name is called, as on model pages."""


class _Accepted(msgspec.Struct, frozen=True):
    repo: str
    licence: str
    time: float


class _Book(msgspec.Struct, frozen=True):
    accepted: list[_Accepted] = msgspec.field(default_factory=list)


def wanted_licence(licence: str | None, repo: str, *, gated: bool) -> str | None:
    """The name of the licence that must be accepted before `repo` is fetched; None when none is asked for.

    Asked for are the licences of gated repositories, those that their makers ask to accept (also for copies of the
    model in other repositories: the licence goes with the weights), and those that forbid commercial use.
    """
    terms: LicenceTerms | None = find_licence(licence, repo)
    asks = gated or (terms is not None and (bool(terms.gated) or terms.commercial is CommercialUse.NO))
    return (licence or (terms.name if terms else UNNAMED)) if asks else None


def still_asked(data_folder: Path, licence: str | None, reference: str, *, gated: bool = False) -> str | None:
    """The name of the licence that must be accepted yet before `reference` is fetched; None when none is.

    `reference` is a repository, or a reference of the hub to a checkpoint in it.
    """
    repo = "/".join(reference.partition(":")[0].split("/")[:2])
    wanted = wanted_licence(licence, repo, gated=gated)
    return None if wanted is None or is_accepted(data_folder, repo, wanted) else wanted


def is_accepted(data_folder: Path, repo: str, licence: str) -> bool:
    """Whether the user accepted this licence for this repository before."""
    return any(one.repo == folded(repo) and one.licence == folded(licence) for one in _read(data_folder).accepted)


def accept(data_folder: Path, repo: str, licence: str) -> None:
    """Remember that the user accepted it, with the time.

    Raises:
        OSError: it cannot be written.
    """
    if is_accepted(data_folder, repo, licence):
        return
    data_folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    added = _Accepted(folded(repo), folded(licence), round(time.time(), 3))
    book = _Book([*_read(data_folder).accepted, added])
    write_atomically(data_folder / FILE, msgspec.json.format(msgspec.json.encode(book), indent=2))


def _read(data_folder: Path) -> _Book:
    """What was accepted; nothing where the file is not there or damaged, so that it is asked again."""
    try:
        return msgspec.json.decode((data_folder / FILE).read_bytes(), type=_Book)
    except (OSError, ValueError, RecursionError):
        return _Book()
