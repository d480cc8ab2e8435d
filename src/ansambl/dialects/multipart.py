"""Forms with files (``multipart/form-data``, RFC 7578), as clients send speech and images. Pure.

A form is not taken apart: its parts are found, one of them is read, and it goes on as the same bytes with another value
in the place of that one. What two readers could understand in two ways is refused, because the name that is checked
here must be the one that the engine sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansambl.domain.errors import RequestError
from ansambl.domain.text import Text, text

_KIND = "multipart/form-data"
_BOUNDARY = re.compile(r""";\s*boundary=(?:"([^"\\]{1,70})"|([^\s";,]{1,70}))\s*(?:;|$)""", re.IGNORECASE)
_NAME = re.compile(rb';\s*name=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s";]+))', re.IGNORECASE)
_OTHER_NAME = re.compile(rb";\s*(?:file)?name\*\s*=|;\s*name\*\d", re.IGNORECASE)
_FILE = re.compile(rb";\s*filename=", re.IGNORECASE)
_MOST_PARTS = 200
_LONGEST_HEAD = 8192
_LONGEST_VALUE = 4096
_END, _LINE = b"\r\n\r\n", b"\r\n"


@dataclass(frozen=True, slots=True)
class Form:
    """A form and where the values of its plain fields stand in it: start and end by name. Files have none."""

    body: bytes
    fields: Mapping[str, tuple[int, int]]

    def value(self, name: str) -> str | None:
        """The value of a plain field; None where there is no such field.

        Raises:
            RequestError: it is long, or no UTF-8.
        """
        place = self.fields.get(name)
        if place is None:
            return None
        start, end = place
        try:
            if end - start > _LONGEST_VALUE:
                raise _wrong(text("the field '{name}' is too long", name=name), name)
            return self.body[start:end].decode("utf-8")
        except UnicodeDecodeError:
            raise _wrong(text("the field '{name}' is not UTF-8", name=name), name) from None

    def with_value(self, name: str, value: str) -> Sequence[bytes | memoryview]:
        """The form with another value for a field that it has, as pieces, so that it is not copied."""
        start, end = self.fields[name]
        whole = memoryview(self.body)
        return (whole[:start], value.encode(), whole[end:])


def parse_form(content_type: str, body: bytes) -> Form:
    """Find the parts of a form.

    Raises:
        RequestError: it is no such form, is not whole, or can be understood in two ways.
    """
    if content_type.partition(";")[0].strip().lower() != _KIND:
        raise _wrong(text("its Content-Type must be {kind}", kind=_KIND))
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _wrong(text("its Content-Type has no boundary"))
    try:
        mark = b"--" + (found[1] or found[2]).encode("ascii")
    except UnicodeEncodeError:
        raise _wrong(text("its Content-Type has no boundary")) from None
    fields: dict[str, tuple[int, int]] = {}
    names: set[str] = set()
    place = _first(body, mark)
    for _ in range(_MOST_PARTS):
        start = _after_mark(body, place + len(mark))
        if start is None:
            return Form(body, fields)
        head_end = body.find(_END, start, start + _LONGEST_HEAD)
        end = body.find(_LINE + mark, start)
        if head_end < 0 or end < 0 or end < head_end + len(_END):
            raise _broken()
        name, is_file = _named(body[start:head_end])
        if name in names:
            # Of two one reader takes the first, another the last; several files may have one name.
            if not is_file or name in fields:
                raise _wrong(text("the field '{name}' stands in it twice", name=name), name)
        elif not is_file:
            fields[name] = (head_end + len(_END), end)
        names.add(name)
        place = end + len(_LINE)
    raise _wrong(text("it has more than {most} parts", most=_MOST_PARTS))


def _first(body: bytes, mark: bytes) -> int:
    if body.startswith(mark):
        return 0
    place = body.find(_LINE + mark)
    if place < 0:
        raise _broken()
    return place + len(_LINE)


def _after_mark(body: bytes, place: int) -> int | None:
    """Where the part begins whose mark ends at `place`; None where it was the last mark.

    Raises:
        RequestError: neither.
    """
    if body.startswith(b"--", place):
        return None
    line_end = body.find(_LINE, place, place + _LONGEST_HEAD)
    if line_end < 0 or body[place:line_end].strip(b" \t"):
        raise _broken()
    return line_end + len(_LINE)


def _named(head: bytes) -> tuple[str, bool]:
    """The name of a part, and whether it is a file.

    Raises:
        RequestError: it has none, or one that is written so that readers differ.
    """
    lines = head.split(_LINE)
    said = [one for one in lines if one.lower().startswith(b"content-disposition:")]
    if len(said) != 1 or b"\n" in head.replace(_LINE, b"") or b"\0" in head:
        raise _broken()
    names = _NAME.findall(said[0])
    if len(names) != 1 or _OTHER_NAME.search(said[0]):
        raise _broken()
    try:
        name = (names[0][0] or names[0][1]).decode("utf-8")
    except UnicodeDecodeError:
        raise _broken() from None
    if "\\" in name or "%" in name:
        raise _broken()
    return name, _FILE.search(said[0]) is not None


def _broken() -> RequestError:
    return _wrong(text("its parts are broken"))


def _wrong(what: Text, param: str | None = None) -> RequestError:
    return RequestError(text("The form cannot be read: {what}.", what=what), code="invalid_form", param=param)
