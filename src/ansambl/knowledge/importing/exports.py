"""The conversations of an export: a file, a zip, a note, or a folder of all of these, one conversation at a time."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from ansambl.domain.errors import AnsamblError
from ansambl.domain.past_conversation import PastConversation
from ansambl.domain.text import Text, text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.importing import files, messages, nexus
from ansambl.knowledge.importing.dates import DayOrder
from ansambl.knowledge.importing.formats import JsonFormat
from ansambl.knowledge.importing.json_values import Broken, decoded, json_values
from ansambl.knowledge.importing.registry import format_of
from ansambl.knowledge.importing.repairing import with_repairs

LARGEST_NOTE = 64 << 20
"""Bytes of one note, and of a line of JSONL."""
_MOST_LONE_MESSAGES = 100_000
_HEAD = 4096
_NEVER_CHATS = frozenset(
    f"{name}.json"
    for name in (
        "user", "users", "user_settings", "message_feedback", "model_comparisons", "memories", "shared_conversations",
        "projects", "export_manifest", "package", "sora", "library_files", "shopping", "basispoints",
    )
)  # fmt: skip
"""The other files of exports: some of them look like conversations and are none."""


def conversations(
    path: Path, *, day_first: bool | None = None, opener: files.Opener = files.plainly
) -> Iterator[PastConversation | Refused]:
    """All conversations that `path` holds, and a `Refused` for everything that should be one and cannot be read.

    What a file is is seen in its content. In a folder, files that are no conversations (ordinary notes of a vault, the
    other files of an export) are passed over and counted in one line at the end. `day_first` says how dates such as
    07/08/2025 are meant where nothing in the notes tells: None is as in Europe, and a warning. `opener` opens files.
    """
    if not path.exists():
        yield Refused(str(path), text("there is no such file or folder"))
        return
    if not path.is_dir():
        order = DayOrder(day_first)
        found = False
        for one in _of_file(path, order, alone=True, opener=opener):
            found = True
            yield one
        if not found:
            yield Refused(str(path), _nothing())
        return
    yield from _of_folder(path, day_first, opener)


def _of_folder(path: Path, day_first: bool | None, opener: files.Opener) -> Iterator[PastConversation | Refused]:
    order = DayOrder(day_first)
    for one in files.paths_of(path):
        # All dates of a vault are written in one way: what one note tells holds for the others.
        if isinstance(one, Path) and one.suffix.casefold() in {".md", ".markdown"} and not order.certain:
            nexus.note_dates(_note_at(one, opener), order)
    passed, found = 0, 0
    for one in files.paths_of(path):
        if isinstance(one, Refused):
            yield one
            continue
        before = found
        for each in _of_file(one, order, alone=False, opener=opener):
            found += 1
            yield each
        passed += found == before
    if not found:
        yield Refused(str(path), _nothing())
    elif passed:
        yield Refused(
            str(path), text("files there that hold no conversation and were passed over: {count}", count=passed),
            note=True,
        )  # fmt: skip


def _nothing() -> Text:
    return text(
        "no conversation is found in it; give the export of ChatGPT, Claude or Open WebUI, notes of Nexus AI Chat "
        "Importer, conversations of LM Studio, or JSONL"
    )


def _note_at(path: Path, opener: files.Opener) -> str:
    try:
        with opener(path) as stream:
            return nexus.decoded(stream.read(LARGEST_NOTE))[0]
    except (OSError, AnsamblError):
        return ""


def _of_file(
    path: Path, order: DayOrder, *, alone: bool, opener: files.Opener
) -> Iterator[PastConversation | Refused]:  # fmt: skip
    for member in files.members_of(path, opener=opener):
        if isinstance(member, Refused):
            yield member
            continue
        try:
            yield from _of_member(member, order, alone=alone)
        except files.TooLargeError:
            yield Refused(member.place, files.too_large())
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            yield Refused(member.place, text("it cannot be read to its end: {reason}", reason=str(error)[:120]))


def _of_member(member: files.Member, order: DayOrder, *, alone: bool) -> Iterator[PastConversation | Refused]:
    if member.name.casefold() in _NEVER_CHATS and not alone:
        return
    head = member.stream.read(_HEAD)
    stream = cast("IO[bytes]", _Rejoined(head, member.stream))
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] in {b"{", b"["} and Path(member.name).suffix.casefold() not in {".md", ".markdown"}:
        made: Iterator[PastConversation | Refused] = (
            _of_lines(stream, member)
            if Path(member.name).suffix.casefold() in {".jsonl", ".ndjson"}
            else _of_values(stream, member)
        )
    else:
        made = _of_note(stream, member, order)
    for one in made:
        yield one if isinstance(one, Refused) else with_repairs(one)


class _Rejoined:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head, self._stream = io.BytesIO(head), stream

    def read(self, size: int = -1) -> bytes:
        """The next bytes, none only at the end."""
        return self._head.read(size) or self._stream.read(size)


def _of_values(stream: IO[bytes], member: files.Member) -> Iterator[PastConversation | Refused]:
    kind: JsonFormat | None = None
    lone: deque[Any] = deque(maxlen=_MOST_LONE_MESSAGES)
    strange = good = 0
    for value in _unwrapped(json_values(stream)):
        if isinstance(value, Broken):
            if good or kind is not None or lone or not strange:
                yield Refused(_numbered(member, value.number), _broken(value))
            continue
        kind = format_of(value) or kind
        if kind is None:
            if messages.is_message(value):
                lone.append(value)
            else:
                strange += 1
            if strange > 20 and not good:
                # Some other JSON: a file of gigabytes need not be read to its end to know it.
                return
            continue
        good += 1
        yield from _read(kind, value, member, good + strange)
    if lone and kind is None:
        made = messages.of_messages(lone, {})
        if made is not None:
            yield made


def _unwrapped(values: Iterator[Any]) -> Iterator[Any]:
    """Conversations that lie in one object under a name, as some tools write them, one by one."""
    for value in values:
        inside = None
        if isinstance(value, dict) and format_of(value) is None:
            inside = next((value[one] for one in ("conversations", "chats", "data", "items") if one in value), None)
        if isinstance(inside, list):
            yield from inside
        elif isinstance(value, list):
            yield from value
        else:
            yield value


def _read(kind: JsonFormat, value: Any, member: files.Member, number: int) -> Iterator[PastConversation | Refused]:
    if not kind.recognises(value):
        yield Refused(_numbered(member, number), text("it is no conversation as the others of this file are"))
        return
    made = kind.read(value, member.name)
    if made is not None:
        yield made


def _numbered(member: files.Member, number: int) -> str:
    return f"{member.place}!{number}"


def _broken(value: Broken) -> Text:
    if value.ended:
        return text("the file ends in the middle of conversation {number}; those before it were taken",
                    number=value.number)  # fmt: skip
    return text("conversation {number} cannot be read: {reason}", number=value.number, reason=value.reason)


def _of_lines(stream: IO[bytes], member: files.Member) -> Iterator[PastConversation | Refused]:
    lone: deque[Any] = deque(maxlen=_MOST_LONE_MESSAGES)
    bad = 0
    for number, line in _lines(stream):
        if line is None:
            yield Refused(f"{member.place}:{number}", text("line {number} is too long", number=number))
            continue
        if not line.strip():
            continue
        try:
            value = decoded(line)
        except ValueError:
            bad += 1
            if bad <= 20:
                yield Refused(f"{member.place}:{number}", text("line {number} is no valid JSON", number=number))
            continue
        kind = format_of(value)
        if kind is not None:
            yield from _read(kind, value, member, number)
        elif messages.is_message(value):
            lone.append(value)
    if bad > 20:
        yield Refused(member.place, text("{count} more lines are no valid JSON", count=bad - 20))
    made = messages.of_messages(lone, {}) if lone else None
    if made is not None:
        yield made


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """The lines with their numbers; None for one that is too long."""
    number, rest, skipping = 0, b"", False
    while data := stream.read(1 << 20):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            number += 1
            yield number, None if skipping else line
            skipping = False
        if len(rest) > LARGEST_NOTE:
            rest, skipping = b"", True
    if rest or skipping:
        yield number + 1, None if skipping else rest


def _of_note(stream: IO[bytes], member: files.Member, order: DayOrder) -> Iterator[PastConversation | Refused]:
    data = bytearray()
    while piece := stream.read(1 << 20):
        data += piece
        if len(data) > LARGEST_NOTE:
            yield Refused(
                member.place, text("it is larger than {size} MiB, too large for a note", size=LARGEST_NOTE >> 20)
            )
            return
    note, warning = nexus.decoded(bytes(data))
    if nexus.recognises(note):
        made = nexus.read(note, Path(member.name).stem, order, (warning,) if warning else ())
        if made is None:
            yield Refused(member.place, text("this note has the form of a conversation, but nothing is said in it"))
        else:
            yield made
