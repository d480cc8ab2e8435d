"""Reading a LoRA adapter of either format, by what lies at its path."""

from __future__ import annotations

from pathlib import Path

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.model_catalog.lora.failures import unusable
from ansambl.model_catalog.lora.gguf_adapter import read_gguf
from ansambl.model_catalog.lora.peft import CONFIG, PICKLED, WEIGHTS, read_peft
from ansambl.model_catalog.lora.records import LoraFile


def read_adapter(path: Path, *, hashed: bool = True) -> LoraFile:
    """Read the adapter at `path`: a folder as PEFT saves it (or a file of it), a GGUF file, or a folder with one.

    Raises:
        UsageError: there is no adapter, or it is damaged.
        NotSupportedError: it is of a kind that engines do not load.
    """
    if not path.exists():
        raise UsageError(
            text("the LoRA adapter {path} does not exist; give a folder with {name}, or a GGUF file", path=str(path),
                 name=CONFIG)
        )  # fmt: skip
    if path.is_file() and path.name in {CONFIG, WEIGHTS, PICKLED}:
        path = path.parent
    if path.is_file():
        return read_gguf(path, hashed=hashed)
    if not path.is_dir():
        raise unusable(path, text("it is neither a file nor a folder"))
    if (path / CONFIG).exists():
        return read_peft(path, hashed=hashed)
    files = sorted(path.glob("*.gguf"))[:5]
    if len(files) == 1:
        return read_gguf(files[0], hashed=hashed)
    if files:
        raise unusable(
            path, text("it holds several GGUF files ({names}); give one of them",
                       names=", ".join(one.name for one in files))
        )  # fmt: skip
    raise unusable(path, text("there is no {name} and no GGUF file in it", name=CONFIG))
