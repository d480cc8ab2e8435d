"""The LoRA adapters of a data folder: one folder each, with a manifest that says what lies in it.

A manifest beside the files, as checkpoints have one, and no table: what is there is what can be used, also after the
database was lost or put back from an older copy, and a folder appears and goes in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from ansambl.domain.errors import DataFolderError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER, write_atomically
from ansambl.model_catalog.lora.peft import CONFIG, WEIGHTS
from ansambl.model_catalog.lora.records import GGUF, PEFT, LoraFile

MANIFEST = "ansambl-lora.json"
"""Written into an adapter's folder as its last file."""
GGUF_FILE, PEFT_FOLDER = "adapter.gguf", "peft"
_INCOMING, _LOCK = ".incoming", ".lock"
_MAX_MANIFEST = 4 << 20
_Word = Annotated[str, msgspec.Meta(max_length=4096)]


class Manifest(msgspec.Struct, frozen=True):
    """What an adapter's folder says of itself; `files` maps a format to what lies there, relative to the folder."""

    name: _Word
    model: _Word
    files: dict[str, str]
    rank: int
    size: int
    identity: _Word
    alpha: float | None = None
    base: _Word | None = None
    targets: tuple[str, ...] = ()
    invocation: tuple[int, ...] = ()


class LoraFolders:
    """Keeps, lists and deletes adapters below one folder. Calls block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> tuple[LoraAdapter, ...]:
        """Every adapter that is whole, by name."""
        found = [self._read(path.parent) for path in sorted(self.folder.glob(f"[!.]*/{MANIFEST}"))]
        return tuple(one for one in found if one is not None)

    def _read(self, folder: Path) -> LoraAdapter | None:
        try:
            with (folder / MANIFEST).open("rb") as file:
                manifest = msgspec.json.decode(file.read(_MAX_MANIFEST), type=Manifest)
        except (OSError, ValueError, RecursionError):
            return None
        files = {form: folder / name for form, name in manifest.files.items() if name in {GGUF_FILE, PEFT_FOLDER}}
        if manifest.name != folder.name or not files or not all(path.exists() for path in files.values()):
            return None
        return LoraAdapter(
            name=manifest.name, model=manifest.model, files={form: str(path) for form, path in files.items()},
            rank=manifest.rank, size=Bytes(manifest.size), identity=manifest.identity, alpha=manifest.alpha,
            base=manifest.base, targets=manifest.targets, invocation=manifest.invocation,
        )  # fmt: skip

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Held while something changes; waits for another process that changes something.

        Raises:
            DataFolderError: the folder cannot be written.
        """
        with self._written(), contextlib.ExitStack() as stack:
            self.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            file = stack.enter_context(
                os.fdopen(os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE), "rb")
            )
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def incoming(self, name: str) -> Iterator[Path]:
        """An empty folder to put an adapter's files into; it is gone after the block if it was not kept.

        What an interrupted command left is deleted. Only under `locked`.

        Raises:
            DataFolderError: it cannot be written.
        """
        with self._written():
            shutil.rmtree(self.folder / _INCOMING, ignore_errors=True)
            made = self.folder / _INCOMING / name
            made.parent.mkdir(mode=PRIVATE_FOLDER)
            made.mkdir(mode=PRIVATE_FOLDER)
            try:
                yield made
            finally:
                shutil.rmtree(self.folder / _INCOMING, ignore_errors=True)

    def copy(self, source: LoraFile, incoming: Path) -> Path:
        """Copy an adapter's files into the `incoming` folder, for us alone, and return what to read there.

        Raises:
            OSError: it cannot be read or written.
        """
        if source.format == GGUF:
            _copy(Path(source.path), incoming / GGUF_FILE)
            return incoming / GGUF_FILE
        folder = incoming / PEFT_FOLDER
        folder.mkdir(mode=PRIVATE_FOLDER)
        for name in (CONFIG, WEIGHTS):
            _copy(Path(source.path) / name, folder / name)
        return folder

    def keep(self, incoming: Path, found: LoraFile, name: str, model: str) -> LoraAdapter:
        """Turn the `incoming` folder into the adapter `name` of `model`, in one step; `found` was read from it.

        Raises:
            OSError: it cannot be written, or something of that name is there.
        """
        files = {form: place for form, place in ((PEFT, PEFT_FOLDER), (GGUF, GGUF_FILE)) if (incoming / place).exists()}
        for path in incoming.rglob("*"):
            if path.is_file():
                path.chmod(PRIVATE_FILE)
        size = sum(path.stat().st_size for path in incoming.rglob("*") if path.is_file())
        manifest = Manifest(
            name=name, model=model, files=files, rank=found.rank, size=size, identity=found.identity,
            alpha=found.alpha, base=found.base, targets=found.targets, invocation=found.invocation,
        )  # fmt: skip
        write_atomically(incoming / MANIFEST, msgspec.json.encode(manifest))
        # Something without a manifest is what a broken disk or a hand left; it is nobody's adapter.
        target = self.folder / name
        if not (target / MANIFEST).exists():
            shutil.rmtree(target, ignore_errors=True)
        incoming.rename(target)
        kept = self._read(target)
        if kept is None:
            raise DataFolderError(text("the LoRA adapter {name} cannot be read back; look at the disk", name=name))
        return kept

    def remove(self, adapter: LoraAdapter) -> None:
        """Delete an adapter: it is gone in one step, its files then.

        Raises:
            DataFolderError: it cannot be deleted.
        """
        with self._written():
            shutil.rmtree(self.folder / _INCOMING, ignore_errors=True)
            (self.folder / _INCOMING).mkdir(mode=PRIVATE_FOLDER)
            (self.folder / adapter.name).rename(self.folder / _INCOMING / adapter.name)
            shutil.rmtree(self.folder / _INCOMING, ignore_errors=True)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            raise DataFolderError(
                text("LoRA adapters cannot be kept in {folder} ({reason}); make it writable or free some space, or "
                     "choose another data folder with ANSAMBL_DATA", folder=str(self.folder),
                     reason=failure.strerror or type(failure).__name__)
            ) from failure  # fmt: skip


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as output, source.open("rb") as file:
        shutil.copyfileobj(file, output, 1 << 20)
        output.flush()
        os.fsync(output.fileno())
