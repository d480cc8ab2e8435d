"""The examples of the README and the docs run: settings are read, commands and programs run against the product."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from product import Started, environment

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings_file import load_settings
from ansambl.hardware.catalog import load_machine
from ansambl.hardware.prices import load_parts, shipped_parts

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w-]+\.toml)\n")
_OWN_FILES = {"ansambl.toml"}
"""The product's own configuration is not taken from a page, but for those of `STARTED_BY`."""
STARTED_BY = {"docs/how-to/run-several-models.md": "two-models.toml"}
"""Pages whose commands are run against a product that was started with a file of the page."""
_NOT_RUN = {
    "up": "the product runs already",
    "uninstall": "would remove the data folder that the other examples use",
}


@dataclass(frozen=True)
class Example:
    """One fenced block of a page."""

    page: str
    number: int
    language: str
    content: str

    def __str__(self) -> str:
        return f"{self.page}:{self.number}"


def examples() -> Iterator[Example]:
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))):
        content = path.read_text(encoding="utf-8")
        for match in _FENCE.finditer(content):
            line = content[: match.start()].count("\n") + 1
            yield Example(str(path.relative_to(ROOT)), line, match[1], match[2])


ALL = tuple(examples())


def of(*languages: str) -> list[Example]:
    return [one for one in ALL if one.language in languages]


def test_every_language_of_an_example_is_known():
    """A block in a language that no test here runs would be an example that nobody checks."""
    known = {"sh", "console", "toml", "python", "text", "json", "yaml"}
    assert {str(one) for one in ALL if one.language not in known} == set()


MACHINES = [one for one in of("toml") if one.content.startswith("# machine file")]
PRICES = [one for one in of("toml") if one.content.startswith("# price file")]
CONFIGURATIONS = [one for one in of("toml") if one not in MACHINES and one not in PRICES]


@pytest.mark.parametrize("example", MACHINES, ids=str)
def test_a_machine_file_is_valid(example, tmp_path):
    file = tmp_path / "machine.toml"
    file.write_text(example.content, encoding="utf-8")
    assert load_machine(file).ram.memory > 0


@pytest.mark.parametrize("example", PRICES, ids=str)
def test_a_price_file_is_valid(example, tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(example.content, encoding="utf-8")
    assert load_parts(file) != shipped_parts()


@pytest.mark.parametrize("example", CONFIGURATIONS, ids=str)
def test_a_configuration_is_valid(example, tmp_path):
    file = tmp_path / "ansambl.toml"
    file.write_text(example.content, encoding="utf-8")
    assert catalog_of(load_settings(file)).models


@pytest.mark.parametrize("example", of("sh"), ids=str)
def test_a_shell_block_is_well_formed_and_its_make_targets_exist(example):
    assert subprocess.run(["sh", "-n"], input=example.content, text=True, check=False).returncode == 0
    for line in example.content.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            _check_target(words[1])


@pytest.mark.parametrize("example", of("yaml"), ids=str)
def test_a_file_for_other_programs_is_yaml(example):
    assert isinstance(yaml.safe_load(example.content), dict)


def _check_target(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make {target}"


def named_file(example: Example) -> str | None:
    """The name of the file that a page has its reader write: the first line of a block that is a comment with one."""
    found = _FILE_NAME.match(example.content)
    return found[1] if found and found[1] not in _OWN_FILES else None


_CONVERSATION = {
    "title": "About trees", "create_time": 1754500000.0, "update_time": 1754500100.0, "conversation_id": "67f-1",
    "current_node": "b",
    "mapping": {
        "root": {"id": "root", "message": None, "parent": None, "children": ["a"]},
        "a": {"id": "a", "parent": "root", "children": ["b"], "message": {
            "id": "a", "author": {"role": "user"}, "create_time": 1754500000.0,
            "content": {"content_type": "text", "parts": ["What is a maple?"]}}},
        "b": {"id": "b", "parent": "a", "children": [], "message": {
            "id": "b", "author": {"role": "assistant"}, "create_time": 1754500100.0,
            "content": {"content_type": "text", "parts": ["A maple is a tree with lobed leaves."]}}},
    },
}  # fmt: skip


def write_documents(folder: Path) -> None:
    """What the pages about documents take for granted: a folder of notes, and an export as ChatGPT writes it."""
    notes = folder / "notes"
    notes.mkdir()
    (notes / "trees.md").write_text("# Trees\n\nMaples are cut in late summer.\n", encoding="utf-8")
    (folder / "conversations.json").write_text(json.dumps([_CONVERSATION]), encoding="utf-8")


def run_commands(product: Started, pages: Collection[str]) -> list[list[str]]:
    """Run the commands of some pages against the product; returns those that stop it, which are left out."""
    last: list[list[str]] = []
    for one in CONFIGURATIONS:
        if one.page in pages and (name := named_file(one)):
            (product.data.parent / name).write_text(one.content, encoding="utf-8")
    for example in of("console"):
        for line in example.content.splitlines() if example.page in pages else ():
            if not line.startswith("$ "):
                continue
            words = shlex.split(line[2:], comments=True)
            if words[0] == "make":
                _check_target(words[1])
            elif words[0] == "source":
                assert words[1] == ".venv/bin/activate"
            elif words[0] == "ansambl" and words[1] == "down":
                last.append(words)
            elif words[0] == "ansambl" and not set(words) & set(_NOT_RUN):
                ended = product.command(*words[1:])
                assert ended.returncode == 0, f"{example}: {line}: {ended.stderr}"
                assert ended.stdout.strip() or "chat" in words, f"{example}: {line} printed nothing"
            else:
                assert set(words) & set(_NOT_RUN), f"{example}: nobody checks {line}"
    return last


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_commands_of_the_pages_run(start):
    """Some fifty commands; on a busy machine with two cores they were seen to take four minutes."""
    product = start()
    write_documents(product.data.parent)
    assert run_commands(product, {one.page for one in ALL} - set(STARTED_BY))
    assert product.command("down").returncode == 0


@pytest.mark.engine
@pytest.mark.parametrize(("page", "file"), STARTED_BY.items())
def test_commands_of_a_page_run_with_its_own_configuration(start, page, file):
    (example,) = (one for one in CONFIGURATIONS if one.page == page and named_file(one) == file)
    product = start(example.content)
    run_commands(product, {page})
    assert product.command("down").returncode == 0


@pytest.mark.engine
@pytest.mark.parametrize("example", of("python"), ids=str)
def test_a_program_of_the_pages_runs(example, start, tmp_path):
    product = start()
    program = tmp_path / "example.py"
    program.write_text(example.content.replace("http://127.0.0.1:8484", product.address), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(program)], env=environment(product.data), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    # Without documents a search prints nothing.
    assert "from mcp" in example.content or "prompt tokens were in the cache" in ended.stdout
