"""The marks that ChatGPT puts into answers for its own page: citations, links and names in private characters."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ansambl.knowledge.importing.fields import listed, mapping, string

_SOURCE = re.compile(r"[ \t]?【[^【】\n]{0,120}†[^【】\n]{0,200}】")
# U+E200 begins a mark, U+E202 divides its parts, U+E201 ends it; U+E203 to U+E206 stand around cited words.
_MARK = re.compile("[ \t]?\ue200([^\ue200\ue201]{0,20000})\ue201")
_OTHER = re.compile("[\ue200-\ue206]")
_MOST = 2000
_SPANS = {"url", "link", "link_title"}


def without_marks(text: str, references: Any = None) -> str:
    """`text` with every mark replaced by what people saw there: a link, a name, or nothing.

    `references` is the message's ``metadata.content_references``, where ChatGPT says what stands for each mark.
    """
    if "\ue200" not in text and "【" not in text:
        return text
    for one in listed(references)[:_MOST]:
        found = mapping(one)
        matched, shown = string(found.get("matched_text")), string(found.get("alt"))
        if matched.strip() and shown and ("\ue200" in matched or "【" in matched):
            text = text.replace(matched, shown)
    text = _SOURCE.sub("", text)
    text = _MARK.sub(_shown, text)
    return _OTHER.sub("", text)


def _shown(mark: re.Match[str]) -> str:
    kind, _, rest = mark.group(1).partition("\ue202")
    parts = rest.split("\ue202")
    before = mark.group(0)[: mark.group(0).index("\ue200")]
    if kind == "entity":
        try:
            values = msgspec.json.decode(rest.encode("utf-8", "surrogatepass"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            values = None
        names = [one for one in listed(values) if isinstance(one, str)]
        return before + (names[1] if len(names) > 1 else "")
    if kind in _SPANS and len(parts) > 1 and parts[1].startswith("http"):
        return f"{before}[{parts[0]}]({parts[1]})"
    if kind in _SPANS and parts[0]:
        return before + parts[0]
    return ""
