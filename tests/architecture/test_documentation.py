"""Every command, setting and engine is documented, and the pages say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_problems import table_type
from ansambl.cli.main import command_names, make_app
from ansambl.engines.registry import ENGINES

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
_NAMED = re.compile(r"\bansambl (?!import\b(?!-))([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_ROOM = re.compile(r"`([a-z_]+(?:\.[a-z_*]+)*)`")
_NO_ROOMS = {"ansambl", "ansambl.toml", "page.js", "page.css", "fifo", "lru"}
"""Written like modules on the one screen, and something else: the command, files, policies of a simulation."""


@pytest.mark.parametrize("tool", ["generate_reference.py", "compatibility_page.py", "plan_pages.py"])
def test_the_pages_that_are_made_are_current(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, f"tools/{tool}", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_setting_has_a_meaning_and_stands_on_the_page() -> None:
    page = (REFERENCE / "configuration.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        table = table_type(field.annotation)
        assert table is not None
        assert table.__doc__, name
        assert f"## `[{name}" in page
        for key, inner in table.model_fields.items():
            assert inner.description, f"{name}.{key} has no description"
            assert f"| `{key}` |" in page


@pytest.mark.parametrize("name", command_names())
def test_every_command_stands_on_the_page(name: str) -> None:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    assert re.search(rf"^## `ansambl {name}\b", page, re.MULTILINE)


@pytest.mark.parametrize("name", list(ENGINES))
def test_every_engine_has_a_page(name: str) -> None:
    page = REFERENCE / "engines" / f"{name}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"
    words = page.read_text(encoding="utf-8")
    assert words.startswith("# ")
    assert len(words) > 300


@pytest.mark.parametrize("name", list(ENGINES))
def test_the_page_of_an_engine_has_the_same_parts_and_claims_no_more_than_its_adapter(name: str) -> None:
    words = (REFERENCE / "engines" / f"{name}.md").read_text(encoding="utf-8")
    places = [words.find(f"\n## {part}\n") for part in ("What Ansambl does", "Limits", "Verified")]
    assert -1 not in places
    assert places == sorted(places)
    traits = ENGINES.get(name).traits
    verified = words[places[-1] :]
    assert ("**Not verified on the real engine**: " in words) == ("\nNot on the real engine. " in verified)
    assert ("\nNot on the real engine. " in verified) == (not traits.verified and bool(traits.documented))
    for version in re.findall(r"\d+\.[\d.]+\d|(?<=b)\d{4,}", traits.verified):
        assert version in verified


def test_every_command_that_a_page_or_a_sentence_names_exists() -> None:
    commands = typer.main.get_command(make_app()).commands
    known = {name: set(getattr(one, "commands", ())) for name, one in commands.items()}
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    named = [(file, *found) for file in files for found in _NAMED.findall(file.read_text(encoding="utf-8"))]
    assert len(named) > 100
    wrong = [
        f"{file.relative_to(ROOT)}: ansambl {name} {inner}"
        for file, name, inner in named
        if name not in known or (inner and known[name] and inner not in known[name])
    ]
    assert wrong == []


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in _LINK.findall(page.read_text(encoding="utf-8"))]
    inner = [(page, link) for page, link in links if "://" not in link and not link.startswith("mailto:")]
    assert [f"{page.relative_to(ROOT)}: {link}" for page, link in inner if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_list_of_all_pages_once() -> None:
    folder = ROOT / "docs"
    listed = [link for link in _LINK.findall((folder / "README.md").read_text(encoding="utf-8")) if ".." not in link]
    pages = {str(page.relative_to(folder)) for page in folder.rglob("*.md")}
    # Decisions are listed as a folder, engines by their own page.
    left_out = {one for one in pages if one.startswith(("decisions/", "reference/engines/"))} | {"README.md"}
    assert sorted(listed) == sorted((pages - left_out) | {"decisions", "reference/engines/README.md"})


def test_the_one_screen_names_every_package_and_nothing_that_is_gone() -> None:
    screen = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "ansambl"
    packages = {one.parent.name for one in source.rglob("__init__.py")} - {"ansambl"}
    assert [one for one in sorted(packages) if not re.search(rf"\b{one}\b", screen)] == []
    known = packages | {one.stem for one in source.rglob("*.py")}
    named = set(_ROOM.findall(screen)) - _NO_ROOMS
    assert len(named) > 100
    assert [one for one in sorted(named) if not set(one.removesuffix(".*").split(".")) <= known] == []
