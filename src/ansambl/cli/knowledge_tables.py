"""What ``ansambl knowledge`` prints: collections, documents, conversations, hits, and what an ingest did.

All of it holds words that others wrote; no control character in them reaches the terminal.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansambl.cli.output import console, note, print_pairs, print_table, say
from ansambl.domain.figures import number_words
from ansambl.domain.units import Bytes, size_words
from ansambl.foundation.locales import speak
from ansambl.foundation.terminals import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Document = Mapping[str, Any]

MOST_REFUSED = 20
"""Refused things that are told one by one; the rest is counted."""
_LONGEST_HIT = 1200
_WORD = re.compile(r"\w+")
_SHORTEST_STEM = 4
_NARROWEST = 20
_SOURCES = {"chatgpt": "ChatGPT", "claude": "Claude", "open-webui": "Open WebUI", "lm-studio": "LM Studio",
            "nexus": "Nexus", "ansambl": "Ansambl"}  # fmt: skip


def day(seconds: float | None) -> str:
    """A date for people, "" where there is none."""
    return "" if seconds is None else time.strftime("%d.%m.%Y", time.localtime(seconds))


def one_line(words: str, longest: int = 80) -> str:
    """Words of a document in one line that is not longer than this."""
    flat = " ".join(words.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def print_collections(collections: Sequence[Document], state: Document) -> None:
    """All collections, and how much there is in all."""
    if not collections:
        say(speak("There is no knowledge yet; add a file, a folder or a web page with: ansambl knowledge add PATH"))
        return
    print_table(
        speak("Collections"),
        (speak("Name"), speak("Documents"), speak("Passages"), speak("With vectors"), speak("Kept in step with"),
         speak("Description")),
        [
            (one["name"], f"{one['documents']:,}", f"{one['passages']:,}", f"{one['embedded']:,}",
             "\n".join(one["folders"]), one["description"])
            for one in collections
        ],
    )  # fmt: skip
    console().print()
    model = state["model"] or speak("none: found by words alone")
    print_pairs([
        (speak("Model of vectors"), model), (speak("Index"), state["index"]),
        (speak("On the disk"), size_words(Bytes(state["bytes"]), speak)),
    ])  # fmt: skip
    if state["pending"] and state["model"]:
        note(speak("Passages without vectors, found by their words alone: {count}; see: ansambl knowledge embed")
             .format(count=f"{state['pending']:,}"))  # fmt: skip


def print_documents(title: str, documents: Sequence[Document], *, owners: bool = False) -> None:
    """Documents, a line each."""
    headers = [
        speak("Number"), speak("Title"), speak("Source"), speak("Date"), speak("Language"), speak("Passages"),
        speak("Place"),
    ]  # fmt: skip
    print_table(
        title,
        [*headers, speak("API key")] if owners else headers,
        [
            (str(one["id"]), one_line(one["title"]), _source(one), day(one["time"]), one["language"] or "",
             f"{one['passages']:,}", one["place"], *([one["owner"]] if owners else []))
            for one in documents
        ],
    )  # fmt: skip


def _source(one: Document) -> str:
    kinds = {"file": speak("file"), "page": speak("web page"), "conversation": speak("conversation")}
    return str(_SOURCES.get(one["source"], one["source"]) or kinds.get(one["kind"], one["kind"]))


def print_document(one: Document, words: str) -> None:
    """A document with its text."""
    pairs = [
        (speak("Number"), str(one["id"])), (speak("Title"), one["title"]), (speak("Collection"), one["collection"]),
        (speak("Place"), one["place"]), (speak("Source"), _source(one)),
    ]  # fmt: skip
    optional = [
        (speak("Date"), day(one["time"])), (speak("Language"), one["language"] or ""),
        (speak("Authors"), ", ".join(one["authors"])), (speak("API key"), one["owner"]),
        *((name, value) for name, value in sorted(one["facts"].items())),
        *((speak("Warning"), warning) for warning in one["warnings"]),
    ]  # fmt: skip
    pairs += [(name, value) for name, value in optional if value]
    counted = speak("{all}, of them with vectors {embedded}").format(all=one["passages"], embedded=one["embedded"])
    print_pairs([*pairs, (speak("Passages"), counted)])
    out = console()
    out.print()
    out.print(harmless(words), soft_wrap=False)


def print_passages(passages: Iterable[Document]) -> None:
    """The passages of a document."""
    from rich.text import Text

    out = console()
    for one in passages:
        where = [speak("page {number}").format(number=one["page"]) if one["page"] is not None else "", one["heading"],
                 one["author"], day(one["time"])]  # fmt: skip
        head = " · ".join(part for part in where if part)
        out.print(Text(harmless(f"[{one['number']}] {head}".rstrip()), style="bold"))
        _print_indented(out, Text(harmless(one["text"])), 4)
        out.print()


def print_conversation(one: Document) -> None:
    """A whole conversation, as it was seen last."""
    from rich.text import Text

    speakers = {"user": speak("You"), "assistant": speak("Assistant"), "system": speak("System"), "tool": speak("Tool")}
    print_pairs([
        (speak("Title"), one["title"]), (speak("Source"), _source({"kind": "conversation", **one})),
        (speak("Id"), one["id"]), (speak("Date"), day(one["created"])),
    ])  # fmt: skip
    out = console()
    for turn in one["turns"]:
        who = turn["author"] or speakers.get(turn["speaker"], turn["speaker"])
        out.print()
        out.print(Text(harmless(", ".join(part for part in (who, day(turn["time"])) if part)), style="bold"))
        _print_indented(out, Text(harmless(turn["text"])), 2)
        for name in turn["attachments"]:
            out.print(Text(harmless("  " + speak("attached: {name}").format(name=name)), style="dim"))


def print_hits(found: Document, query: str) -> None:
    """What a search found, best first."""
    from rich.text import Text

    if not found["hits"]:
        say(speak("Nothing was found in your documents."))
    out = console()
    for number, one in enumerate(found["hits"], 1):
        head = Text(f"{number}. ", style="dim")
        head.append(harmless(one_line(one["label"], 120)), style="bold")
        if one["kind"] == "conversation":
            head.append(harmless(f" · {one_line(one['document'], 100)}"))
        heading = _below_title(one["heading"] or "", one["document"])
        if heading:
            head.append(harmless(f" · {one_line(heading, 100)}"))
        out.print(head, soft_wrap=False)
        under = speak("document {number}, collection {collection}, likeness {score}").format(
            number=one["document_id"], collection=one["collection"], score=number_words(one["score"], ".2f", speak)
        )
        _print_indented(out, Text(harmless(under), style="dim"), 3)
        words = one["text"] if len(one["text"]) <= _LONGEST_HIT else one["text"][: _LONGEST_HIT - 1] + "…"
        _print_indented(out, highlighted(words, query), 3)
        out.print()
    if found["pending"] and found["vectors"]:
        note(speak("Passages without vectors, searched by their words alone: {count}")
             .format(count=f"{found['pending']:,}"))  # fmt: skip


def _print_indented(out: Console, words: Text, indent: int) -> None:
    """Print words as wide as the terminal is; lines do not end with spaces, which a file would keep."""
    from rich.text import Text

    for line in words.wrap(out, max(_NARROWEST, out.width - indent), overflow="fold"):
        line.rstrip()
        out.print(Text(" " * indent).append_text(line) if line else "")


def _below_title(heading: str, title: str) -> str:
    """A path of headings without the first one where that is the document's title, which stands before it."""
    first, _, rest = heading.partition(" > ")
    return rest if first == title else heading


def highlighted(words: str, query: str) -> Text:
    """Words of a document with those of the query made bold, other endings of them too."""
    from rich.text import Text

    shown = harmless(words)
    found = Text(shown)
    stems = {_stem(one) for one in _WORD.findall(query) if len(one) > 2}
    for match in _WORD.finditer(shown):
        folded = match[0].casefold().replace("ё", "е")
        if any(folded.startswith(stem) for stem in stems):
            found.stylize("bold yellow", match.start(), match.end())
    return found


def _stem(word: str) -> str:
    """The beginning that the forms of a word share; a short word is its own."""
    folded = word.casefold().replace("ё", "е")
    return folded[: max(_SHORTEST_STEM, len(folded) - 2)]


def print_report(report: Document, *, chats: bool) -> None:
    """What an ingest did, and what it refused."""
    if chats:
        say(speak("Conversations: {added} added, {updated} updated, {unchanged} unchanged; {turns} messages.").format(
            added=f"{report['added']:,}", updated=f"{report['updated']:,}", unchanged=f"{report['unchanged']:,}",
            turns=f"{report['turns']:,}"))  # fmt: skip
        if report["since"] is not None and report["until"] is not None:
            say(speak("From {first} to {last}.").format(first=day(report["since"]), last=day(report["until"])))
    else:
        say(speak("Documents: {added} added, {updated} updated, {unchanged} unchanged, {removed} removed; "
                  "{passages} passages.").format(
            added=f"{report['added']:,}", updated=f"{report['updated']:,}", unchanged=f"{report['unchanged']:,}",
            removed=f"{report['removed']:,}", passages=f"{report['passages']:,}"))  # fmt: skip
    if report["repairs"]:
        say(speak("Characters that had been read with the wrong character set, and were repaired: {count}").format(
            count=f"{report['repairs']:,}"))  # fmt: skip
    for one in report["notes"]:
        note(speak("{place}: {reason}").format(place=one_line(one["place"], 300), reason=one["reason"]))
    print_refused(report["refused"], report["refused_count"])


def print_refused(refused: Sequence[Document], count: int) -> None:
    """What was not taken in, a line each, on standard error."""
    for one in refused[:MOST_REFUSED]:
        note(speak("refused: {place}: {reason}").format(place=one_line(one["place"], 300), reason=one["reason"]))
    if count > MOST_REFUSED:
        note(speak("and refused besides: {count}").format(count=f"{count - MOST_REFUSED:,}"))
