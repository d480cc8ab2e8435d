"""The forms of roles and ensembles against the settings, and files of sets as they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ansambl.console
from ansambl.app.configuration.role_settings import EnsembleSettings, RoleSettings
from ansambl.console.pages.roles import letters_of, read_set
from ansambl.console.pages.roles.form import Control, groups_of
from ansambl.domain.role import PASSAGES, Ensemble, Pattern, Role
from ansambl.foundation.locales import translator

FOLDER = Path(ansambl.console.__file__).parent
SETTINGS = {"roles": RoleSettings, "ensembles": EnsembleSettings}


def controls(kind: str) -> dict[str, Control]:
    found = [one for group in groups_of(kind, translator("en")) for one in group.controls]
    assert len({one.key for one in found}) == len(found)
    return {one.key: one for one in found}


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_key_of_a_table_can_be_edited_and_no_other(kind):
    assert controls(kind).keys() == SETTINGS[kind].model_fields.keys()


@pytest.mark.parametrize("kind", SETTINGS)
def test_choices_are_those_that_the_settings_take(kind):
    schema = SETTINGS[kind].model_json_schema()
    for key, control in controls(kind).items():
        if control.kind == "choice":
            allowed = next(one["enum"] for one in schema["properties"][key]["anyOf"] if "enum" in one)
            assert sorted(value for value, _ in control.options) == sorted(allowed), key


@pytest.mark.parametrize("kind", SETTINGS)
def test_bounds_are_those_that_the_settings_take(kind):
    schema = SETTINGS[kind].model_json_schema()
    for key, control in controls(kind).items():
        if control.kind not in ("slider", "number", "whole"):
            continue
        allowed = next(one for one in schema["properties"][key]["anyOf"] if one.get("type") in ("number", "integer"))
        least, most, _ = control.bounds
        told = allowed.get("minimum", allowed.get("exclusiveMinimum"))
        # A form cannot say "more than": its least is then a small step above.
        assert float(least) >= told if told is not None else least == "", key
        assert float(most) <= allowed["maximum"] if "maximum" in allowed else most == "", key


def test_defaults_that_are_shown_are_those_that_hold():
    ensemble, role = Ensemble("x", Pattern.COUNCIL, ()), Role("x", "")
    shown = {key: float(one.default) for kind in SETTINGS for key, one in controls(kind).items() if one.default}
    expected = {key: getattr(ensemble, key, None) or getattr(role, key, None) for key in shown}
    assert shown == {**expected, "passages": PASSAGES}


def test_a_set_is_read_from_toml_and_from_json():
    tables = {"roles": {"bard": {"top_k": 3}}}
    assert read_set(b"[roles.bard]\ntop_k = 3\n") == tables
    assert read_set(json.dumps(tables).encode()) == tables
    assert read_set(b"\xef\xbb\xbf[roles.bard]\ntop_k = 3\n") == tables
    assert read_set(b"") == {}


@pytest.mark.parametrize(
    "written",
    [b"[roles", b"{", b"[]", b"\xff", b"x = 1979-05-27", b"x = nan", b'{"a":' * 100_000, b"x = " + b"[" * 100_000],
    ids=["toml", "json", "list", "bytes", "date", "nan", "deep json", "deep toml"],
)
def test_what_is_no_set_is_told_and_ends_nothing(written):
    with pytest.raises(ValueError, match=r"\S"):
        read_set(written)


def test_letters_go_to_groups_that_share():
    groups = [{"number": number, "shares": number != 2} for number in range(1, 30)]
    letters = letters_of(groups)
    assert 2 not in letters
    assert (letters[1], letters[3], letters[27], letters[28]) == ("A", "B", "Z", "A1")
    assert len(set(letters.values())) == 28
