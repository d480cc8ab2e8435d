"""E-mail: single messages (RFC 5322) and mailboxes of them, with their attachments."""

from __future__ import annotations

import contextlib
import email
import email.errors
import email.policy
import email.utils
import re
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message

from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.charsets import decoded
from ansambl.knowledge.reading.content import Content, Digested, Draft, Format, Reading, UnreadableError
from ansambl.knowledge.reading.limits import MIB
from ansambl.knowledge.reading.markup import page_of
from ansambl.knowledge.reading.times import seconds_of
from ansambl.knowledge.reading.zip_files import harmless_name

_LARGEST = 64 * MIB
"""Bytes of one message in a mailbox."""

_HEADER = re.compile(
    rb"\A(?:From |(?:Return-Path|Received|Delivered-To|From|Message-ID|MIME-Version|Date|Subject|To): )"
)
_SHOWN = ("From", "To", "Cc", "Date")
_MOST_PARTS = 1_000


def read(content: Content, reading: Reading) -> Iterator[Draft | Digested | Refused]:
    """One message, then its attachments."""
    message = email.message_from_bytes(content.data(), policy=email.policy.compat32)
    if not message.keys():
        raise UnreadableError(text("it is no e-mail: it has no headers"))
    parts = [part for _, part in zip(range(_MOST_PARTS), _leaves(message), strict=False)]
    yield _draft(message, parts)
    number = 0
    for part in parts:
        if not _is_attachment(part):
            continue
        number += 1
        name = harmless_name(
            _words(part.get_filename() or "") or f"attachment-{number}{_SUFFIXES.get(_type(part), '')}"
        )
        data = _bytes(part)
        if data and (reading.ocr or part.get_content_maintype() not in {"image", "audio", "video"}):
            yield from reading.inner(
                Content(
                    name, f"{content.place}!{name}", data=data, time=_time(message) or content.time,
                    charset=part.get_content_charset(), media_type=_type(part), depth=content.depth + 1,
                )
            )  # fmt: skip


def read_mailbox(content: Content, reading: Reading) -> Iterator[Digested | Refused]:
    """All messages of a mailbox in the mbox format (RFC 4155)."""
    reading.check_depth(content)
    used: set[str] = set()
    for number, data in enumerate(_messages(content), 1):
        if data is None:
            yield Refused(
                f"{content.place}!{number}", text("the message is larger than {limit} MiB", limit=_LARGEST // MIB)
            )
            continue
        identity = re.search(rb"(?im)^message-id:\s*<?([^>\s]{1,200})", data[:20_000].partition(b"\n\n")[0])
        name = harmless_name(identity[1].decode("ascii", "replace") if identity else str(number))
        if name in used:
            # A mailbox keeps copies of one message; the first of them is enough.
            continue
        used.add(name)
        yield from reading.inner(
            Content(f"{name}.eml", f"{content.place}!{name}", data=data, time=content.time, depth=content.depth + 1)
        )


_SUFFIXES = {"message/rfc822": ".eml", "text/html": ".html", "text/plain": ".txt", "application/pdf": ".pdf"}


def _messages(content: Content) -> Iterator[bytes | None]:
    lines: list[bytes] = []
    size, blank = 0, True
    with content.open() as stream:
        # A line of a mail has a limit; what has none is no mail, and must not fill the memory.
        while line := stream.readline(MIB):
            if blank and line.startswith(b"From "):
                if size:
                    yield b"".join(lines) if size <= _LARGEST else None
                lines, size, blank = [], 0, False
                continue
            size += len(line)
            if size <= _LARGEST:
                lines.append(line[1:] if re.match(rb">+From ", line) else line)
            blank = not line.strip()
    if size:
        yield b"".join(lines) if size <= _LARGEST else None


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that hold something, in order; a message that was forwarded whole is one of them."""
    waiting = [message]
    while waiting:
        part = waiting.pop()
        inner = part.get_payload()
        if isinstance(inner, list) and _type(part) != "message/rfc822":
            waiting.extend(one for one in reversed(inner) if isinstance(one, Message))
        else:
            yield part


def _is_attachment(part: Message) -> bool:
    disposition = part.get_content_disposition()
    if disposition == "attachment" or _type(part) == "message/rfc822":
        return True
    # Pictures in the text and signatures are no documents.
    return bool(part.get_filename()) and disposition != "inline" and not part.get("Content-ID")


def _draft(message: Message, parts: list[Message]) -> Draft:
    subject = _header(message, "Subject")
    lines = [f"**{name}:** {said}" for name in _SHOWN if (said := _header(message, name))]
    bodies = [part for part in parts if part.get_content_maintype() == "text" and not _is_attachment(part)]
    plain = [one for part in bodies if _type(part) != "text/html" and (one := _text(part).strip())]
    pages = [one for part in bodies if _type(part) == "text/html" and (one := page_of(_text(part)).text.strip())]
    # Most mails say the same twice; some say in their plain part only that they are to be read as HTML.
    body = "\n\n".join(pages if sum(map(len, plain)) < 0.2 * sum(map(len, pages)) else plain)
    name, address = email.utils.parseaddr(_header(message, "From"))
    facts = {
        "from": address,
        "to": _header(message, "To")[:500],
        "id": _header(message, "Message-ID").strip("<>"),
    }
    top = ([f"# {subject}"] if subject else []) + (["\n".join(lines)] if lines else [])
    return Draft(
        "\n\n".join((*top, body)), title=subject, time=_time(message),
        authors=(name or address,) if name or address else (),
        facts={key: value for key, value in facts.items() if value},
    )  # fmt: skip


def _time(message: Message) -> float | None:
    return seconds_of(_header(message, "Date"))


def _header(message: Message, name: str) -> str:
    """A header's words, whatever it is encoded in and however badly; empty where there is none."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return _words(raw)


def _words(raw: str) -> str:
    # Bytes that were never encoded come as halves of pairs.
    if any("\udc80" <= one <= "\udcff" for one in raw):
        raw = decoded(raw.encode("utf-8", "surrogateescape")).text
    with contextlib.suppress(LookupError, UnicodeError, ValueError, email.errors.MessageError):
        raw = str(make_header(decode_header(raw)))
    return " ".join(raw.split())


def _type(part: Message) -> str:
    return part.get_content_type()


def _bytes(part: Message) -> bytes:
    inner = part.get_payload()
    if isinstance(inner, list):
        return inner[0].as_bytes() if inner and isinstance(inner[0], Message) else b""
    data = part.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _text(part: Message) -> str:
    data = _bytes(part)
    try:
        return decoded(data, part.get_content_charset()).text if data else ""
    except UnreadableError:
        return ""


def _looks_like_mail(content: Content) -> bool:
    """Two lines of headers at least: a note may begin with "To:", too."""
    head = content.head
    if not _HEADER.match(head) or head.startswith(b"From "):
        return False
    return len(re.findall(rb"(?m)^[A-Z][A-Za-z-]{1,40}: ", head.partition(b"\n\n")[0])) >= 4


MESSAGE = Format(
    "email", read, frozenset((".eml",)), hints=_looks_like_mail, media_types=frozenset(("message/rfc822",))
)
MAILBOX = Format(
    "mailbox", read_mailbox, frozenset((".mbox", ".mbx")),
    hints=lambda content: bool(re.match(rb"From \S+.* \d\d:\d\d:\d\d .*\d{4}", content.head[:300])),
    media_types=frozenset(("application/mbox",)),
)  # fmt: skip
