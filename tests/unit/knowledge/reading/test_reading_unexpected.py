"""Errors of ours are told as ours, and what libraries raise as damage of the file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansambl.knowledge.reading.unexpected import Unexpected, refusal


def raised(code: str, module: str) -> BaseException:
    """What `code` raises as a part of the module of that name."""
    names: dict[str, Any] = {"__name__": module, "json": json}
    try:
        exec(compile(code, "somewhere.py", "exec"), names)  # noqa: S102 - code of this file
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError(code)


@pytest.mark.parametrize("code", ["not_defined", "None.words", "[][1]", "{}['a']", "1 + ''", "assert False"])
def test_a_mistake_of_ours_asks_for_a_report_and_names_no_words_of_the_document(code: str) -> None:
    """The user cannot mend it by saving the file again."""
    found = refusal("/a.docx", raised(f"\n{code}", "ansambl.knowledge.reading.formats.docx"))
    assert isinstance(found, Unexpected)
    assert found.place == "/a.docx"
    assert "please report it" in str(found.reason)
    assert found.error in str(found.reason)
    assert found.at[-1] == "ansambl.knowledge.reading.formats.docx:2"


@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("None.words", "docx.reader"), ("{}['a']", "zipfile"), ("raise ValueError('page 3')", "ansambl.knowledge.x"),
        ("json.loads(3)", "ansambl.knowledge.x"), ("not_defined", "ansambl_other"),
    ],
)  # fmt: skip
def test_what_a_library_raises_is_damage(code: str, module: str) -> None:
    """Also where we called it: its own code is where it was raised."""
    found = refusal("/a.docx", raised(code, module))
    assert not isinstance(found, Unexpected)
    assert str(found.reason).startswith("it is damaged or not what it seems (")
