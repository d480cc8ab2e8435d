"""Plain text, and what is best read as it is: logs, settings, subtitles."""

from __future__ import annotations

from collections.abc import Iterator

from ansambl.domain.knowledge import Form
from ansambl.knowledge.reading.charsets import decoded
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, too_much_text


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """The text as it is."""
    found = decoded(content.data(), content.charset)
    if len(found.text) > reading.limits.max_text:
        raise too_much_text(reading.limits.max_text)
    yield Draft(found.text, form=Form.PLAIN, facts={} if found.charset == "utf-8" else {"charset": found.charset})


FORMAT = Format(
    "text", read, frozenset((".txt", ".text", ".log", ".srt", ".vtt", ".nfo", ".tex", ".rst", ".adoc", ".org")),
    media_types=frozenset(("text/plain",)),
)  # fmt: skip
