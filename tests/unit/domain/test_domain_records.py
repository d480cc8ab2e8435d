"""Units, sentences, names and errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain import errors
from ansambl.domain.errors import AnsamblError, UnavailableError, UsageError
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import text
from ansambl.domain.units import GIB, KIB, MIB, TIB, format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("2GiB", 2 * GIB), ("500 MB", 500_000_000), (" 1.5 kib ", 1536), ("7", 7), ("7b", 7), ("1TiB", TIB),
        (4096, 4096), (0, 0), (1.6, 2),
    ],
)  # fmt: skip
def test_sizes(written, size):
    assert parse_bytes(written) == size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30m", 1800), ("250ms", 0.25), ("90", 90), ("1.5h", 5400), ("2 min", 120), ("1d", 86400), (0.5, 0.5), (3, 3)],
)
def test_times(written, seconds):
    assert parse_seconds(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "", "GiB", "-1GiB", "1 2", "1e3", "0x10", "1GiB2", "1,5GiB", "1 parsec", "nan", "inf", float("nan"),
        float("inf"), -1, -0.5, True, None, [], "9" * 400, "9" * 400 + "GiB",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused_with_an_example(written):
    for parse, example in ((parse_bytes, "2GiB"), (parse_seconds, "30m")):
        with pytest.raises(UsageError) as raised:
            parse(written)
        assert example in str(raised.value)


@given(st.integers(0, 2**60))
def test_a_size_survives_writing_within_its_rounding(size):
    number, unit = format_bytes(size).split()
    factor = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}[unit]
    assert abs(parse_bytes(number + unit) - size) <= factor * 0.05 + 1
    assert unit == "TiB" or float(number) < 1024


@given(st.integers(0, 10**9), st.sampled_from(["", "b", "KiB", "kb", "MiB", "mb", "GiB", "gb", "TiB", "tb"]))
def test_every_unit_is_read_in_any_letter_case(number, unit):
    assert parse_bytes(f"{number}{unit}") == parse_bytes(f"{number} {unit.upper()}") == parse_bytes(f"{number}.0{unit}")


@pytest.mark.parametrize(
    ("size", "written"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (MIB - 1, "1.0 MiB"), (GIB - 1, "1.0 GiB"), (-1536, "-1.5 KiB"),
     (5000 * TIB, "5000.0 TiB")],
)  # fmt: skip
def test_sizes_for_people(size, written):
    assert format_bytes(size) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 ms"), (0.25, "250 ms"), (0.9999, "1.0 s"), (59.94, "59.9 s"), (59.99, "1 min"), (90, "2 min"),
     (3599, "1 h 0 min"), (5400, "1 h 30 min")],
)  # fmt: skip
def test_times_for_people(seconds, written):
    assert format_seconds(seconds) == written


def test_a_sentence_is_translated_before_its_gaps_are_filled():
    russian = {"{count} of {name}": "{name}: {count}", "the model {name}": "модель {name}"}
    inner = text("the model {name}", name="big")
    sentence = text("{count} of {name}", count=3, name=inner)
    assert str(sentence) == "3 of the model big"
    assert sentence.render(lambda template: russian.get(template, template)) == "модель big: 3"


@given(st.text())
def test_what_stands_in_a_gap_is_never_a_template(value):
    assert str(text("<{value}>", value=value)) == f"<{value}>"
    assert str(text("<{value}>", value="{value} {0} {other!r}")) == "<{value} {0} {other!r}>"


def test_a_sentence_without_gaps_may_hold_braces():
    assert str(text('{"json": 1}')) == '{"json": 1}'


def test_every_error_has_its_status_and_exit_code():
    table = {
        "UsageError": (400, 2, "invalid_request_error", None),
        "ConfigurationError": (400, 2, "invalid_request_error", None),
        "RequestError": (400, 2, "invalid_request_error", None),
        "BodyTooLargeError": (413, 2, "invalid_request_error", "request_too_large"),
        "UnknownNameError": (404, 2, "invalid_request_error", "model_not_found"),
        "NotFoundError": (404, 2, "invalid_request_error", "not_found"),
        "NotSupportedError": (501, 3, "not_supported_error", None),
        "UnavailableError": (503, 1, "service_unavailable_error", "engine_unavailable"),
        "DiskFullError": (503, 1, "service_unavailable_error", "disk_full"),
        "LoadFailedError": (503, 1, "service_unavailable_error", "engine_unavailable"),
        "EngineError": (502, 1, "engine_error", "engine_failed"),
        "CheckpointError": (503, 1, "service_unavailable_error", "checkpoint_unusable"),
        "DataFolderError": (500, 1, "api_error", None),
    }
    found = {
        name: (kind.status, kind.exit_code, kind.type, kind.code)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, AnsamblError) and kind is not AnsamblError
    }
    assert found == table


def test_an_error_carries_its_own_code_and_field():
    error = AnsamblError(text("It is {what}.", what="so"), code="own", param="messages")
    assert (str(error), error.code, error.param) == ("It is so.", "own", "messages")
    assert AnsamblError.code is None
    assert UnavailableError(text("x"), retry_after=9).retry_after == 9


def test_nearest_names_come_best_first_and_ignore_letter_case():
    assert nearest_names("CODRE", ["coder", "reasoner", "Кодер"])[0] == "coder"
    assert nearest_names("кодр", ["coder", "Кодер"]) == ("Кодер",)
    assert nearest_names("zzz", ["coder"]) == ()
    assert len(nearest_names("aaaa", ["aaab", "aaac", "aaad", "aaae"], 2)) == 2


def test_names_are_the_same_whatever_their_letter_case_and_the_spelling_of_their_accents():
    assert folded(" Café ") == folded("CAFE\u0301")
    assert nearest_names("cafe\u0301s", ["Café"]) == ("Café",)
