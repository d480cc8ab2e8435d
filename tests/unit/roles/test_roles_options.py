from __future__ import annotations

from typing import Any

import pytest
from ensemble_stage import request

from ansambl.dialects.openai_chat import parse_request
from ansambl.domain.errors import RequestError
from ansambl.domain.role import Layout
from ansambl.roles.options import take_options
from ansambl.roles.records import NO_OPTIONS, RequestOptions


def test_options_are_read_and_never_sent_on() -> None:
    asked = request(ansambl={"layout": "classic", "role": "coder", "tokens": 5, "seconds": 1.5, "rounds": 2}, odd=1)
    rest, options = take_options(asked)
    assert options == RequestOptions(Layout.CLASSIC, "coder", 5, 1.5, 2)  # type: ignore[arg-type]
    assert b"ansambl" not in rest.encode()
    assert rest.value("odd") == 1


@pytest.mark.parametrize("found", [b"null", b"{}", b'{"layout":null,"tokens":null}'])
def test_nothing_is_asked(found: bytes) -> None:
    rest, options = take_options(parse_request(b'{"model":"x","ansambl":%b}' % found))
    assert options == NO_OPTIONS
    assert list(rest.fields) == ["model"]
    asked = request()
    assert take_options(asked) == (asked, NO_OPTIONS)


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (5, "ansambl"), ("x", "ansambl"), ([], "ansambl"),
        ({"layout": "sideways"}, "ansambl.layout"), ({"layout": 5}, "ansambl.layout"),
        ({"layout": []}, "ansambl.layout"), ({"toknes": 5}, "ansambl.toknes"),
        ({"role": 5}, "ansambl.role"), ({"role": " "}, "ansambl.role"), ({"role": "x" * 1000}, "ansambl.role"),
        ({"tokens": 0}, "ansambl.tokens"), ({"tokens": True}, "ansambl.tokens"), ({"tokens": 1.5}, "ansambl.tokens"),
        ({"tokens": "5"}, "ansambl.tokens"), ({"rounds": -1}, "ansambl.rounds"), ({"seconds": 0}, "ansambl.seconds"),
        ({"seconds": True}, "ansambl.seconds"), ({"seconds": "1m"}, "ansambl.seconds"),
    ],
)  # fmt: skip
def test_a_bad_value_names_its_key(value: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        take_options(request(ansambl=value))
    assert caught.value.param == param
    assert param in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_that_cannot_be_read_is_said() -> None:
    with pytest.raises(RequestError) as caught:
        take_options(parse_request(b'{"model":"x","ansambl":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))
    assert caught.value.param in {"ansambl", None}


def test_an_unknown_key_gets_all_that_are_known() -> None:
    with pytest.raises(RequestError, match="known are: layout, role, tokens, seconds, rounds"):
        take_options(request(ansambl={"round": 5}))
