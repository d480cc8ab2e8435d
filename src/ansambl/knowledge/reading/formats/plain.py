"""Plain text, and what is best read as it is: logs, settings, subtitles."""

from __future__ import annotations

from collections.abc import Iterator

from ansambl.domain.knowledge import Form
from ansambl.knowledge.reading.charsets import text_of
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """The text as it is."""
    found = text_of(content, reading.limits)
    yield Draft(found.text, form=Form.PLAIN, facts={} if found.charset == "utf-8" else {"charset": found.charset})


FORMAT = Format(
    "text", read, frozenset((".txt", ".text", ".log", ".srt", ".vtt", ".nfo", ".tex", ".rst", ".adoc", ".org")),
    media_types=frozenset(("text/plain",)),
)  # fmt: skip
