"""Which engine runs a configured model here: what its owner named, else what its checkpoint's format asks for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ansambl.app.configuration.settings import AUTO, BUNDLED_ENGINE, COMMAND_ENGINE, EMBEDDED, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import engine_settings, placement
from ansambl.domain.catalog import CatalogModel, ModelKind
from ansambl.domain.engine import Installed, NotUsable, Surroundings
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.hardware import Machine
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.engines.registry import get_engine
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.model_catalog.catalog import catalog

LLAMA_CPP = "llama.cpp"
"""The engine of GGUF files where its own program finds a GPU; without one the bundled build does the same."""

_BY_FORMAT = {"safetensors": ("vllm", "sglang", "transformers"), "exl3": ("exllamav3",), "mlx": ("mlx",)}
"""The engines that are tried for a format, the best one first."""
_VENDORS = {"cuda": "nvidia", "rocm": "amd", "metal": "apple", "xpu": "intel"}
_ONLY_CPU = "cpu"
# What the file of a model that scores two texts says of its pooling.
_SCORES = "rank"
_LOOK_AGAIN = 5.0
"""Seconds; a program that hangs takes long to be found unusable, and several questions come together."""


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """The registered name of an engine and what was found of it."""

    name: str
    installed: Installed


class EngineFinder:
    """Looks for engines on this machine, each until it was found.

    Args:
        loaded: the configuration, which may name programs.
        paths: where Ansambl installed engines.
        machine: looks at the hardware; only asked when an engine needs to know it.
    """

    def __init__(
        self, loaded: LoadedSettings, paths: DataPaths, machine: Callable[[], Machine] = inventory.detect
    ) -> None:
        self._loaded = loaded
        self._paths = paths
        self._look = machine
        self._found: dict[str, tuple[Installed | NotUsable, float]] = {}

    @cached_property
    def machine(self) -> Machine:
        """This machine's hardware."""
        return self._look()

    def around(self, engine: str) -> Surroundings:
        """Where the adapter of `engine` looks."""
        return Surroundings(
            machine=self.machine, engines_folder=str(self._paths.engines),
            program=engine_settings(self._loaded.settings, engine).program, search_path=os.environ.get("PATH"),
        )  # fmt: skip

    def find(self, engine: str) -> Installed | NotUsable:
        """Whether the engine of this registered name can be used here.

        What could not be used is looked for again after a while: it may have been installed, or mended, meanwhile.
        """
        known, looked = self._found.get(engine, (None, 0.0))
        if isinstance(known, Installed) and (known.path is None or Path(known.path).exists()):
            return known
        if isinstance(known, NotUsable) and time.monotonic() - looked < _LOOK_AGAIN:
            return known
        found = get_engine(engine).detect(self.around(engine))
        self._found[engine] = found, time.monotonic()
        return found

    def choose(self, name: str, checkpoint: Checkpoint | None) -> ChosenEngine:
        """The engine for the model `name`, which runs here.

        Raises:
            NotSupportedError: the engine that was named cannot be used here, or none can run the checkpoint's format;
                the message says what would change that.
        """
        model = self._loaded.settings.models[name]
        if model.command is not None:
            return self._usable(name, COMMAND_ENGINE)
        if model.engine != AUTO:
            return self._named(name, model)
        if model.checkpoint == EMBEDDED:
            return self._usable(name, BUNDLED_ENGINE)
        form = checkpoint.format if checkpoint is not None else "gguf"
        if form == "gguf":
            found = self.find(LLAMA_CPP)
            if isinstance(found, Installed) and uses_gpus(found):
                return ChosenEngine(LLAMA_CPP, found)
            return self._usable(name, BUNDLED_ENGINE)
        return self._by_format(name, form)

    def _named(self, name: str, model: ModelSettings) -> ChosenEngine:
        wanted = get_engine(model.engine).traits.name
        if wanted == LLAMA_CPP and engine_settings(self._loaded.settings, wanted).program is None:
            found = self.find(wanted)
            # The bundled one is llama.cpp, too; who wants no other names its program.
            return ChosenEngine(wanted, found) if isinstance(found, Installed) else self._usable(name, BUNDLED_ENGINE)
        return self._usable(name, wanted)

    def _by_format(self, name: str, form: str) -> ChosenEngine:
        reasons: list[NotUsable] = []
        for engine in _BY_FORMAT.get(form, ()):
            found = self.find(engine)
            if isinstance(found, Installed):
                return ChosenEngine(engine, found)
            reasons.append(found)
        if not reasons:
            raise NotSupportedError(
                text("models.{model}: no engine here runs {format} files; choose another checkpoint", model=name,
                     format=form)
            )  # fmt: skip
        raise NotSupportedError(_not_usable(name, reasons[0]))

    def _usable(self, name: str, engine: str) -> ChosenEngine:
        found = self.find(engine)
        if isinstance(found, NotUsable):
            raise NotSupportedError(_not_usable(name, found))
        return ChosenEngine(engine, found)


def uses_gpus(installed: Installed) -> bool:
    """Whether what was found was built for GPUs; of an engine that does not tell it is not taken for granted."""
    return installed.build not in {None, _ONLY_CPU}


def _not_usable(name: str, found: NotUsable) -> Text:
    return text("models.{model}: {reason}; {fix}", model=name, reason=found.reason, fix=found.how_to_fix)


def place(
    loaded: LoadedSettings, name: str, checkpoint: Checkpoint | None, finder: EngineFinder,
    loras: tuple[LoraAdapter, ...] = (),
) -> Placement:  # fmt: skip
    """How the model `name`, which has no address, is to be run here.

    Raises:
        AnsamblError: no engine can run it here, or its configuration contradicts itself.
    """
    chosen = finder.choose(name, checkpoint)
    model = loaded.settings.models[name]
    card = card_of(checkpoint)
    gpus, vendor = _gpus(model, chosen, finder)
    return replace(
        placement(loaded, name, checkpoint, chosen.name), installed=chosen.installed, gpus=gpus, vendor=vendor,
        loras=loras, known_as=card.name if card else None, kind=card.kind if card else _kind(checkpoint),
    )  # fmt: skip


def _gpus(model: ModelSettings, chosen: ChosenEngine, finder: EngineFinder) -> tuple[tuple[int, ...], str]:
    """The GPUs that the found build can use: those that were named, else all of one vendor."""
    build = chosen.installed.build
    if not uses_gpus(chosen.installed) or model.gpus == ():
        return model.gpus or (), "none"
    gpus = finder.machine.gpus
    vendor = _VENDORS.get(build or "") or (gpus[0].vendor.lower() if gpus else "none")
    own = tuple(one.index for one in gpus if vendor in one.vendor.lower())
    return (model.gpus if model.gpus is not None else own), vendor


def card_of(checkpoint: Checkpoint | None) -> CatalogModel | None:
    """The catalog's entry of a checkpoint that came from a repository which it knows."""
    return None if checkpoint is None or checkpoint.repo is None else card_of_repo(checkpoint.repo)


def card_of_repo(repo: str) -> CatalogModel | None:
    """The catalog's entry of the model of a repository, its own or one that offers it in another format."""
    wanted = repo.lower()
    return next(
        (one for one in catalog().values()
         if wanted == one.repo.lower() or any(wanted == place.repo.lower() for place in one.downloads)), None,
    )  # fmt: skip


def _kind(checkpoint: Checkpoint | None) -> ModelKind | None:
    """What files alone tell: an encoder, and what was made to pool a whole text, makes vectors and answers no chat."""
    pooling = checkpoint.pooling if checkpoint is not None else None
    if pooling is not None:
        return ModelKind.RERANKER if pooling == _SCORES else ModelKind.EMBEDDING
    architecture = checkpoint.architecture if checkpoint is not None else None
    return ModelKind.EMBEDDING if architecture is not None and "bert" in architecture.lower() else None
