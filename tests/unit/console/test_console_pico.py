"""Pico as the console sends it is made by its tool, and lacks nothing that a page of ours has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ansambl.console

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(ansambl.console.__file__).parent
TOOL = ROOT / "tools" / "trim_pico.py"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOL.parent))
    try:
        import trim_pico
    finally:
        sys.path.remove(str(TOOL.parent))
    return trim_pico


@pytest.fixture(scope="module")
def templates():
    return "".join(one.read_text(encoding="utf-8") for one in (FOLDER / "templates").rglob("*.html"))


@pytest.fixture(scope="module")
def scripts():
    return "".join(
        one.read_text(encoding="utf-8") for one in (FOLDER / "static").rglob("*.js") if one.parent.name != "vendor"
    )


def test_the_file_is_what_the_tool_writes():
    found = subprocess.run([sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_no_page_has_what_its_rules_were_left_out_for(tool, templates, scripts):
    """If one has it now: take its name out of NEVER, and run tools/trim_pico.py."""
    never = {kind: set(names.split()) for kind, names in tool.NEVER.items()}
    made = set(re.findall(r"""\b(?:el|createElement|createElementNS)\(\s*[^()]*?["']([a-z][a-z0-9]*)["']""", scripts))
    assert {"option", "li"} & made or made
    assert never["element"] & (made | set(re.findall(r"<([a-z][a-z0-9]*)", templates))) == set()

    said = re.findall(r'class(?:Name|List)?[^"\n]*"([^"\n]*)"', templates + scripts)
    assert never["class"] & {word for one in said for word in re.findall(r"[\w-]+", one)} == set()

    for attribute in never["attribute"]:
        name, _, value = attribute.partition("=")
        written = rf'\b{name}="{value}"' if value else rf"\b{name}\b"
        assert re.findall(written, templates) == [], attribute
        properties = re.findall(rf'\b{name}(?:: | = |", )"{value}"', scripts) if value else re.findall(name, scripts)
        assert properties == [], attribute


def test_every_variable_that_is_read_is_set(tool):
    made = tool.MADE.read_text(encoding="utf-8")
    site = (FOLDER / "static" / "site.css").read_text(encoding="utf-8")
    own = "".join(one.read_text(encoding="utf-8") for one in (FOLDER / "static" / "pages").rglob("*.css"))
    known = set(re.findall(r"(--pico-[\w-]+):", made + site + own))
    source = tool.SOURCE.read_text(encoding="utf-8")
    # Pico itself reads some that nobody sets, so that one may set them; with what is there instead, or without.
    open_ones = set(re.findall(r"var\((--pico-[\w-]+)", source)) - set(re.findall(r"(--pico-[\w-]+):", source))
    assert set(re.findall(r"var\((--pico-[\w-]+)", made + site + own)) - known <= open_ones


def test_the_licence_stands_at_its_head(tool):
    made = tool.MADE.read_text(encoding="utf-8")
    assert made.startswith("/*!\n * Pico CSS")
    assert "Licensed under MIT" in made[:200]
    assert len(made) < len(tool.SOURCE.read_text(encoding="utf-8")) * 0.6


@pytest.mark.parametrize(
    ("selector", "met"),
    [
        ("a", "a"), ("hgroup>*", ""), ("a.secondary:hover", ""), (":is(button,[type=reset]).outline", ""),
        (":where(button,[type=reset])[disabled]", ":where(button)[disabled]"),
        (":is(button,[type=reset]):focus", ":is(button,[type=reset]):focus"), (":where(iframe)", ""),
        ("input:not([type=color],[type=file])", "input:not([type=color],[type=file])"), ("[data-tooltip]::after", ""),
        ("[data-tooltip][data-placement=top]", ""), (":host(:not([data-theme]))", ""), ("[role=search]>*", ""),
        ("[role=group]>*", "[role=group]>*"), ("[type=radio],sup", "[type=radio]"),
    ],
)  # fmt: skip
def test_a_selector_is_left_out_where_nothing_can_meet_it(tool, selector, met):
    assert ",".join(filter(None, map(tool.met, tool.parts(selector)))) == met


def test_our_own_sheet_is_read_as_it_is_written(tool):
    site = """:root { --a:1 }\n@media (x) { :root { --b: ; --c:2 } }
    /* It's theirs. */\n:root, :root[data-theme=dark] {\n  --d:1; --e:"a;}b" /* why */;\n}\np { --f:3 }"""
    assert tool.set_by_us(site) == {"--d", "--e"}
    with pytest.raises(ValueError, match="has no rule"):
        tool.set_by_us("p { --f:3 }")


def test_a_sheet_is_read_whole_and_loses_what_is_said_twice_or_to_nobody(tool):
    source = (
        '@charset "UTF-8";/*! one\n */:root{--a:1;--b:url("x;}y");--c:var(--b);--d:2}[data-theme=dark]{--a:3}'
        "@media (width>1px){kbd{color:red}p{color:var(--a)}}p{margin:var(--d)}@keyframes gone{to{top:0}}"
        "@keyframes kept{to{top:0}}b{animation:kept 1s}"
    )
    assert tool.trimmed(source, "", ":root[data-theme=dark]{--d:4}") == (
        "/*! one\n * Without what no page of Ansambl's console has, by tools/trim_pico.py\n */"
        ":root{--a:1}[data-theme=dark]{--a:3}@media (width>1px){p{color:var(--a)}}p{margin:var(--d)}"
        "@keyframes kept{to{top:0}}b{animation:kept 1s}\n"
    )
