"""What an answer cites, in the words of each dialect. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansambl.dialects.blocks import Block, Kind


@dataclass(frozen=True, slots=True)
class Cited:
    """A mark in an answer's text, characters `start` to `end`, and the source that it names.

    `index` counts the sources from 0; `identifier` and `title` are the document's, `url` is where it can be read, and
    `text` what was given of it.
    """

    index: int
    start: int
    end: int
    identifier: str
    title: str
    url: str
    text: str


def chat_annotations(cited: Sequence[Cited]) -> list[dict[str, Any]]:
    """The annotations of a message of OpenAI's chat completions, which knows citations of addresses alone."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": one.start, "end_index": one.end, "title": one.title, "url": one.url,
            },
        }
        for one in cited
    ]  # fmt: skip


def response_annotations(cited: Sequence[Cited]) -> list[dict[str, Any]]:
    """The annotations of a text of OpenAI's responses."""
    return [
        {
            "type": "url_citation", "start_index": one.start, "end_index": one.end, "title": one.title, "url": one.url,
        }
        for one in cited
    ]  # fmt: skip


def message_citations(cited: Sequence[Cited]) -> list[dict[str, Any]]:
    """The citations of a text of Anthropic's messages, as of search results, each source once."""
    once = {one.index: one for one in reversed(cited)}
    return [
        {
            "type": "search_result_location", "cited_text": one.text, "source": one.url, "title": one.title,
            "search_result_index": one.index, "start_block_index": 0, "end_block_index": 1,
        }
        for one in sorted(once.values(), key=lambda found: found.start)
    ]  # fmt: skip


def by_block(cited: Sequence[Cited], blocks: Sequence[Block]) -> dict[int, list[Cited]]:
    """The citations by the number of the text block that holds their mark, with their places in that block."""
    found: dict[int, list[Cited]] = {}
    begin = 0
    for block in blocks:
        if block.kind is not Kind.TEXT:
            continue
        length = sum(map(len, block.pieces))
        inside = [
            replace(one, start=one.start - begin, end=one.end - begin)
            for one in cited
            if begin <= one.start < begin + length
        ]
        if inside:
            found[block.number] = inside
        begin += length
    return found
