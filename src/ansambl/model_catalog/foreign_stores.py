"""Models that Ollama and LM Studio keep on this machine: found and read where they lie, never written to or deleted.

Ollama's store (its server's manifest package): ``manifests/HOST/NAMESPACE/NAME/TAG`` are JSON files that list layers;
a layer's bytes are ``blobs/sha256-…``, the weights one GGUF file. LM Studio's (its documentation, "Import models"):
``PUBLISHER/REPOSITORY/files``, in the folder that its settings name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from ansambl.foundation.paths import expanded

OLLAMA, LM_STUDIO = "ollama:", "lmstudio:"
"""How references to their models begin."""

_OLLAMA_SYSTEM = (Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/models"))
"""Where Ollama's service keeps its models when it runs as a user of its own."""
_HOST, _NAMESPACE, _TAG = "registry.ollama.ai", "library", "latest"
_LAYER = "application/vnd.ollama.image."
_MAX_MANIFEST, _MAX_TEXT, _MAX_MODELS = 1 << 20, 1 << 20, 10_000


class _Layer(msgspec.Struct, frozen=True):
    kind: Annotated[str, msgspec.Meta(max_length=400)] = msgspec.field(name="mediaType")
    digest: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    size: Annotated[int, msgspec.Meta(ge=0)]


class _Manifest(msgspec.Struct, frozen=True):
    layers: Annotated[list[_Layer], msgspec.Meta(max_length=10_000)]


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """A model of Ollama's store, all of whose files are there.

    `name` is what Ollama calls it (``"llama3.2:3b"``), `size` the bytes of weights and projectors. `settings`,
    `system` and `template` are files of its own: parameters in JSON, the system message, the template in Go's words.
    `adapters` are LoRA adapters that it always applies.
    """

    name: str
    weights: Path
    size: int
    projector: Path | None = None
    adapters: tuple[Path, ...] = ()
    settings: Path | None = None
    system: Path | None = None
    template: Path | None = None

    @property
    def files(self) -> int:
        """How many large files it is."""
        return 1 + len(self.adapters) + (self.projector is not None)


def ollama_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders where Ollama may keep models, by the variables that it reads; those that exist."""
    named, home = environment.get("OLLAMA_MODELS"), environment.get("HOME")
    places = [*([expanded(named)] if named else []), *([Path(home) / ".ollama" / "models"] if home else []),
              *_OLLAMA_SYSTEM]  # fmt: skip
    return tuple(dict.fromkeys(one for one in places if _is_folder(one / "manifests")))


def ollama_models(folder: Path) -> Iterator[OllamaModel]:
    """The models of one store, by name; one with a missing file, or that is no single GGUF file, is left out."""
    for path in sorted((folder / "manifests").glob("*/*/*/*"))[:_MAX_MODELS]:
        model = None if path.name.startswith(".") else _ollama_model(folder, path)
        if model is not None:
            yield model


def find_ollama(name: str, environment: Mapping[str, str]) -> OllamaModel | None:
    """The model that Ollama calls `name` (``:latest`` when it has no tag), in the first store that has it."""
    wanted = full_name(name).casefold()
    for folder in ollama_folders(environment):
        for one in ollama_models(folder):
            if one.name.casefold() == wanted:
                return one
    return None


def full_name(name: str) -> str:
    """What Ollama calls a model, with its tag and without its own registry's address."""
    name = name.removeprefix(f"{_HOST}/").removeprefix(f"{_NAMESPACE}/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:{_TAG}"


def _ollama_model(folder: Path, path: Path) -> OllamaModel | None:
    try:
        with path.open("rb") as file:
            manifest = msgspec.json.decode(file.read(_MAX_MANIFEST), type=_Manifest)
    except (OSError, ValueError, RecursionError):
        return None
    # Anything after a semicolon is a parameter of the type.
    layers = [(one.kind.partition(";")[0].removeprefix(_LAYER).strip(), one) for one in manifest.layers]
    large = [one for kind, one in layers if kind in {"model", "projector", "adapter"}]
    places = {one.digest: _blob(folder, one) for _, one in layers}
    models = [places[one.digest] for kind, one in layers if kind == "model"]
    if len(models) != 1 or any(places[one.digest] is None for one in large):
        return None

    def first(*kinds: str) -> Path | None:
        return next((place for kind, one in layers if kind in kinds and (place := places[one.digest])), None)

    host, namespace, name, tag = path.parts[-4:]
    parts = [*([] if host == _HOST else [host]), *([] if (host, namespace) == (_HOST, _NAMESPACE) else [namespace])]
    shown = "/".join((*parts, f"{name}:{tag}"))
    weights = models[0]
    if weights is None or not shown.isprintable():
        return None
    return OllamaModel(
        shown, weights, sum(one.size for one in large), first("projector"),
        tuple(place for kind, one in layers if kind == "adapter" and (place := places[one.digest])),
        first("params"), first("system"), first("template", "prompt"),
    )  # fmt: skip


def _blob(folder: Path, layer: _Layer) -> Path | None:
    """The file of a layer; None when it is not there or of another length."""
    # Older versions, and those of Windows, differ in the sign after the hash's name.
    for name in (layer.digest.replace(":", "-"), layer.digest):
        path = folder / "blobs" / name
        try:
            if path.stat().st_size == layer.size:
                return path
        except OSError:
            continue
    return None


def read_text(path: Path | None) -> str:
    """A small file of a store, as far as it can be read; empty where there is none."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT).decode("utf-8", "replace")
    except OSError:
        return ""


def lm_studio_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders where LM Studio may keep models; those that exist.

    Its home is what ``~/.lmstudio-home-pointer`` says, else ``~/.cache/lm-studio`` (older versions) or ``~/.lmstudio``
    (lmstudio.js, findLMStudioHome); its settings may name another folder for models.
    """
    home = environment.get("HOME")
    if not home:
        return ()
    pointer = read_text(Path(home) / ".lmstudio-home-pointer").strip()
    homes = [*([expanded(pointer)] if pointer and pointer.isprintable() else []), Path(home) / ".lmstudio",
             Path(home) / ".cache" / "lm-studio"]  # fmt: skip
    settings = [*(one / "settings.json" for one in homes), Path(home) / ".config" / "LM Studio" / "settings.json"]
    named = [chosen for one in settings if (chosen := _downloads(one))]
    return tuple(dict.fromkeys(one for one in (*named, *(one / "models" for one in homes)) if _is_folder(one)))


def _downloads(settings: Path) -> Path | None:
    class Settings(msgspec.Struct):
        folder: str | None = msgspec.field(default=None, name="downloadsFolder")

    try:
        with settings.open("rb") as file:
            chosen = msgspec.json.decode(file.read(_MAX_TEXT), type=Settings).folder
    except (OSError, ValueError, RecursionError):
        return None
    return expanded(chosen) if chosen and chosen.isprintable() else None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
