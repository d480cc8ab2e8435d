"""JSON, JSON lines, YAML, TOML and settings: divided as code is, between their parts."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ansambl.domain.knowledge import Form
from ansambl.knowledge.reading.charsets import text_of
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading

_LANGUAGES = {
    ".json": "json", ".jsonl": "json", ".ndjson": "json", ".geojson": "json", ".yaml": "yaml", ".yml": "yaml",
    ".toml": "toml", ".ini": "ini", ".cfg": "ini", ".conf": "ini", ".properties": "ini", ".xml": "xml", ".xsd": "xml",
    ".xsl": "xml", ".svg": "xml", ".rss": "xml", ".atom": "xml",
}  # fmt: skip
_LONG_LINE = 2_000


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """The text as it is; JSON in one long line gets line ends, so that it can be divided."""
    found = text_of(content, reading.limits).text
    language = _LANGUAGES.get(content.suffix, "")
    if language == "json" and len(found) > _LONG_LINE and found.count("\n") < len(found) / _LONG_LINE:
        found = _in_lines(found)
    yield Draft(found, form=Form.CODE, facts={"language": language} if language else {})


def _in_lines(found: str) -> str:
    try:
        return json.dumps(json.loads(found), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return found


FORMAT = Format(
    "data", read, frozenset(_LANGUAGES),
    media_types=frozenset(("application/json", "application/yaml", "application/xml", "text/xml")),
)  # fmt: skip
