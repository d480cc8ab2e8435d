"""Pages use nothing that the oldest supported browsers lack: Safari 17, Chrome 114, Firefox 125."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ansambl.app
import ansambl.console

OWN = [
    *(Path(ansambl.console.__file__).parent / "static").rglob("*"),
    *(Path(ansambl.console.__file__).parent / "templates").rglob("*.html"),
    *(Path(ansambl.app.__file__).parent / "page_templates").rglob("*.html"),
]
# What has it at the earliest, by MDN's tables of compatibility.
TOO_NEW = {
    r"light-dark\(": "Safari 17.5, Chrome 123",
    r"(?m)^\s*&|\{\s*&": "nested rules without their limits: Safari 17.2, Chrome 120",
    r"@scope|@starting-style|field-sizing:|text-wrap:|interpolate-size|position-anchor": "styles of 2024 and later",
    r"<details[^>]* name=": "Safari 17.2, Firefox 130",
    r"requestIdleCallback": "no Safari",
    r"Promise\.(?:withResolvers|try)\b|Object\.groupBy|Map\.groupBy": "Safari 17.4 and later",
    r"AbortSignal\.any\(": "Safari 17.4, Chrome 116",
    r"URL\.(?:canParse|parse)\(": "Safari 18, Chrome 126",
    r"for await \([^)]*\bof [\w.]*\b(?:body|stream|readable)\)": "reading a stream by a loop: no Safari",
    r"Array\.fromAsync|\.(?:isSubsetOf|symmetricDifference|isDisjointFrom)\(|Iterator\.from": "Chrome 121 and later",
    r"Uint8Array\.fromBase64|RegExp\.escape|Error\.isError": "2025 and later",
}  # fmt: skip


@pytest.mark.parametrize("pattern", TOO_NEW, ids=list(TOO_NEW.values()))
def test_nothing_is_too_new(pattern):
    files = [one for one in OWN if one.suffix in {".js", ".css", ".html"} and "vendor" not in one.parts]
    assert len(files) > 60
    found = [f"{one.name}: {hit[0]}" for one in files for hit in re.finditer(pattern, code(one))]
    assert found == []


def code(file: Path) -> str:
    """What is in a file without its remarks, which may name what is not used."""
    return re.sub(r"/\*[\s\S]*?\*/", "", file.read_text(encoding="utf-8"))
