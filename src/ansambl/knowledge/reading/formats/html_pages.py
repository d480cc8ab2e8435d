"""HTML: the main part as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansambl.knowledge.reading.charsets import decoded
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, too_much_text
from ansambl.knowledge.reading.markup import page_of
from ansambl.knowledge.reading.times import seconds_of

_BEGINNING = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?>\s|<!--.*?-->|<\?xml[^>]*>)*+<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_CHARSET = re.compile(rb"<meta[^>]{1,200}charset\s*=\s*[\"']?([\w-]+)", re.IGNORECASE)
_TIMES = ("article:published_time", "date", "dc.date", "dcterms.date", "datepublished", "article:modified_time")
_AUTHORS = ("author", "article:author", "dc.creator", "dcterms.creator")


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One page."""
    declared = _CHARSET.search(content.head)
    charset = content.charset or (declared[1].decode("ascii", "replace") if declared else None)
    # Tags and scripts are most of a page; its text has a limit of its own.
    if content.size > 10 * reading.limits.max_text:
        raise too_much_text(reading.limits.max_text)
    source = decoded(content.data(), charset).text
    page = page_of(source)
    if len(page.text) > reading.limits.max_text:
        raise too_much_text(reading.limits.max_text)
    author = next((page.meta[name] for name in _AUTHORS if name in page.meta), "")
    time = next((at for name in _TIMES if (at := seconds_of(page.meta.get(name, ""))) is not None), None)
    facts = {name: page.meta[name] for name in ("description", "keywords") if page.meta.get(name)}
    title = page.meta.get("og:title") or page.title
    yield Draft(page.text, title=title, time=time, authors=(author,) if author else (), facts=facts)


FORMAT = Format(
    "html", read, frozenset((".html", ".htm", ".xhtml")),
    media_types=frozenset(("text/html", "application/xhtml+xml")), hints=lambda one: bool(_BEGINNING.match(one.head)),
)  # fmt: skip
