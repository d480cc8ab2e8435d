"""Notes that the Obsidian plugin Nexus AI Chat Importer writes: front matter, then a callout for each message.

Versions differ. Since 1.2 a message is ``>[!nexus_user] **User** - 07.08.2025 at 12:48``, its text behind ``> ``, then
``<!-- UID: … -->``; before, it was ``### User, on 12/31/2024 at 11:59 PM;`` with ``>`` or, for answers, ``>>``. People
edit their notes and other tools reformat them, so whatever does not fit is kept with the message that it stands under.
Times are written as the clock showed them where the plugin ran: the zone is found by comparing the note's own line
``Created:`` with the front matter's time in UTC, else this machine's is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone, tzinfo

from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
from ansambl.knowledge.importing.callouts import without_callouts
from ansambl.knowledge.importing.dates import DayOrder, Written, day_first_of, written_date
from ansambl.knowledge.importing.fields import hash_of, seconds, title_of
from ansambl.knowledge.importing.front_matter import front_matter
from ansambl.knowledge.importing.repair import repaired

SOURCE = "nexus"
_HEADER = re.compile(r"^ {0,3}>( ?)\[!nexus_(user|agent|assistant|system|tool|model|ai|bot)\][+-]?(.*)$", re.IGNORECASE)
_HEADING = re.compile(r"^#{2,6}\s+\*{0,2}([^,*\n]{1,60}?)\*{0,2},?\s+(?:on|в|am|le|el|il|em)\s+(.{6,60}?);?\s*$")
_UID = re.compile(r"^\s*<!--\s*UID:\s*(.*?)\s*-->\s*$", re.IGNORECASE)
_QUOTED = re.compile(r"^ {0,3}> ?")
_RULE = re.compile(r"^\s{0,3}(?:-\s*){3,}$")
_TITLE = re.compile(r"^#\s+(?:Title:\s*)?(.*)$")
_ABOUT = re.compile(r"^(Created|Last Updated|Chat URL):\s*(.*)$")
_NAME = re.compile(r"^\s*\*\*(.+?)\*\*\s*(.*)$")
_USERS = frozenset(("user", "you", "пользователь", "вы", "benutzer", "utilisateur", "usuario", "utente", "usuário"))
_AGENTS = frozenset(("assistant", "chatgpt", "claude", "ai", "unknown", "gemini", "le chat", "ассистент", "perplexity"))
_PROVIDERS = {
    "chatgpt": "ChatGPT", "claude": "Claude", "lechat": "Le Chat", "gemini": "Gemini", "perplexity": "Perplexity",
}  # fmt: skip
_HOSTS = {"openai.com": "chatgpt", "chatgpt.com": "chatgpt", "claude.ai": "claude", "gemini.google": "gemini"}
_LOOK_AHEAD = 40
"""Lines behind a rule in which the next header is looked for: a note of nothing but rules must end, too."""
_AFTER_TIME = re.compile(r"^[\s;:.,)–—-]*")


@dataclass(slots=True)
class _Message:
    """A message while it is read: its header's parts and its lines as they stand."""

    speaker: Speaker
    name: str
    date: Written | None
    lines: list[str] = field(default_factory=list)
    uid: str = ""
    old: bool = False
    closed: bool = False


def decoded(data: bytes) -> tuple[str, str]:
    """The text of a note, and a sentence about it where it was not UTF-8."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16", "replace"), ""
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        whole = data.decode("utf-8", "replace")
        if whole.count("�") <= max(3, len(whole) // 200):
            return whole, f"some bytes are no UTF-8, the first at {error.start}; a mark stands for them"
    return data.decode("cp1251", "replace"), "it was not written in UTF-8 and was read as Windows-1251"


def recognises(note: str) -> bool:
    """Whether a note holds a conversation that the plugin wrote."""
    if "[!nexus_" in note.casefold() and any(_HEADER.match(line) for line in _lines(note)):
        return True
    ours = "nexus-ai-chat-importer" in note[:2000] or "<!-- UID:" in note
    return ours and any(_heading(line) for line in _lines(note) if line.startswith("##"))


def _lines(note: str) -> list[str]:
    """The lines of a note. `splitlines` would cut at U+0085 too, which stands for a byte in misread text."""
    return note.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def note_dates(note: str, order: DayOrder) -> None:
    """Have `order` learn from one note of a vault how dates are written there."""
    if recognises(note):
        own = _own_order(*_parsed(_lines(note)))
        if own is not None:
            order.vote(day_first=own)


def read(note: str, name: str, order: DayOrder, warnings: tuple[str, ...] = ()) -> PastConversation | None:
    """The conversation of a note called `name`; None where nothing is said in it."""
    mended = repaired(note)
    about, messages = _parsed(_lines(mended.text))
    day_first, guessed = order.for_note(
        _own_order(about, messages),
        capitals=any(one.date is not None and one.date.capitals for one in messages),
    )
    notes = list(warnings)
    if guessed and any(one.date is not None and one.date.open for one in messages):
        notes.append(
            f"its dates can be read in two ways; the {'day' if day_first else 'month'} was taken to come first"
        )
    zone = _zone(about, day_first=day_first)
    provider = _provider(about)
    turns = tuple(_turns(messages, provider, day_first=day_first, zone=zone))
    if not turns:
        return None
    known = about.get("conversation_id") or about.get("url", "").rstrip("/").rpartition("/")[2]
    facts = {key: about[key] for key in ("url", "provider", "tags", "preface") if about.get(key)}
    if models := about.get("models"):
        facts["model"] = models
    return PastConversation(
        SOURCE,
        known or hash_of(SOURCE, *(f"{one.speaker}\n{one.text}" for one in turns)),
        title_of(about.get("title") or about.get("aliases") or name, (one.text for one in turns)),
        turns,
        (),
        _moment(about, "create_time", "created", day_first=day_first, zone=zone),
        _moment(about, "update_time", "last updated", day_first=day_first, zone=zone),
        facts,
        {mended.mistake: mended.count} if mended.mistake else {},
        tuple(notes),
    )


def _parsed(lines: list[str]) -> tuple[dict[str, str], list[_Message]]:
    about, start = front_matter(lines)
    bare = any(found and not found.group(1) for found in map(_HEADER.match, lines))
    messages: list[_Message] = []
    preface: list[str] = []
    for number in range(start, len(lines)):
        line = lines[number]
        message = _header(line, bare=bare)
        if message is not None:
            messages.append(message)
        elif not messages:
            _take_about(line, about, preface)
        elif found := _UID.match(line):
            messages[-1].uid, messages[-1].closed = found.group(1), True
        elif messages[-1].closed or (_RULE.match(line) and _only_rules_before_header(lines, number, bare=bare)):
            _take_between(line, messages)
        else:
            messages[-1].lines.append(line)
    said = "\n".join(preface).strip()
    if said:
        about["preface"] = said
    return about, messages


def _take_about(line: str, about: dict[str, str], preface: list[str]) -> None:
    if (found := _ABOUT.match(line)) is not None:
        about[{"Chat URL": "url"}.get(found[1], found[1].casefold())] = found[2].strip()
        if "Last Updated:" in found[2]:
            # Some formatters join the two lines.
            about["created"], _, about["last updated"] = found[2].partition("Last Updated:")
    elif (found := _TITLE.match(line)) is not None and "title" not in about:
        about["title"] = found[1].strip()
    elif not _RULE.match(line):
        preface.append(line)


def _take_between(line: str, messages: list[_Message]) -> None:
    """A line behind a message's end: nothing, a rule, the next message of the same speaker, or somebody's remark."""
    last = messages[-1]
    if not line.strip() or _RULE.match(line):
        return
    if _QUOTED.match(line):
        messages.append(_Message(last.speaker, last.name, last.date, [line], old=last.old))
    else:
        last.lines += ["", line]
        last.closed = False


def _only_rules_before_header(lines: list[str], number: int, *, bare: bool) -> bool:
    after = lines[number + 1 : number + 1 + _LOOK_AHEAD]
    for line in after:
        if line.strip() and not _RULE.match(line):
            return _header(line, bare=bare) is not None
    return len(after) < _LOOK_AHEAD


def _header(line: str, *, bare: bool) -> _Message | None:
    """The message that a line begins.

    The plugin puts no space behind ``>``; in a note where it did so (`bare`), one with a space is pasted text.
    """
    found = _HEADER.match(line)
    if found is None:
        return _heading(line) if line.startswith("##") else None
    if bare and found.group(1):
        return None
    kind = found.group(2).casefold()
    speaker = {"user": Speaker.USER, "system": Speaker.SYSTEM, "tool": Speaker.TOOL}.get(kind, Speaker.ASSISTANT)
    named = _NAME.match(found.group(3))
    name, rest = (named[1], named[2]) if named else ("", found.group(3))
    date = written_date(rest[:200])
    message = _Message(speaker, name.strip(), date)
    if date is None and not named:
        name, _, rest = rest.strip().partition(" - ")
        message.name = name.strip()
    left = _AFTER_TIME.sub("", rest[date.end :] if date else rest).strip()
    if left:
        message.lines.append(left)
    return message


def _heading(line: str) -> _Message | None:
    found = _HEADING.match(line)
    if found is None:
        return None
    name, date = found[1].strip(), written_date(found[2])
    folded = name.casefold()
    if date is None or (folded not in _USERS and folded not in _AGENTS):
        return None
    return _Message(Speaker.USER if folded in _USERS else Speaker.ASSISTANT, name, date, old=True)


def _turns(messages: list[_Message], provider: str, *, day_first: bool, zone: tzinfo | None) -> Iterator[Turn]:
    seen: set[str] = set()
    for number, one in enumerate(messages, 1):
        text, names = without_callouts(_unquoted(one))
        if not text.strip() and not names:
            continue
        known = one.uid if one.uid and one.uid != "unknown" and one.uid not in seen else f"{number}"
        seen.add(known)
        time = one.date.moment(day_first=day_first, zone=zone) if one.date else None
        yield Turn(one.speaker, text.strip("\n"), time, _author(one, provider), known, names)


def _author(message: _Message, provider: str) -> str:
    if message.speaker is Speaker.USER:
        return "" if message.name.casefold() in _USERS else message.name
    if message.speaker is not Speaker.ASSISTANT:
        return ""
    if message.name.casefold() in {"", "assistant", "ассистент", "unknown"}:
        return _PROVIDERS.get(provider, provider) or "Assistant"
    return message.name


def _unquoted(message: _Message) -> str:
    """The text of a message without the quote marks that the note puts before each line."""
    lines = message.lines
    quoted = [line for line in lines if _QUOTED.match(line) and line.strip(" >")]
    # The old form puts answers behind two marks.
    twice = message.old and message.speaker is Speaker.ASSISTANT
    twice = twice and bool(quoted) and all(_QUOTED.match(_QUOTED.sub("", line, count=1)) for line in quoted)
    text = []
    for line in lines:
        once = _QUOTED.sub("", line, count=1)
        text.append(_QUOTED.sub("", once, count=1) if twice else once)
    return "\n".join(text).strip("\n")


def _own_order(about: dict[str, str], messages: list[_Message]) -> bool | None:
    dates = [one.date for one in messages if one.date is not None]
    known = []
    for key, line in (("create_time", "created"), ("update_time", "last updated")):
        moment, date = _iso(about.get(key, "")), written_date(about.get(line, ""))
        if moment is not None and date is not None:
            known.append((date, moment))
    if (moment := _iso(about.get("create_time", ""))) is not None and dates:
        known.append((dates[0], moment))
    return day_first_of(dates, known)


def _iso(value: str) -> float | None:
    return seconds(value) if re.match(r"^\d{4}-\d\d-\d\dT", value) else None


def _zone(about: dict[str, str], *, day_first: bool) -> tzinfo | None:
    """The zone of the note's times: what lies between its two times of creation, in steps of a quarter of an hour."""
    moment, date = _iso(about.get("create_time", "")), written_date(about.get("created", ""))
    if moment is None or date is None or not date.timed:
        return None
    local = date.moment(day_first=day_first, zone=UTC)
    if local is None:
        return None
    quarters = round((local - moment) / 900)
    if abs(quarters) > 56 or abs(local - moment - quarters * 900) > 60:
        return None
    return timezone(timedelta(minutes=15 * quarters))


def _moment(about: dict[str, str], key: str, line: str, *, day_first: bool, zone: tzinfo | None) -> float | None:
    value = about.get(key, "")
    found = _iso(value)
    if found is not None:
        return found
    date = written_date(value) or written_date(about.get(line, ""))
    return date.moment(day_first=day_first, zone=zone) if date else None


def _provider(about: dict[str, str]) -> str:
    given = about.get("provider", "").casefold()
    if given:
        return given
    known = next((name for host, name in _HOSTS.items() if host in about.get("url", "")), "")
    # Before it named whose conversations they are, the plugin read those of ChatGPT alone.
    return known or ("chatgpt" if about.get("nexus") else "")
