"""The style sheets as they are sent hold the rules that were written, as a browser reads both."""

from __future__ import annotations

from pathlib import Path

import pytest

import ansambl.console
from ansambl.console.shortening import shorten_styles

STATIC = Path(ansambl.console.__file__).parent / "static"
RULES = """([written, sent]) => [written, sent].map((text) => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  // What stands in a variable is told as it was written.
  return [...sheet.cssRules].map((rule) => rule.cssText.replaceAll(", ", ","));
})"""


@pytest.fixture(scope="module")
def blank(chromium):
    page = chromium.new_page()
    yield page
    page.close()


@pytest.mark.parametrize(
    "name", ["site.css", *(f"pages/{one.parent.name}/page.css" for one in STATIC.glob("pages/*/page.css"))]
)
def test_a_browser_reads_the_same_rules(blank, name):
    source = (STATIC / name).read_text(encoding="utf-8")
    written, sent = blank.evaluate(RULES, [source, shorten_styles(source)])
    assert written
    assert sent == written
