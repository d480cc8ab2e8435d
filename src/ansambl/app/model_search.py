"""Models of a hub that this machine can run: found by words, their headers read, judged by the planner."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansambl.app.planning import candidate_from_files, planned_machines
from ansambl.domain.catalog import Basis
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import AnsamblError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.planning import USUAL_CONTEXT, Candidate, PlannedPlacement
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.engines.compatibility import compatibility_rows
from ansambl.model_catalog.hub import HubRepository, read_repository
from ansambl.model_catalog.hub_search import FoundRepository, search_repositories
from ansambl.model_catalog.model_folder import folder_kind
from ansambl.model_catalog.references import (
    GgufGroup,
    HubReference,
    choose_gguf,
    gguf_groups,
    safetensors_files,
    snapshot_files,
)
from ansambl.model_catalog.remote import inspect_repository
from ansambl.model_catalog.web import Web
from ansambl.planner.choosing import Engines, choose, engines_for
from ansambl.planner.fitting import Wish

_AT_ONCE = 8
"""Repositories that are looked at in the same moment."""
_MOST_QUANTIZATIONS = 24


@dataclass(frozen=True, slots=True)
class Found:
    """A repository of the search: what it holds, and what this machine can do with it.

    `reference` is what to fetch. `placement` is the best forecast, None where none was asked for or `reason` says why
    there is none. `sizes` are the bytes of each checkpoint by its quantization.
    """

    repo: str
    downloads: int | None
    reference: str = ""
    format: str = ""
    sizes: tuple[tuple[str, Bytes], ...] = ()
    licence: str | None = None
    gated: bool = False
    placement: PlannedPlacement | None = None
    reason: Text | None = None

    @property
    def fits(self) -> bool | None:
        """Whether it fits; None where nobody judged."""
        return None if self.placement is None else self.placement.fits


def find_models(words: str, *, limit: int, machine: str | None, fits: bool, offline: bool) -> tuple[Found, ...]:
    """Search a hub; with `fits` tell which of what was found the machine can run, those that do first.

    Args:
        words: what to search for; nothing else is sent.
        limit: repositories at most; each costs one request, and with `fits` its headers.
        machine: a name of the list or a file; None is this machine.
        fits: judge what was found.
        offline: refuse instead of using the network.

    Raises:
        UsageError: nothing to search for, or no such machine.
        UnavailableError: nothing may be requested, or the hub cannot be reached.
    """
    with Web(offline=offline) as web:
        planned = planned_machines([] if machine is None else [machine])[0] if fits else None
        rows = search_repositories(web, words, limit)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            looked = list(pool.map(lambda one: _look(web, one, judged=fits), rows))
    found = [_judged(one, candidates, planned) if planned else one for one, candidates in looked]
    if fits:
        found.sort(key=lambda one: (one.reason is not None, not one.fits))
    return tuple(found)


def _look(web: Web, row: FoundRepository, *, judged: bool) -> tuple[Found, tuple[Candidate, ...]]:
    """What a repository holds; with `judged` also as candidates, which costs the headers of one checkpoint."""
    found = Found(row.repo, row.downloads)
    try:
        repository = read_repository(web, row.repo)
        found = _described(row, repository)
        if found.reason is not None or not judged:
            return found, ()
        return found, _candidates(web, repository)
    except AnsamblError as failure:
        return dataclasses.replace(found, reason=failure.message), ()


def _described(row: FoundRepository, repository: HubRepository) -> Found:
    groups, weights = _groups(repository), safetensors_files(repository.files)
    if groups:
        sizes = tuple((one.quantization or "GGUF", one.size) for one in groups)
        form, reference = "gguf", row.repo
    elif weights:
        files = snapshot_files(repository.files, weights)
        sizes = (("safetensors", Bytes(sum(one.size for one in files))),)
        form, reference = "safetensors", row.repo
    else:
        return Found(row.repo, row.downloads, licence=repository.licence, gated=repository.gated,
                     reason=text("it holds neither GGUF nor safetensors files of a whole model"))  # fmt: skip
    return Found(
        row.repo, row.downloads, reference, form, sizes, repository.licence, gated=repository.gated
    )  # fmt: skip


def _groups(repository: HubRepository) -> list[GgufGroup]:
    """One file for each quantization, the one that its name alone would mean."""
    by_name: dict[str, GgufGroup] = {}
    for one in sorted(gguf_groups(repository.files), key=lambda group: (len(group.stem), group.stem)):
        by_name.setdefault(one.quantization or one.stem, one)
    return sorted(by_name.values(), key=lambda one: one.size)[:_MOST_QUANTIZATIONS]


def _candidates(web: Web, repository: HubRepository) -> tuple[Candidate, ...]:
    """Every checkpoint of the repository. The headers of one are read; the others differ in their size alone."""
    groups = _groups(repository)
    if not groups:
        return (_of_folder(web, repository),)
    usual = choose_gguf(
        HubReference(repository.repo), [one for one in repository.files if one.path.endswith(".gguf")]
    )  # fmt: skip
    read = next((one for one in groups if usual is not None and one.stem == usual.stem), groups[0])
    known = candidate_from_files(
        inspect_repository(web, HubReference(repository.repo, file=read.files[0].path), repository), repository.repo
    )
    found = []
    for one in groups:
        reference = f"{repository.repo}:{one.quantization}" if one.quantization else (
            f"{repository.repo}/{one.files[0].path}")  # fmt: skip
        weights = known.weights if one.stem == read.stem else WeightBytes(
            one.size, known.source, expert_format=_expert_format(one, known))  # fmt: skip
        found.append(dataclasses.replace(
            known, reference=reference, quantization=one.quantization or known.quantization, size=one.size,
            weights=weights, basis=Basis.REPORTED,
        ))  # fmt: skip
    return tuple(found)


def _expert_format(group: GgufGroup, known: Candidate) -> str | None:
    mixed = known.architecture.experts and (group.quantization or "").upper().startswith("MXFP4")
    return "mxfp4" if mixed else None


def _of_folder(web: Web, repository: HubRepository) -> Candidate:
    inspection = inspect_repository(web, HubReference(repository.repo), repository)
    found = candidate_from_files(inspection, repository.repo)
    # Without a method in the description, the type of most bytes is what the catalog calls the quantization.
    plain = folder_kind({}, inspection.by_type).quantization if inspection.quantization is None else None
    return dataclasses.replace(found, quantization=plain or found.quantization)


def _judged(found: Found, candidates: Sequence[Candidate], machine: PlannedMachine) -> Found:
    """The same with the best placement of its checkpoints, or with the reason why there is none."""
    if found.reason is not None or not candidates:
        return found
    facts = compatibility_rows()

    def engines(candidate: Candidate) -> Engines:
        return engines_for(candidate, machine, facts)

    made_for = candidates[0].architecture.context
    try:
        choice = choose(candidates, engines, machine, Wish(min(USUAL_CONTEXT, made_for or USUAL_CONTEXT)))
    except AnsamblError as failure:
        return dataclasses.replace(found, reason=failure.message)
    if choice is None:
        left_out = [one.text for candidate in candidates for one in engines(candidate).left_out]
        why = left_out[0] if left_out else text("no engine is known that runs it here")
        return dataclasses.replace(found, reason=why)
    best = choice.best
    return dataclasses.replace(found, placement=best, reference=best.candidate.reference)


def found_to_json(one: Found, translate: Callable[[str], str] | None = None) -> dict[str, Any]:
    """What ``models find --json`` prints of it: sizes in bytes, speeds in tokens a second, null for unknown."""
    best = one.placement
    speed = best.speed.decode if best else None
    return {
        "repo": one.repo, "reference": one.reference or None, "format": one.format or None,
        "downloads": one.downloads, "licence": one.licence, "gated": one.gated,
        "sizes": dict(one.sizes), "fits": one.fits,
        "quantization": best.candidate.quantization if best else None,
        "size": best.candidate.size if best else None, "engine": best.engine if best else None,
        "context": best.context if best else None, "speed": dataclasses.asdict(speed) if speed else None,
        "reason": one.reason.render(translate) if one.reason else None,
    }  # fmt: skip
