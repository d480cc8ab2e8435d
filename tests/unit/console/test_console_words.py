"""The sentences of the console's scripts: all that are said exist, and all that exist are said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ansambl.console
from ansambl.console.assets import load_assets
from ansambl.console.pages import PAGES
from ansambl.console.pages.roles import EDITOR
from ansambl.console.words import common_words

FOLDER = Path(ansambl.console.__file__).parent
ASSETS = load_assets(FOLDER / "static")
# `$say` is what templates call; pages of roles have a `told` of their own, whose first argument is a key.
SAID = re.compile(r"""(?:\bsay|\btold)\(["'](\w+)["']""")
QUOTED = re.compile(r"""["'`](\w+)["'`]""")
FIELD = re.compile(r"\b(\w+):")
# `state_${…}`, "state_" + …; and `${…}_hint`.
BEGINNING = re.compile(r"""["'`](\w+_)(?:\$\{|["'])""")
END = re.compile(r"\}(_\w+)`")


def sources_of(page):
    """What may say a sentence of `page`: its modules, what they import, and its templates."""
    script = f"pages/{page.script}" if page.script else "lib/plain.js"
    names = [one for one in (script, *ASSETS.modules_of(script)) if not one.startswith("vendor/")]
    written = [ASSETS.by_name[one].content.decode() for one in names]
    templates = sorted((FOLDER / "templates" / page.key).glob("*.html"))
    return "\n".join(written + [one.read_text(encoding="utf-8") for one in templates])


def says(source, key):
    """Whether `source` names `key`, whole or put together from a part that is written there."""
    return (
        key in QUOTED.findall(source)
        or key in FIELD.findall(source)
        or any(key.startswith(one) for one in BEGINNING.findall(source))
        or any(key.endswith(one) for one in END.findall(source))
        or ("}_${" in source and set(key.split("_")) <= set(QUOTED.findall(source)))
    )


@pytest.mark.parametrize("page", [*PAGES, EDITOR], ids=lambda one: one.script)
def test_scripts_say_only_sentences_that_exist(page):
    said = set(SAID.findall(sources_of(page)))
    assert said
    assert said <= {*common_words(str), *page.words(str)}


@pytest.mark.parametrize("page", [*PAGES, EDITOR], ids=lambda one: one.script)
def test_every_sentence_of_a_page_is_said_by_it(page):
    source = sources_of(page)
    assert [key for key in page.words(str) if not says(source, key)] == []


def test_every_common_sentence_is_said_by_what_pages_share():
    names = [one for one in ASSETS.by_name if one.startswith(("lib/", "pages/")) and one.endswith(".js")]
    source = "\n".join(ASSETS.by_name[one].content.decode() for one in names)
    assert [key for key in common_words(str) if not says(source, key)] == []


@pytest.mark.parametrize("page", [*PAGES, EDITOR], ids=lambda one: one.script)
def test_no_page_writes_a_common_sentence_again(page):
    assert not common_words(str).keys() & page.words(str).keys()
