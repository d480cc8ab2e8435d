"""From a file to materials: finds the format, lets it read, and fills in what the format does not know."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import Form, Material
from ansambl.domain.languages import language_of_text
from ansambl.domain.text import Text, text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.content import Content, Digested, Draft, Read, Reading
from ansambl.knowledge.reading.formats.registry import format_of
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS, ReadingLimits
from ansambl.knowledge.reading.options import DEFAULT_OPTIONS, ReadingOptions
from ansambl.knowledge.reading.pinning import pinned
from ansambl.knowledge.reading.unexpected import refusal

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_LONGEST_TITLE = 300
_SHARE = 0.7
"""Of the time for a file, that work which can be done in part may take; dividing and counting words comes after."""

# One character for one, so that marks stay where they are: controls mean nothing, halves of pairs cannot be stored.
_HARMLESS = {
    **dict.fromkeys((*range(0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0)), " "), 0x0B: "\n", 0x0C: "\n", 0x0D: "\n",
    0x85: "\n", 0x2028: "\n", 0x2029: "\n", **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}  # fmt: skip
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def read_file(
    path: Path, place: str, limits: ReadingLimits = DEFAULT_LIMITS, options: ReadingOptions = DEFAULT_OPTIONS
) -> Iterator[Material | Refused]:
    """The documents of one file, in order, and what was refused; never raises for what is wrong with the file.

    `place` is what the file is known by. Must run where damage does no harm: `confined` does so.
    """
    for one in digested(path, place, limits, options):
        yield one.material if isinstance(one, Digested) else one


def digested(
    path: Path, place: str, limits: ReadingLimits = DEFAULT_LIMITS, options: ReadingOptions = DEFAULT_OPTIONS
) -> Read:
    """As `read_file`, each with its digest."""
    for last in (False, True):
        try:
            with pinned(path, options.roots) as file:
                if file.size > limits.max_file:
                    yield Refused(place, too_large(file.size, limits.max_file))
                    return
                content = Content(
                    options.name or path.name, place, path=file.path, time=options.time or file.time,
                    charset=options.charset, media_type=options.media_type,
                )  # fmt: skip
                sent = False
                for one in _Run(limits, options, file.size).read(content):
                    if file.changed():
                        break
                    yield one
                    sent = True
                else:
                    return
        except AnsamblError as error:
            yield Refused(place, error.message)
            return
        except OSError as error:
            yield Refused(place, text("it cannot be read: {reason}", reason=error.strerror or str(error)))
            return
        if last or sent:
            yield Refused(place, text("it changes while it is read; add it again when it is finished"))
            return


def too_large(size: int, limit: int) -> Text:
    """What is said of a file over the limit."""
    return text(
        "it has {size} MiB, more than the {limit} MiB that are read; divide it, or raise [knowledge] max_file",
        size=size >> 20, limit=limit >> 20,
    )  # fmt: skip


class _Run:
    """Reading one file with all that lies inside of it."""

    def __init__(self, limits: ReadingLimits, options: ReadingOptions, size: int) -> None:
        self._options = options
        until = time.monotonic() + _SHARE * limits.time_for(size)
        self._reading = Reading(limits, self.read, ocr=options.ocr, until=until)

    def read(self, content: Content) -> Read:
        try:
            found = format_of(content)
            digest = _digest(content)
            for one in found.read(content, self._reading):
                if not isinstance(one, Draft):
                    yield one
                    continue
                material = _material(one, content, found.name, self._options)
                if material.text.strip():
                    yield Digested(material, digest)
                else:
                    yield Refused(content.place, text("it holds no text"))
        except AnsamblError as error:
            yield Refused(content.place, error.message)
        except MemoryError:
            raise
        except OSError as error:
            yield Refused(content.place, text("it cannot be read: {reason}", reason=error.strerror or str(error)[:200]))
        except RecursionError:
            yield Refused(content.place, text("it is nested too deeply to be read"))
        except Exception as error:  # noqa: BLE001 - the libraries raise anything for damaged files
            yield refusal(content.place, error)


def _digest(content: Content) -> str:
    found = hashlib.sha256()
    with content.open() as stream:
        while piece := stream.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _material(draft: Draft, content: Content, name: str, options: ReadingOptions) -> Material:
    text_ = _clean(draft.text)
    inside = content.depth > 0
    title = _clean(draft.title).strip() or ("" if inside else options.title)
    if not title and draft.form is Form.MARKDOWN and (heading := _HEADING.search(text_, 0, 20_000)):
        title = heading[1]
    return Material(
        options.kind, content.place, " ".join(title.split())[:_LONGEST_TITLE] or _clean(content.name), text_,
        form=draft.form, marks=draft.marks, time=content.time if draft.time is None else draft.time,
        language=language_of_text(text_),
        authors=tuple(_clean(author).strip() for author in draft.authors if author.strip()),
        source=options.source,
        facts={
            "format": name,
            **{key: _clean(value) for key, value in options.facts.items()},
            **{key: _clean(value) for key, value in draft.facts.items()},
        },
        warnings=tuple(_clean(str(warning)) for warning in draft.warnings),
    )  # fmt: skip


def _clean(value: str) -> str:
    return value.translate(_HARMLESS) if _ODD.search(value) else value
