"""What fetching a model would mean, told before it begins: its size, the room for it, its licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ansambl.app.pulling import hub_name, suiting
from ansambl.domain.errors import CheckpointError, UnknownNameError
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import embedded
from ansambl.model_catalog.acceptance import still_asked, wanted_licence
from ansambl.model_catalog.download import Announcement, Suiting, announce, free_space
from ansambl.model_catalog.licences import find_licence

Source = Literal["hub", "package index"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a pull would be. Sizes are bytes.

    `wanted` is what was asked for, `reference` what a configuration writes for exactly that. `size` is what would come
    in all, `here` what an earlier try has left of it, `free` the disk's, `lacking` what it is short of. `page` is where
    people read about the model. `licence_to_accept` is the name by which its licence wants to be accepted first; None
    where none is asked for, or it was accepted before. `gated` says that its makers let only those have it who accepted
    it on that page. `announcement` is the hub's own part, None for the embedded model.
    """

    wanted: str
    reference: str
    title: str
    source: Source
    repo: str | None
    page: str | None
    format: str
    quantization: str | None
    size: Bytes
    here: Bytes
    free: Bytes
    lacking: Bytes
    installed: bool
    licence: str | None
    licence_title: str | None
    licence_to_accept: str | None
    gated: bool
    path: str
    files: int
    announcement: Announcement | None = None


def make_offer(wanted: str, paths: DataPaths, *, engine: str | None = None, offline: bool = False) -> Offer:
    """Say what fetching `wanted` would mean. Blocks; asks the hub for a list of files, and fetches none of them.

    Args:
        wanted: a hub reference, a name of the catalog, or ``embedded``.
        paths: where models are kept.
        engine: the engine that is to run it; what this machine would run when left out.
        offline: refuse instead of using the network.

    Raises:
        UsageError: it is no such name, or there is no such engine.
        CheckpointError: the hub has no such checkpoint, or none that the engine takes.
        UnavailableError: nothing may be requested, or the hub cannot be reached.
    """
    if folded(wanted.strip()) == embedded.REFERENCE:
        return _embedded(paths)
    chosen = suiting(engine, paths)
    found = announce(_hub_name(wanted, chosen), paths.models, suiting=chosen, offline=offline)
    repository = found.repository
    licence = wanted_licence(found.licence, repository.repo, gated=found.gated)
    terms = find_licence(licence or found.licence, repository.repo)
    asked = still_asked(paths.root, found.licence, repository.repo, gated=found.gated)
    return Offer(
        wanted, found.reference, found.reference, "hub", repository.repo, repository.page, found.format,
        found.quantization, found.size, found.here, found.free, found.lacking, found.installed, found.licence,
        terms.title if terms else None, asked, found.gated, str(found.path), len(found.files),
        found,
    )  # fmt: skip


def _hub_name(wanted: str, chosen: Suiting) -> str:
    try:
        return hub_name(wanted, chosen)
    except UnknownNameError:
        # The one model that is in no catalog.
        if nearest_names(wanted, (embedded.REFERENCE,)):
            raise UnknownNameError(
                text("the catalog has no model '{name}'; the nearest are: {names}", name=wanted[:80],
                     names=embedded.REFERENCE)
            ) from None  # fmt: skip
        raise


def _embedded(paths: DataPaths) -> Offer:
    facts, free = embedded.load_embedded(), free_space(paths.models)
    try:
        embedded.find(paths.models, verify=False)
        is_here = True
    except CheckpointError:
        is_here = False
    lacking = 0 if is_here else max(0, embedded.needed_room() - free)
    return Offer(
        embedded.REFERENCE, embedded.REFERENCE, facts.title, "package index", None, None, facts.format,
        facts.quantization, facts.download_size, Bytes(0), free, Bytes(lacking), is_here, facts.licence, None, None,
        gated=False, path=str(embedded.embedded_path(paths.models)), files=1,
    )  # fmt: skip
