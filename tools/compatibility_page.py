"""Writes ``docs/reference/compatibility.md`` from the rows of the engines; ``--check`` fails when it is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from ansambl.domain.compatibility import CompatibilityFacts, CompatibilityRow, DeviceSelector, KnownEngine
from ansambl.engines.compatibility import compatibility_rows

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "compatibility.md"
_INTRODUCTION = """<!-- Made by tools/compatibility_page.py from the engines' compatibility.toml; change that. -->
# What works with what

`ansambl compat` answers from the rows below: which engine runs which format, quantization and family of models, on
which device, and which user interface can talk to it. The facts were collected on {collected}.

```
ansambl compat                                              # engines and devices of this machine
ansambl compat --machine rtx-4090-64g                       # of a machine that you plan for
ansambl compat openai/gpt-oss-120b --machine dgx-spark      # a model: every engine with its formats
ansambl compat openai/gpt-oss-120b --engine vllm --set engine_version=0.9
ansambl compat qwen3-32b --ui open-webui --json
ansambl compat qwen3-32b --engine vllm --set kv_type=fp8_e4m3
```

* **yes** and **slowly** come from a source; so does **no**. What no source says is **unknown**, never no.
* Each thing that is named needs a fact of its own: the family, the quantization, the format, the device, the
  interface. Among several facts the most specific one counts. One fact that says no decides.
* *From* is the first version that does it, *before* the first that does it no more. *Found in* is the oldest version
  in which somebody looked and found it: earlier ones may do it too. With `--set engine_version=X` the answer is for
  that version, else for the newest. Versions are compared as in PEP 440; llama.cpp counts builds (`b6096`).
* The exit code is 3 when `--engine` is given and the answer is no; 2 when a name or a version is not known.
* `kv_type` asks for a type of the KV cache as well.

In the tables, `gguf-quants` stands for all integer quantizations of GGUF (`Q4_K_M`, `IQ4_XS`, …), and an empty cell
for everything. Newest version looked at: {checked}.
"""


def page(facts: CompatibilityFacts) -> str:
    """The page."""
    checked = ", ".join(f"{one.title} {one.checked}" for one in facts.engines.values())
    parts = [_INTRODUCTION.format(collected=facts.collected, checked=checked)]
    for engine in facts.engines.values():
        parts.append(f"\n## {engine.title}\n\n{_names(engine)}\n\n")
        parts.append("| What | Devices | Answer | Source |\n|---|---|---|---|\n")
        parts += [_line(row) for row in facts.rows if row.engine == engine.name and not row.ui]
    parts.append("\n## User interfaces\n\n| Interface | Engines | Answer | Source |\n|---|---|---|---|\n")
    parts += _interfaces(facts)
    return "".join(parts)


def _names(engine: KnownEngine) -> str:
    names = ", ".join(f"`{one}`" for one in (engine.name, *engine.aliases))
    return f"Written as {names}."


def _line(row: CompatibilityRow) -> str:
    what = ", ".join((*row.kv_type, *row.family, *row.quantization)) or ", ".join(row.format)
    if row.kv_type:
        what = f"KV cache in {what}"
    elif row.family:
        what = f"family {what}" + (f" as {', '.join(row.format)}" if row.format else "")
    elif row.quantization and row.format:
        what = f"{what} as {', '.join(row.format)}"
    return f"| {what} | {', '.join(map(_devices, row.device))} | {_answer(row)} | {_cell(row.source)} |\n"


def _answer(row: CompatibilityRow) -> str:
    words = ["slowly" if row.verdict == "slow" else str(row.verdict.value)]
    words += [f"{name} {version}" for name, version in (("from", row.since), ("found in", row.seen),
                                                         ("before", row.until)) if version]  # fmt: skip
    answer = ", ".join(words)
    return f"{answer}: {_cell(str(row.note))}" if row.note else answer


def _devices(one: DeviceSelector) -> str:
    name = {"cuda": "CUDA", "rocm": "ROCm", "metal": "Metal", "xpu": "Intel XPU", "cpu": "processor"}[
        one.platform.value
    ]
    low = f" {one.low[0]}.{one.low[1]} and newer" if one.low else ""
    below = f" below {one.below[0]}.{one.below[1]}" if one.below else ""
    return name + low + below + (f" {' '.join(one.targets)}" if one.targets else "")


def _interfaces(facts: CompatibilityFacts) -> Iterable[str]:
    together: dict[tuple[str, str, str], list[str]] = {}
    for row in facts.rows:
        for ui in row.ui:
            key = facts.uis[ui].title, _answer(row), row.source
            together.setdefault(key, []).append(facts.engines[row.engine].title)
    for (ui, answer, source), engines in together.items():
        yield f"| {ui} | {', '.join(engines)} | {answer} | {_cell(source)} |\n"


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("*", "\\*")


def main() -> int:
    """Write the page, or compare it."""
    made = page(compatibility_rows())
    if "--check" in sys.argv[1:]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
            return 0
        print(f"{PAGE.name} is stale; run: python tools/compatibility_page.py", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
