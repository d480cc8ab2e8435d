"""What a chat template does with the parts of a conversation, found by rendering it and never by its name.

A conversation of a few turns with words that occur nowhere else is rendered again and again, with one thing changed
each time; where the prompt changes first tells where the thing stands. What a template refuses is refused, what cannot
be found out is unknown: a probe never fails.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansambl.domain.chat_template import KWARGS, Continuity, DateUse, Place, TemplateFacts
from ansambl.model_catalog.template_rendering import ChatTemplate, TemplateRefusedError

_REQUEST_FIELDS = ("reasoning_effort", "response_format", "documents")
# What engines always give to a template, or what is no choice of a request.
_GIVEN = frozenset(
    ("messages", "tools", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token", "strftime_now",
     "loop", "raise_exception", "ns", "self")
)  # fmt: skip
_OPENING = 64
"""Characters that open an answer at most: a few special tokens."""
_TRIED = 60
"""Variables that are tried; no real template asks for half as many."""
_KEPT = 256
"""Templates whose facts are kept."""
_DAYS = (dt.datetime(2001, 2, 3, 4, 5, 6), dt.datetime(2019, 11, 28, 17, 48, 59))  # noqa: DTZ001 - a day, no moment

# Longer than what opens an answer (`_OPENING`), so that it is not taken for that.
_SYSTEM = "zzsystem words, which are the same in every turn of the talk and come from the client that asks"
_FIRST, _SAID, _NEWEST = "zzfirst question", "zzfirst answer", "zzsecond question"
_ANSWER, _THIRD, _TRAILING, _THOUGHT = "zzsecond answer", "zzthird question", "zztrailing words", "zzearlier thought"
_NOTES = ("[Role: one]\nzznote of one\n[/Role]", "[Role: other]\nzznote of other\n[/Role]")
_NOTE_WORDS = "zznote of one"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "zzlook",
            "description": "Looks something up.",
            "parameters": {
                "type": "object",
                "properties": {"where": {"type": "string", "description": "The place."}},
                "required": ["where"],
            },
        },
    }
]
_DOCUMENTS = [{"title": "zztitle", "text": "zztext", "doc_id": "1", "contents": "zztext", "content": "zztext"}]
_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "zzshape", "strict": True, "schema": {"type": "object", "properties": {}}},
}

Message = dict[str, Any]

_NOTHING: Mapping[str, Any] = {}

_known: OrderedDict[str, TemplateFacts] = OrderedDict()
_lock = threading.Lock()


def template_digest(source: str) -> str:
    """What `TemplateFacts.digest` says of a template with this text."""
    return hashlib.blake2b(source.encode("utf-8", "replace"), digest_size=16).hexdigest()


def probe_template(source: str, *, bos: str = "", eos: str = "") -> TemplateFacts:
    """What the template does; `bos` and `eos` are the tokens that its model begins and ends with.

    It takes some tens of milliseconds (never more than seconds), and the answer is kept.
    """
    digest = template_digest(source)
    key = template_digest(f"{digest}\0{bos}\0{eos}")
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    found = _probe(source, digest, bos, eos)
    with _lock:
        _known[key] = found
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return found


def combined(default: TemplateFacts, other: TemplateFacts) -> TemplateFacts:
    """What holds whichever of two templates an engine takes: of each fact the one that promises less."""
    # What only one of them knows is unknown, and what either writes at the head is head material.
    harmless = (Place.LOST, Place.TAIL)
    fields = {
        name: default.fields[name] if default.fields[name] not in harmless else place
        for name, place in other.fields.items()
        if name in default.fields
    }
    worst = (Continuity.EARLY, Continuity.LAST_ANSWER, Continuity.FULL)
    return replace(
        default,
        note_kept=default.note_kept and other.note_kept,
        system=default.system if other.system in {Place.HEAD, Place.UNKNOWN} else other.system,
        trailing_system=default.trailing_system if other.trailing_system is Place.TAIL else other.trailing_system,
        trailing_stays=default.trailing_stays and other.trailing_stays,
        continuity=min(default.continuity, other.continuity, key=worst.index),
        keeps_thinking=default.keeps_thinking and other.keeps_thinking,
        fields=fields,
        date=default.date or other.date,
    )


def _probe(source: str, digest: str, bos: str, eos: str) -> TemplateFacts:
    unknown = TemplateFacts(digest, system=Place.UNKNOWN, continuity=Continuity.EARLY)
    try:
        template = ChatTemplate(source)
    except TemplateRefusedError:
        return unknown
    probe = _find_way(template, bos, eos)
    if probe is None:
        return unknown
    system = probe.system()
    probe.with_system = system in {Place.HEAD, Place.MOVES}
    return replace(
        unknown,
        note_kept=probe.note_kept(),
        system=system,
        trailing_system=probe.trailing_system(),
        continuity=probe.continuity(),
        keeps_thinking=probe.keeps_thinking(),
        fields=dict(sorted(probe.fields())),
        date=probe.date(),
        trailing_stays=probe.trailing_stays(),
    )


def _find_way(template: ChatTemplate, bos: str, eos: str) -> _Probe | None:
    """A way to ask the template in which it shows a conversation; None when there is none."""
    tools: Sequence[Mapping[str, Any]] = ({"tools": None}, {}, {"tools": _TOOLS})
    for parts in ((), ("system", "user"), ("system", "user", "assistant")):
        for given in tools:
            probe = _Probe(template, {**given, "bos_token": bos, "eos_token": eos}, parts)
            for with_system in (True, False):
                probe.with_system = with_system
                shown = probe.show(probe.talk())
                if shown is not None and _in_order(shown, _FIRST, _SAID, _NEWEST):
                    return probe
    return None


class _Probe:
    """One template, asked in one way: `given` are its values, `parts` the roles whose content is a list of parts."""

    def __init__(self, template: ChatTemplate, given: Mapping[str, Any], parts: Sequence[str]) -> None:
        self._template = template
        self._given = given
        self._parts = parts
        self.with_system = True

    def message(self, role: str, content: str, **more: Any) -> Message:
        listed = role in self._parts
        return {"role": role, "content": [{"type": "text", "text": content}] if listed else content, **more}

    def talk(self, *more: Message, newest: str = _NEWEST, thought: str | None = None) -> list[Message]:
        """A turn, then the newest message; `more` comes after it."""
        talk = [
            self.message("user", _FIRST),
            self.message("assistant", _SAID, **_thinking(thought)),
            self.message("user", newest),
            *more,
        ]
        return [self.message("system", _SYSTEM), *talk] if self.with_system else talk

    def show(
        self, messages: list[Message], values: Mapping[str, Any] = _NOTHING, *, day: dt.datetime = _DAYS[0],
        formats: list[str] | None = None,
    ) -> str | None:  # fmt: skip
        """The prompt; None when the template refuses."""
        given = {"messages": messages, "add_generation_prompt": True, **self._given, **values}
        try:
            return self._template.render(given, now=day, formats=formats)
        except TemplateRefusedError:
            return None

    def note_kept(self) -> bool:
        one, other = (self.show(self.talk(newest=f"{_NEWEST}\n\n{note}")) for note in _NOTES)
        if one is None or other is None or not _in_order(one, _SAID, _NEWEST, _NOTE_WORDS):
            return False
        return _shared(one, other) >= one.index(_NEWEST) + len(_NEWEST)

    def system(self) -> Place:
        self.with_system = True
        shown = self.show(self.talk())
        if shown is None:
            return Place.REFUSED
        if _SYSTEM not in shown:
            return Place.LOST
        # One that is written twice moves on with its second copy.
        return Place.HEAD if shown.rindex(_SYSTEM) < shown.index(_FIRST) else Place.MOVES

    def trailing_system(self) -> Place:
        trailing = self.message("system", _TRAILING)
        without, shown = self.show(self.talk()), self.show(self.talk(trailing))
        if shown is None or without is None:
            return Place.REFUSED
        if _TRAILING not in shown:
            return Place.LOST
        place = shown.index(_TRAILING)
        if place < shown.index(_FIRST):
            return Place.HEAD
        if place < shown.index(_NEWEST):
            return Place.MOVES
        kept = _shared(without, shown) >= shown.index(_NEWEST) + len(_NEWEST)
        return Place.TAIL if kept else Place.UNKNOWN

    def trailing_stays(self) -> bool:
        """Whether a system message after a user message keeps its place when the talk goes on."""
        trailing = self.message("system", _TRAILING)
        now = self.show(self.talk(trailing))
        turns = (self.message("assistant", _ANSWER), self.message("user", _THIRD), trailing)
        later = self.show(self.talk(trailing, *turns))
        if now is None or later is None or not _in_order(later, _NEWEST, _TRAILING, _ANSWER, _THIRD):
            return False
        return _shared(now, later) >= later.index(_TRAILING) + len(_TRAILING)

    def continuity(self) -> Continuity:
        plain = self._continuity(None)
        return plain if self._continuity(_THOUGHT) is not Continuity.EARLY else Continuity.EARLY

    def _continuity(self, thought: str | None) -> Continuity:
        now = self.show(self.talk(thought=thought))
        answer = self.message("assistant", _ANSWER, **_thinking(thought))
        later = self.show(self.talk(answer, self.message("user", _THIRD), thought=thought))
        if now is None or later is None or _ANSWER not in later:
            return Continuity.EARLY
        if later.startswith(now):
            return Continuity.FULL
        same = _shared(now, later)
        closed = self.show(self.talk(thought=thought), {"add_generation_prompt": False}) or now
        # What opens the answer may change: some templates open it with a thinking block, whatever they are asked.
        opening = len(now) - same if closed == now else len(closed) - same
        enough = same >= now.index(_NEWEST) + len(_NEWEST) and opening <= (_OPENING if closed == now else 0)
        return Continuity.LAST_ANSWER if enough else Continuity.EARLY

    def keeps_thinking(self) -> bool:
        answer = self.message("assistant", _ANSWER, **_thinking(_THOUGHT))
        shown = self.show(self.talk(answer, self.message("user", _THIRD), thought=_THOUGHT))
        return shown is not None and shown.count(_THOUGHT) > 1

    def fields(self) -> Iterator[tuple[str, Place]]:
        yield "tools", self._place("tools", [_TOOLS])
        tried: dict[str, Place] = {}
        # Some variables are asked for only where others are set to something.
        while asked := sorted((self._template.missed & self._template.variables) - _GIVEN - tried.keys()):
            for name in asked:
                if len(tried) >= _TRIED:
                    tried[name] = Place.UNKNOWN
                    continue
                tried[name] = self._place(name, self._values(name))
        for name in self._template.variables - _GIVEN:
            yield f"{KWARGS}.{name}", tried.get(name, Place.LOST)
        for name in _REQUEST_FIELDS:
            # Engines may write a response format themselves, so without a place in the template it stays unknown.
            if name in self._template.variables or name != "response_format":
                yield name, tried.get(name, Place.LOST)

    def _values(self, name: str) -> list[Any]:
        tried: list[Any] = list(self._template.compared.get(name, ())[:6])
        if name == "documents":
            return [_DOCUMENTS]
        if name == "response_format":
            return [_SCHEMA, {"type": "json_object"}]
        for one in (True, False, "low", "high", "zzvalue", 3, _DOCUMENTS, _TOOLS, {"zzkey": "zzvalue"}):
            if not any(one is other or (type(one) is type(other) and one == other) for other in tried):
                tried.append(one)
        return tried

    def _scenes(self) -> list[tuple[list[Message], dict[str, Any]]]:
        """Talks in which something may stand that does not stand in others."""
        rich = self.talk(thought=_THOUGHT)
        poor = [one for one in self.talk() if one["role"] != "system"]
        scenes = [(rich, {"tools": _TOOLS}), (self.talk(), {}), (poor, {})]
        return [one for one in scenes if self.show(*one) is not None]

    def _place(self, name: str, values: Sequence[Any]) -> Place:
        """Where `name` stands at the earliest, whatever it is set to."""
        found, refused, shown = Place.LOST, 0, 0
        for messages, given in self._scenes():
            if name in given:
                continue
            before = self.show(messages, given)
            if before is None or not _in_order(before, _FIRST, _SAID, _NEWEST):
                continue
            for value in values:
                after = self.show(messages, {**given, name: value})
                refused, shown = refused + (after is None), shown + (after is not None)
                if after is None or after == before:
                    continue
                if _shared(before, after) < before.index(_SAID) + len(_SAID):
                    return Place.HEAD
                found = Place.TAIL
        return Place.REFUSED if refused and not shown else found

    def date(self) -> DateUse | None:
        """The date at the head, and what can be set to keep it."""
        dated: list[tuple[list[Message], dict[str, Any], str]] = []
        formats: list[str] = []
        for messages, given in self._scenes():
            asked: list[str] = []
            one, other = (self.show(messages, given, day=day, formats=asked) for day in _DAYS)
            if one is None or other is None or one == other or _SAID not in one:
                continue
            if _shared(one, other) < one.index(_SAID):
                dated.append((messages, given, one))
                formats += asked
        if not dated:
            return None
        for wanted in dict.fromkeys(formats):
            pinned = _DAYS[0].strftime(wanted)
            for name in sorted(self._template.missed & self._template.variables - _GIVEN)[:_TRIED]:
                if all(
                    self.show(messages, {**given, name: pinned}, day=_DAYS[1]) == one for messages, given, one in dated
                ):
                    return DateUse(wanted, name)
        return DateUse(formats[0])


def _thinking(thought: str | None) -> dict[str, str]:
    # The names under which clients send thinking back, and templates look for it.
    return {} if thought is None else dict.fromkeys(("reasoning_content", "reasoning", "thinking"), thought)


def _in_order(shown: str, *words: str) -> bool:
    places = [shown.find(one) for one in words]
    return -1 not in places and places == sorted(places)


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
