"""Forms with files: what is found in them, what goes on, and what two readers could take for different things."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.multipart import parse_form
from ansambl.domain.errors import RequestError

KIND = "multipart/form-data; boundary=bound"


def part(head, value=b""):
    return b"--bound\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def field(name, value, more=b""):
    return part(b'Content-Disposition: form-data; name="%b"%b' % (name, more), value)


END = b"--bound--\r\n"


def test_fields_are_found_and_files_are_not_fields():
    form = parse_form(KIND, field(b"model", b"m") + field(b"file", b"\0\xff", b'; filename="a"') + END)
    assert (form.value("model"), form.value("file"), form.value("other")) == ("m", None, None)
    assert b"".join(form.with_value("model", "longer")) == form.body.replace(b"\r\nm\r\n", b"\r\nlonger\r\n")


def test_a_form_that_goes_on_is_not_copied():
    form = parse_form(KIND, field(b"file", bytes(10_000), b'; filename="a"') + field(b"model", b"m") + END)
    before, _, after = form.with_value("model", "x")
    assert isinstance(before, memoryview)
    assert before.obj is form.body
    assert after.obj is form.body


@settings(max_examples=60)
@given(st.binary(max_size=200), st.text(alphabet="abcé–", max_size=20), st.binary(max_size=40))
def test_whatever_is_in_a_file_the_form_keeps_all_other_bytes(content, value, preamble):
    sent = value.encode()
    # A boundary is chosen so that it is in nothing that is sent.
    body = field(b"file", content, b'; filename="a"') + field(b"model", sent) + field(b"x", b"") + END
    before = b"" if b"--bound" in preamble else preamble + b"\r\n"
    if b"--bound" in content:
        return
    form = parse_form(KIND, before + body)
    assert form.value("model") == value
    start, end = form.fields["model"]
    again = b"".join(form.with_value("model", value))
    assert again == before + body
    assert (before + body)[start:end] == sent


@pytest.mark.parametrize(
    "kind",
    ['Multipart/Form-Data; charset=utf-8; Boundary="bound"', "multipart/form-data;boundary=bound ; x=y"],
)
def test_kinds_are_read_as_they_are_written(kind):
    assert parse_form(kind, field(b"model", b"m") + END).value("model") == "m"


@pytest.mark.parametrize("kind", ["", "multipart/mixed; boundary=bound", "multipart/form-data", "application/json"])
def test_other_kinds_are_refused(kind):
    with pytest.raises(RequestError, match="The form cannot be read"):
        parse_form(kind, field(b"model", b"m") + END)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"bound",
        field(b"model", b"m"),
        field(b"model", b"m")[:-2] + END,
        field(b"model", b"m") + b"--bound",
        field(b"model", b"m") + b"--boundx\r\n",
        # The name that is checked must be the name that the engine finds.
        field(b"model", b"m") + field(b"model", b"n") + END,
        field(b"model", b"m") + field(b"model", b"n", b'; filename="a"') + END,
        field(b"model", b"m", b'; name="other"') + END,
        field(b"model", b"m", b"; name*=utf-8''other") + END,
        field(b"mod%65l", b"m") + END,
        part(b'Content-Disposition: form-data; name="model"\nContent-Disposition: form-data; name="x"', b"m") + END,
        part(b'Content-Disposition: form-data; name="model"\r\nContent-Disposition: form-data; name="x"', b"m") + END,
        part(b"Content-Type: text/plain", b"m") + END,
        part(b'Content-Disposition: form-data; name="mod\\"el"', b"m") + END,
        part(b'Content-Disposition: form-data; name="\xff"', b"m") + END,
        b"".join(field(b"f%d" % number, b"x") for number in range(300)) + END,
        part(b"X: " + b"y" * 10_000 + b'\r\nContent-Disposition: form-data; name="model"', b"m") + END,
    ],
)
def test_what_readers_could_take_differently_is_refused(body):
    with pytest.raises(RequestError) as refusal:
        parse_form(KIND, body)
    assert refusal.value.code == "invalid_form"


@pytest.mark.parametrize("value", [b"\xff", b"x" * 5000])
def test_names_that_are_no_names(value):
    form = parse_form(KIND, field(b"model", value) + END)
    with pytest.raises(RequestError, match="'model'"):
        form.value("model")
