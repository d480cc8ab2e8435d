"""Which lines of the readers the kept inputs reach: ``python fuzz/replay.py`` after a run of the harnesses.

The fuzzer's own figures count branches of everything that it watches; these are lines of the files at issue.
"""

from __future__ import annotations

import dis
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
READERS = {
    "gguf": ("model_catalog.gguf", "model_catalog.gguf_model"),
    "safetensors": ("model_catalog.safetensors",),
    "config_json": ("model_catalog.config_json", "model_catalog.parameter_count"),
    "lora": tuple(f"model_catalog.lora.{name}" for name in ("peft", "gguf_adapter", "fitting", "convert", "names")),
    "machine_toml": ("hardware.machine_files", "hardware.toml_fields"),
}


def functions(module: ModuleType) -> Iterator[CodeType]:
    """The code of every function of a module, inner ones included."""
    content = Path(str(module.__file__)).read_bytes()
    waiting = [one for one in compile(content, str(module.__file__), "exec").co_consts if isinstance(one, CodeType)]
    while waiting:
        code = waiting.pop()
        if code.co_flags & 0x2:
            yield code
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]


def replay(harness: str, corpus: Path) -> None:
    """Print how many inputs the corpus has and the share of lines that they reach, for each reader."""
    one_input = importlib.import_module(f"fuzz_{harness}").one_input
    modules = [importlib.import_module(f"ansambl.{name}") for name in READERS[harness]]
    reached: set[tuple[str, int]] = set()
    files = {str(module.__file__) for module in modules}

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            reached.add((frame.f_code.co_filename, frame.f_lineno))
        return watch

    inputs = sorted(corpus.iterdir())
    sys.settrace(watch)
    try:
        for path in inputs:
            one_input(path.read_bytes())
    finally:
        sys.settrace(None)
    for module in modules:
        file = str(module.__file__)
        # The first line of a function is its definition, which runs at import.
        lines = {
            (file, line) for code in functions(module) for _, line in dis.findlinestarts(code)
            if line and line != code.co_firstlineno
        }  # fmt: skip
        missed = sorted(line for _, line in lines - reached)
        share = 100 * len(lines & reached) / len(lines)
        reached_share = f"{share:.1f} % of {len(lines)} lines of {module.__name__}"
        sys.stdout.write(f"{harness}: {len(inputs)} inputs, {reached_share}; not reached: {missed}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    for name in READERS:
        replay(name, HERE.parent / ".venv" / "fuzz" / "corpus" / name)
