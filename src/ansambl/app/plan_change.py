"""What putting a plan into effect on this machine would do: what is fetched, what starts and stops, what is written.

Nothing is changed here; `plan_writing` does that. Sizes and licences come from the shipped catalog: the hub is asked
only when the owner has agreed.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansambl.app.configuration.configuration_file import read_file
from ansambl.app.configuration.rewriting import Rewrite, Value, key_tables, model_tables, rewritten
from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.app.engine_choice import LLAMA_CPP, EngineFinder, uses_gpus
from ansambl.app.planning import source_of
from ansambl.domain.engine import Installed
from ansambl.domain.errors import CheckpointError, NotFoundError, NotSupportedError
from ansambl.domain.planning import Candidate, Plan, PlannedPlacement, PlanOption, Residency
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths, default_configuration_file
from ansambl.model_catalog.acceptance import still_asked
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.download import free_space

_RESERVE = 512 << 20
"""Bytes that stay free on the disk, as downloads leave them."""
_HELPERS = {"tasks": ("tasks", "model")}
"""What a plan's helpers are in the configuration; one for embeddings is found by itself."""


@dataclass(frozen=True, slots=True)
class Fetching:
    """One checkpoint of the plan. `here` tells that it is on this machine; `accept` is a licence to accept first.

    `engine` is the one to fetch it for, None where the reference says it all.
    """

    model: str
    title: str
    reference: str
    size: Bytes
    licence: str | None
    here: bool
    accept: str | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What would happen. `text` is what the tables of the plan say, `source` the whole new file; `old` what it was.

    `file` is where it is written; it is made where `creates`. `replaced` models of the file go out of use, `kept` ones
    stay beside the plan's; `stops` are models in effect that end, whoever named them. `keys` are as in `Rewrite`.
    """

    title: Text
    fetches: tuple[Fetching, ...]
    free: Bytes
    folder: Path
    models: Mapping[str, Mapping[str, Value]]
    replaced: tuple[str, ...]
    kept: tuple[str, ...]
    stops: tuple[str, ...]
    file: Path
    creates: bool
    text: str
    old: str
    source: str
    keys: Mapping[tuple[str, ...], str | None]

    @property
    def missing(self) -> tuple[Fetching, ...]:
        """What is not here yet."""
        return tuple(one for one in self.fetches if not one.here)

    @property
    def size(self) -> Bytes:
        """Bytes to fetch."""
        return Bytes(sum(one.size for one in self.missing))

    @property
    def lacking(self) -> Bytes:
        """Bytes that the disk is short of."""
        return Bytes(max(0, self.size + _RESERVE - self.free)) if self.missing else Bytes(0)

    @property
    def digest(self) -> str:
        """Tells one change from another: what the owner agrees to."""
        what = "\0".join((str(self.file), self.old, self.source, *(one.reference for one in self.missing)))
        return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def option_of(plan: Plan, name: str) -> PlanOption:
    """The option of this id that can be put into effect.

    Raises:
        NotFoundError: the plan has none.
        NotSupportedError: it does not fit, or has no placement.
    """
    option = next((one for one in plan.options if one.id == name), None)
    if option is None:
        raise NotFoundError(
            text("the plan has no option '{name}'; choose one of {known}", name=name[:80],
                 known=", ".join(one.id for one in plan.options)), param="option",
        )  # fmt: skip
    if not option.fits or not option.placements:
        raise NotSupportedError(
            text("this option does not fit, so it cannot be put into effect; choose another"), param="option"
        )
    return option


def planned_tables(
    placements: Sequence[PlannedPlacement], roles: Mapping[str, str], *, gpus: bool
) -> tuple[dict[str, dict[str, Value]], dict[str, str]]:
    """The tables of an option's models by name, that of the first role first, and the names by placement.

    `gpus` tells that the machine has some, so that a placement in the RAM must say that it uses none.

    Raises:
        NotSupportedError: no source names where the files of a checkpoint lie.
    """
    first = next(iter(roles.values()), placements[0].id)
    ordered = sorted(placements, key=lambda one: one.id != first)
    tables: dict[str, dict[str, Value]] = {}
    names: dict[str, str] = {}
    for one in ordered:
        reference = checkpoint_of(one.candidate)
        base = "embedded" if reference == "embedded" else one.candidate.model
        name = next(each for each in _numbered(base) if each not in tables)
        tables[name] = _table(one, reference, gpus=gpus)
        names[one.id] = name
    return tables, names


def checkpoint_of(candidate: Candidate) -> str:
    """What a configuration writes for a candidate, and what fetches it.

    Raises:
        NotSupportedError: no source names where its files lie.
    """
    found = source_of(candidate)
    if found is None:
        raise NotSupportedError(
            text("no source names where the files of {model} in {quantization} lie; fetch it yourself, name it in the "
                 "configuration, and plan with that model", model=candidate.title, quantization=candidate.quantization)
        )  # fmt: skip
    return found


def change_for(option: PlanOption, loaded: LoadedSettings, paths: DataPaths) -> Change:
    """What putting `option` into effect would do. Blocks for a look at files and engines.

    Raises:
        ConfigurationError: the configuration cannot be changed, or could not be used with the plan.
        NotSupportedError: an engine of the plan is not here, or nothing tells where a checkpoint lies.
    """
    finder = EngineFinder(loaded, paths)
    _check_engines(option, finder)
    tables, names = planned_tables(option.placements, option.roles, gpus=bool(finder.machine.gpus))
    file = (loaded.file or default_configuration_file()).absolute()
    creates = not file.exists()
    old = "" if creates else read_file(file)[1]
    settings = None if creates else load_settings(file).settings
    # Without a table of models the settings hold the embedded one, which nobody wrote.
    models = settings.models if settings is not None and "models" in tomllib.loads(old) else {}
    named = _named(settings)
    here = {name for name, one in models.items() if one.address is None}
    replaced = tuple(sorted(name for name in here if name not in named or name in tables))
    kept = tuple(name for name in models if name not in replaced)
    tables, names = _renamed(tables, names, kept)
    roles = {} if settings is None else settings.roles
    keys = _keys(option, names, next(iter(tables)), [name for name, one in roles.items() if one.model in replaced])
    if settings is not None and settings.tasks.model in replaced:
        keys.setdefault(("tasks", "model"), None)
    source = rewritten(old, Rewrite(tables, replaced, keys))
    added = {path: value for path, value in keys.items() if value is not None}
    return Change(
        title=option.title, fetches=_fetches(option, paths), free=free_space(existing(paths.models)),
        folder=paths.models, models=tables, replaced=replaced, kept=kept,
        stops=tuple(one for one in loaded.settings.models if one not in tables and one not in kept),
        file=file, creates=creates,
        text="\n".join([*model_tables(tables), *key_tables(added)]) + "\n", old=old, source=source,
        keys=keys,
    )  # fmt: skip


def existing(folder: Path) -> Path:
    """The nearest folder above, or this one, that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def with_references(change: Change, fetched: Mapping[str, str]) -> Change:
    """The change with checkpoints under the names that the hub gave them when they were fetched."""
    if all(old == new for old, new in fetched.items()):
        return change
    models = {
        name: {**one, "checkpoint": fetched.get(str(one["checkpoint"]), one["checkpoint"])}
        for name, one in change.models.items()
    }
    return replace(change, models=models, source=rewritten(change.old, Rewrite(models, change.replaced, change.keys)))


def _table(placement: PlannedPlacement, reference: str, *, gpus: bool) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "checkpoint": reference, "context": placement.context, "parallel": placement.parallel,
    }  # fmt: skip
    if placement.residency is Residency.RESIDENT:
        fields["warm"] = True
    if placement.machine.gpus or placement.engine != LLAMA_CPP:
        fields["engine"] = placement.engine
        if placement.kv_type != "f16":
            fields["kv_type"] = placement.kv_type
        if placement.settings:
            fields["settings"] = dict(placement.settings)
        fields["gpus"] = [gpu.index for gpu in placement.machine.gpus]
    elif gpus:
        fields["gpus"] = []
    return fields


def _numbered(base: str) -> list[str]:
    return [base, *(f"{base}-{number}" for number in range(2, 100))]


def _renamed(
    tables: dict[str, dict[str, Value]], names: dict[str, str], taken: tuple[str, ...]
) -> tuple[dict[str, dict[str, Value]], dict[str, str]]:
    """The tables under names that nothing that stays has."""
    new: dict[str, str] = {}
    for name in tables:
        new[name] = next(one for one in _numbered(name) if one not in taken and one not in new.values())
    return {new[name]: one for name, one in tables.items()}, {place: new[name] for place, name in names.items()}


def _keys(
    option: PlanOption, names: Mapping[str, str], first: str, stranded: Sequence[str]
) -> dict[tuple[str, ...], str | None]:
    """Which role runs where, as keys of the configuration; who runs on the first model needs none.

    `stranded` are roles of the file whose model goes out of use.
    """
    keys: dict[tuple[str, ...], str | None] = {}
    for role, where in option.roles.items():
        model = names[where]
        if role in _HELPERS:
            keys[_HELPERS[role]] = model
        elif role != "embedding":
            keys["roles", role, "model"] = None if model == first else model
    for role in stranded:
        keys.setdefault(("roles", role, "model"), None)
    return keys


def _named(settings: Settings | None) -> frozenset[str]:
    """The models that other tables name: they stay."""
    if settings is None:
        return frozenset()
    names = {settings.knowledge.embedder, settings.knowledge.rerank}
    return frozenset({*names, *(one for group in settings.scheduling.together for one in group)})


def _check_engines(option: PlanOption, finder: EngineFinder) -> None:
    for one in option.placements:
        found = finder.find(one.engine)
        usable = isinstance(found, Installed) and (not one.machine.gpus or uses_gpus(found))
        # Without a GPU the bundled build does the same.
        if not usable and (one.engine != LLAMA_CPP or one.machine.gpus):
            raise NotSupportedError(
                text("{model} is planned for {engine}, which cannot be used here yet; install it: ansambl engines "
                     "install {engine}", model=one.candidate.title, engine=one.engine)
            )  # fmt: skip


def _fetches(option: PlanOption, paths: DataPaths) -> tuple[Fetching, ...]:
    found: dict[str, Fetching] = {}
    for one in option.placements:
        candidate, reference = one.candidate, checkpoint_of(one.candidate)
        licence = candidate.card.licence if candidate.card else None
        try:
            open_checkpoint(reference, paths.models)
            here = True
        except CheckpointError:
            here = False
        accept = None if here else still_asked(paths.root, licence, reference)
        found[reference] = Fetching(
            candidate.model, candidate.title, reference, candidate.size, licence, here, accept,
            None if candidate.format == "gguf" else one.engine,
        )  # fmt: skip
    return tuple(found.values())
