"""Markdown, as it is: front matter becomes facts, and what Obsidian adds stays readable."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansambl.knowledge.reading.charsets import text_of
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading
from ansambl.knowledge.reading.times import seconds_of

_FRONT = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_LONGEST_FRONT = 50_000
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_LINK = re.compile(r"(!?)\[\[([^\]\[\n|]{1,300})(?:\|([^\]\[\n]{1,300}))?\]\]")
_CALLOUT = re.compile(r"^((?:> ?)+)\[!([\w-]+)\][+-]?[ \t]*(.*)$", re.MULTILINE)
_COMMENT = re.compile(r"%%.*?%%", re.DOTALL)


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """The text without its front matter, which gives title, time, authors and tags."""
    found = text_of(content, reading.limits).text
    front, body = _divided(found)
    tags = _words(front.get("tags", front.get("tag")))
    authors = _words(front.get("authors", front.get("author")), separator=",")
    facts = {"tags": ", ".join(tag.lstrip("#") for tag in tags)} if tags else {}
    for name in ("aliases", "url", "source", "description"):
        if said := ", ".join(_words(front.get(name), separator="\n")):
            facts[name] = said[:500]
    time = next((at for name in ("date", "created", "updated") if (at := _time(front.get(name))) is not None), None)
    title = front.get("title")
    yield Draft(
        _readable(body), title=str(title) if isinstance(title, str | int | float) else "", time=time,
        authors=tuple(authors), facts=facts,
    )  # fmt: skip


def _divided(found: str) -> tuple[Mapping[str, Any], str]:
    match = _FRONT.match(found[:_LONGEST_FRONT])
    if not match:
        return {}, found
    import yaml

    try:
        # A loader that follows no aliases would be another parser; the length bounds what they can blow up to here,
        # because only single texts and lists of texts are taken out.
        front = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        # Not YAML: it is text between two rules.
        return {}, found
    return (front, found[match.end() :].lstrip("\n")) if isinstance(front, dict) else ({}, found)


def _words(value: Any, separator: str = " ") -> list[str]:
    if isinstance(value, str):
        value = value.replace(",", separator).split(separator)
    if isinstance(value, int | float):
        value = [value]
    if not isinstance(value, list):
        return []
    return [str(one).strip() for one in value[:50] if isinstance(one, str | int | float) and str(one).strip()]


def _time(value: Any) -> float | None:
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp()
    return seconds_of(value) if isinstance(value, str) else None


def _readable(body: str) -> str:
    """Obsidian's links as words and its callouts as quotations, outside of code."""
    pieces, at, fence = [], 0, ""
    for found in _FENCE.finditer(body):
        if not fence:
            pieces.append(_words_of_obsidian(body[at : found.start()]))
            at, fence = found.start(), found[1]
        elif found[1].startswith(fence):
            end = body.find("\n", found.end())
            end = len(body) if end < 0 else end
            if not body[found.end() : end].strip():
                pieces.append(body[at:end])
                at, fence = end, ""
    pieces.append(body[at:] if fence else _words_of_obsidian(body[at:]))
    return "".join(pieces)


def _words_of_obsidian(part: str) -> str:
    part = _COMMENT.sub("", part)
    part = _LINK.sub(_link, part)
    return _CALLOUT.sub(lambda found: f"{found[1]}**{found[3].strip() or found[2].capitalize()}**", part)


def _link(found: re.Match[str]) -> str:
    shown = found[3] or found[2].replace("#^", "#").strip("#").replace("#", " › ")
    # What a size in pixels stands behind is an image: ![[photo.png|300]].
    if found[1]:
        return f"({found[2] if shown.replace('x', '').isdigit() else shown})"
    return shown


FORMAT = Format(
    "markdown", read, frozenset((".md", ".markdown", ".mdx", ".mkd", ".qmd", ".rmd")),
    media_types=frozenset(("text/markdown", "text/x-markdown")),
)  # fmt: skip
