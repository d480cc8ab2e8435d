"""The LoRA adapters of a configuration: adding one after every check, and which of them a model can use now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ansambl.app.configuration.settings import AUTO
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import engine_name
from ansambl.app.engine_choice import EngineFinder
from ansambl.domain.engine import EngineTraits
from ansambl.domain.errors import AnsamblError, NotSupportedError, UsageError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import Text, text
from ansambl.engines.registry import get_engine
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.lora.base_model import BaseModel, read_base
from ansambl.model_catalog.lora.fitting import check_fit, other_name
from ansambl.model_catalog.lora.limits import refuse_over_limits, refuse_over_settings
from ansambl.model_catalog.lora.reading import read_adapter
from ansambl.model_catalog.lora.records import GGUF, PEFT, LoraFile
from ansambl.model_catalog.lora.store import GGUF_FILE, LoraFolders

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Added:
    """An adapter that was added.

    `engine` is the title of the engine that will load it, None where none is installed yet. `converted` tells that it
    was written as GGUF, `notes` what its owner should know.
    """

    adapter: LoraAdapter
    engine: str | None
    converted: bool
    notes: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True)
class Unfit:
    """An adapter that its model cannot use as things are, and why."""

    adapter: LoraAdapter
    reason: Text


class LoraBook:
    """The LoRA adapters below one data folder, joined with the configured models. Calls block.

    Args:
        paths: the data folder.
        loaded: the configuration that names the models.
        finder: which engine runs a model; one of its own when left out.
    """

    def __init__(self, paths: DataPaths, loaded: LoadedSettings, finder: EngineFinder | None = None) -> None:
        self._paths = paths
        self._loaded = loaded
        self._finder = finder or EngineFinder(loaded, paths)
        self._folders = LoraFolders(paths.loras)

    def all(self) -> tuple[LoraAdapter, ...]:
        """Every adapter, by name, also those that cannot be used."""
        return self._folders.all()

    def for_model(self, model: str, checkpoint: Checkpoint | None = None) -> tuple[LoraAdapter, ...]:
        """The adapters that the model of this name can use now; `checkpoint` is its opened one, where that is at hand.

        One that does not fit any more, because the model has got another checkpoint, is left out: an engine would not
        start with it.
        """
        return self.judged(model, checkpoint)[0]

    def unfit(self, model: str, checkpoint: Checkpoint | None = None) -> tuple[Unfit, ...]:
        """The adapters of a model that it cannot use, and why."""
        return self.judged(model, checkpoint)[1]

    def judged(
        self, model: str, checkpoint: Checkpoint | None = None
    ) -> tuple[tuple[LoraAdapter, ...], tuple[Unfit, ...]]:
        """Both of them."""
        own = [one for one in self.all() if one.model == model]
        if not own:
            return (), ()
        try:
            checkpoint = checkpoint or self._checkpoint(self._known(model))
            base = _base(checkpoint)
            traits = self._traits(model, checkpoint)
        except AnsamblError as problem:
            return (), tuple(Unfit(one, problem.message) for one in own)
        usable, unfit = [], []
        for one in own:
            try:
                found = read_adapter(Path(_wanted_file(one, base)), hashed=False)
                check_fit(found, base)
                self._check_engine(model, traits, base, found)
            except AnsamblError as problem:
                unfit.append(Unfit(one, problem.message))
            else:
                usable.append(one)
        return tuple(usable), tuple(unfit)

    def add(
        self, name: str, source: Path, model: str, *, taken: Mapping[str, Text] | None = None
    ) -> Added:  # fmt: skip
        """Check the adapter at `source` and keep a copy of it as `name`, for requests to `model`.

        One in PEFT's format is written as GGUF too where the model is a GGUF file.

        Args:
            name: what clients and roles will ask for.
            source: a folder as PEFT saves it, or a GGUF file.
            model: a configured model that runs here.
            taken: names of roles and ensembles, each with what it is ("a role"); models are known.

        Raises:
            UsageError: the name is taken or cannot be one, there is no such model, or the adapter is damaged or for
                another model.
            NotSupportedError: the model's engine does not load it.
            CheckpointError: the model's own files cannot be read.
            DataFolderError: it cannot be kept.
        """
        checkpoint = self._checkpoint(self._known(model))
        found = read_adapter(source, hashed=False)
        base = _base(checkpoint)
        check_fit(found, base)
        traits = self._traits(model, checkpoint)
        self._check_engine(model, traits, base, found)
        with self._folders.locked():
            self._refuse_name(name, taken or {})
            with self._folders.incoming(name) as incoming:
                # The copy is what counts: the source may change while it is read.
                kept = read_adapter(self._folders.copy(found, incoming))
                check_fit(kept, base)
                converted = kept.format == PEFT and base.format == GGUF
                if converted:
                    # With numpy, which nothing else needs while Ansambl runs.
                    from ansambl.model_catalog.lora.convert import convert_to_gguf

                    convert_to_gguf(kept, base, incoming / GGUF_FILE)
                adapter = self._folders.keep(incoming, kept, name, model)
        own = self._loaded.settings.models[model]
        names = [one for one in (checkpoint.repo, checkpoint.reference, checkpoint.path, own.checkpoint, model) if one]
        warning = other_name(kept, names)
        return Added(
            adapter, traits.title if traits else None, converted, (*kept.notes, *((warning,) if warning else ()))
        )

    def remove(self, name: str) -> LoraAdapter:
        """Delete the adapter of this name, and return what it was.

        Raises:
            UsageError: there is none; names the nearest.
            DataFolderError: it cannot be deleted.
        """
        if not self._paths.loras.exists():
            raise _unknown_adapter(name, ())
        with self._folders.locked():
            found = self.find(name)
            self._folders.remove(found)
        return found

    def find(self, name: str) -> LoraAdapter:
        """The adapter of this name.

        Raises:
            UsageError: there is none; names the nearest.
        """
        known = self.all()
        found = next((one for one in known if folded(one.name) == folded(name)), None)
        if found is None:
            raise _unknown_adapter(name, [one.name for one in known])
        return found

    def only_model(self) -> str | None:
        """The one configured model that runs here, for a command that names none; None when there are several."""
        local = [name for name, one in self._loaded.settings.models.items() if one.address is None and one.checkpoint]
        return local[0] if len(local) == 1 else None

    def _known(self, model: str) -> str:
        models = self._loaded.settings.models
        if model not in models:
            near = nearest_names(model, models)
            raise UsageError(
                text("there is no model '{model}' in the configuration; nearest: {nearest}", model=model,
                     nearest=", ".join(near or models))
            )  # fmt: skip
        return model

    def _checkpoint(self, model: str) -> Checkpoint:
        own = self._loaded.settings.models[model]
        if own.address is not None or own.checkpoint is None:
            raise NotSupportedError(
                text("Ansambl does not start the engine of '{model}' itself, so it cannot give it a LoRA adapter; load "
                     "the adapter there, and add it as a model of its own with its address", model=model)
            )  # fmt: skip
        return open_checkpoint(own.checkpoint, self._paths.models)

    def _traits(self, model: str, checkpoint: Checkpoint) -> EngineTraits | None:
        """What is known of the engine that runs a model; None where none is installed yet."""
        own = self._loaded.settings.models[model]
        try:
            return get_engine(self._finder.choose(model, checkpoint).name).traits
        except NotSupportedError:
            return None if own.engine == AUTO else get_engine(engine_name(own)).traits

    def _check_engine(self, model: str, traits: EngineTraits | None, base: BaseModel, found: LoraFile) -> None:
        """Refuse what the engine does not load; where none is installed yet, nobody knows.

        Raises:
            NotSupportedError: it loads no adapters, or none like this.
            UsageError: the model's own settings leave it no room.
        """
        if traits is None:
            return
        if (GGUF if base.format == GGUF else PEFT) not in traits.lora_formats:
            raise NotSupportedError(
                text("{engine}, which runs '{model}', loads no LoRA adapters through Ansambl; choose llama.cpp for a "
                     "GGUF file, or vLLM for a folder", engine=traits.title, model=model)
            )  # fmt: skip
        refuse_over_limits(traits, found)
        refuse_over_settings(model, self._loaded.settings.models[model].settings, found)

    def _refuse_name(self, name: str, taken: Mapping[str, Text]) -> None:
        if not _NAME.fullmatch(name) or name.endswith((".", ".gguf")):
            raise UsageError(
                text("'{name}' cannot be the name of a LoRA adapter; use up to 64 letters a-z, digits, dots, dashes "
                     "and underscores, a letter or digit first", name=name[:80])
            )  # fmt: skip
        known = {folded(one): what for one, what in taken.items()}
        for model, settings in self._loaded.settings.models.items():
            for spelling in (model, *settings.aliases):
                known.setdefault(folded(spelling), text("a model"))
        for one in self.all():
            known[folded(one.name)] = text("a LoRA adapter")
        what = known.get(folded(name))
        if what is None:
            return
        raise UsageError(
            text("the name '{name}' is taken by {what}; free is for example '{free}'", name=name, what=what,
                 free=free_name(name, known))
        )  # fmt: skip


def free_name(name: str, taken: Iterable[str]) -> str:
    """The nearest name that is free; `taken` are folded ones."""
    known = set(taken)
    tries = (f"{name[:58]}-lora", *(f"{name[:58]}-{number}" for number in range(2, len(known) + 3)))
    return next(one for one in tries if folded(one) not in known)


def _base(checkpoint: Checkpoint) -> BaseModel:
    return read_base(Path(checkpoint.path), checkpoint.format)


def _wanted_file(adapter: LoraAdapter, base: BaseModel) -> str:
    form = GGUF if base.format == GGUF else PEFT
    if form not in adapter.files:
        raise NotSupportedError(
            text("the LoRA adapter {name} lies here for another kind of checkpoint; remove it and add it again",
                 name=adapter.name)
        )  # fmt: skip
    return adapter.files[form]


def _unknown_adapter(name: str, known: Iterable[str]) -> UsageError:
    near = nearest_names(name, known)
    if near:
        return UsageError(
            text("there is no LoRA adapter '{name}'; nearest: {nearest}", name=name, nearest=", ".join(near))
        )
    return UsageError(text("there is no LoRA adapter '{name}'; see: ansambl lora list", name=name))
