"""What is written as TOML is read back as it was by the reader of the standard library."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansambl.foundation.toml_writer import write_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ['"""', "\\", "a\nb", "\r\n", "\x7f", "\u2028", "'''\n\"\"\"", "\n", "\n\n", "end\\\n", "ключ"]
)
SCALARS = TEXTS | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
LISTS = st.lists(SCALARS, max_size=3) | st.lists(st.lists(SCALARS, max_size=2), max_size=2)
TABLES = st.recursive(
    st.dictionaries(TEXTS, SCALARS | LISTS, max_size=4),
    lambda inner: st.dictionaries(TEXTS, SCALARS | inner | st.lists(inner, min_size=1, max_size=2), max_size=4),
    max_leaves=6,
)


# How long making the tables takes is the machine's business, which may be busy.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(TABLES)
def test_tables_are_read_back_as_they_were(document: dict[str, Any]) -> None:
    assert tomllib.loads(write_toml(document)) == document


def test_it_is_written_as_a_person_would() -> None:
    document = {
        "roles": {"поэт": {"instruction": "One.\nTwo.", "top_p": 0.5, "model": None, "instructions": {"ru": "Раз."}}},
        "ensembles": {"auto": {"roles": ["a", "b"], "asks": True, "rules": [{"role": "a", "words": ["x"]}]}},
    }
    assert write_toml(document) == (
        '[roles."поэт"]\ninstruction = """\nOne.\nTwo."""\ntop_p = 0.5\n\n'
        '[roles."поэт".instructions]\nru = "Раз."\n\n'
        '[ensembles.auto]\nroles = ["a", "b"]\nasks = true\n\n'
        '[[ensembles.auto.rules]]\nrole = "a"\nwords = ["x"]\n'
    )
    assert write_toml({}) == ""


def test_what_toml_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        write_toml({"a": {1, 2}})
    with pytest.raises(UnicodeEncodeError):
        write_toml({"a": "\ud800"})
