"""Verdicts follow from findings, and languages from what people write."""

import pytest

from ansambl.domain.errors import UsageError
from ansambl.domain.languages import CODES, language_code, language_name
from ansambl.domain.review import Finding, Level, Review, ReviewVerdict
from ansambl.domain.text import text
from ansambl.hardware.catalog import load_machine


def verdict(*levels):
    findings = tuple(Finding(one, "code", text("words"), "source") for one in levels)
    return Review("model", load_machine("rtx-4080-64g"), None, None, None, findings).verdict


def test_one_thing_that_does_not_work_decides():
    assert verdict(Level.HOLDS, Level.WRONG, Level.WEAK) is ReviewVerdict.DOES_NOT_HOLD


@pytest.mark.parametrize("level", [Level.WEAK, Level.FORGOTTEN])
def test_a_remark_is_a_remark(level):
    assert verdict(Level.HOLDS, level) is ReviewVerdict.WITH_REMARKS


def test_without_remarks_it_holds():
    assert verdict(Level.HOLDS) is ReviewVerdict.HOLDS
    assert verdict() is ReviewVerdict.HOLDS


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ru", "ru"),
        ("RU", "ru"),
        ("ru-RU", "ru"),
        ("pt_BR", "pt"),
        (" Russian ", "ru"),
        ("русский", "ru"),
        ("中文", "zh"),
    ],
)
def test_a_language_is_found_by_code_region_or_name(name, code):
    assert language_code(name) == code


@pytest.mark.parametrize("name", ["", "x", "xx", "klingon", "r u", "rus" * 1000])
def test_what_is_no_language_is_refused_with_an_example(name):
    with pytest.raises(UsageError, match="--language ru"):
        language_code(name)


def test_all_codes_of_the_standard_are_known():
    # ISO 639-1 has 183 codes in use; "sh" was withdrawn.
    assert len(CODES) == 183
    assert language_name("xh") == "xh"
    assert str(language_name("ru")) == "Russian"
