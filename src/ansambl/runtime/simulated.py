"""The parts of a simulation: a trace of requests, and an instance that works on them.

The model of an engine, simple on purpose:

* With `n` requests at once each of them reads its prompt at ``prefill / n`` tokens a second: reading is bound by the
  device's operations, which the requests share.
* All answers together come at a rate that grows in a straight line from `decode` (one request) to `together` (as many
  as the instance works on at once): decoding is bound by the memory's bandwidth, and one pass over the weights serves
  all. Both ends are the planner's forecasts or measurements. That there is a line between them is an assumption, and so
  is that a request that still reads slows the others down like one that answers.
* A request of a conversation reads only what is new when the slot that it gets answered that conversation last, or when
  its state was saved before its instance stopped, where the engine keeps such states. An engine with one prefix cache
  for all slots finds it there as long as `cache_tokens` reach, least recently used out first. Restoring a state takes
  no time here: reading 2,000 tokens back took 15 ms where computing them took 23 s.
* Starting, waking and stopping take what the facts say. Nothing fails.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import heappop, heappush
from math import inf

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.records import InstanceFacts

CLASSES: tuple[RequestClass, ...] = tuple(RequestClass)
"""The classes by the numbers that stand for them in a trace."""


@dataclass(frozen=True, slots=True)
class SimulatedInstance:
    """An instance for the simulation.

    `prefill` and `decode` are tokens a second of one request alone, `together` those of all answers when `full`
    requests are answered at once (`decode` when left out: no gain). `cache_tokens` bounds the prefix cache of an
    engine that has one for all its slots (0: each slot has its own last request), `kept_tokens` the states that outlive
    a stop (0: none does).
    """

    facts: InstanceFacts
    prefill: float
    decode: float
    together: float | None = None
    full: int = 1
    cache_tokens: int = 0
    kept_tokens: int = 0


class Trace:
    """Requests in columns: a million of them take some 30 MB. Times are seconds; they may be added in any order."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.times = array("d")
        self.model = array("H")
        self.request_class = array("B")
        self.prompt = array("I")
        self.output = array("I")
        self.conversation = array("I")
        self._numbers: dict[str, int] = {}
        self._conversations: dict[str, int] = {}
        self.hints: list[bytes] = [b""]

    def __len__(self) -> int:
        return len(self.times)

    def add(
        self, t: float, model: str, request_class: RequestClass = RequestClass.INTERACTIVE, *, prompt_tokens: int,
        output_tokens: int, conversation: str | None = None,
    ) -> None:  # fmt: skip
        """Add a request."""
        number = self._numbers.get(model)
        if number is None:
            number = self._numbers[model] = len(self.models)
            self.models.append(model)
        chat = 0
        if conversation is not None:
            found = self._conversations.get(conversation)
            if found is None:
                found = self._conversations[conversation] = len(self.hints)
                self.hints.append(blake2b(conversation.encode(), digest_size=8).digest())
            chat = found
        self.times.append(t)
        self.model.append(number)
        self.request_class.append(CLASSES.index(request_class))
        self.prompt.append(prompt_tokens)
        self.output.append(output_tokens)
        self.conversation.append(chat)

    def order(self) -> Sequence[int]:
        """The requests' numbers by time; those of one moment as they were added."""
        times = self.times
        if all(times[one] <= times[one + 1] for one in range(len(times) - 1)):
            return range(len(times))
        return sorted(range(len(times)), key=times.__getitem__)


class SimulatedEngine:
    """What one instance works on. Requests share it evenly, so work is counted per request since it was last idle."""

    __slots__ = (
        "answering", "at", "cache", "cached", "due", "facts", "instance", "kept", "kept_tokens", "level", "places",
        "rate", "read", "reading", "running", "slots", "written",
    )  # fmt: skip

    def __init__(self, instance: SimulatedInstance) -> None:
        self.instance = instance
        self.facts = instance.facts
        self.running = 0
        self.at = self.read = self.written = self.rate = 0.0
        self.reading: list[tuple[float, int]] = []
        self.answering: list[tuple[float, int]] = []
        self.due = inf
        self.level: int | None = None
        self.places: dict[int, int | None] = {}
        self.slots: dict[int, tuple[int, int]] = {}
        self.cache: OrderedDict[int, int] = OrderedDict()
        self.cached = 0
        self.kept: OrderedDict[int, int] = OrderedDict()
        self.kept_tokens = 0

    def begin(self, now: float, index: int, tokens: float) -> None:
        """Begin to read `tokens` of a prompt."""
        self._go_on(now)
        self.running += 1
        heappush(self.reading, (self.read + tokens, index))
        self._plan(now)

    def go(self, now: float, output: array[int]) -> tuple[int, bool]:
        """At `due`: the request whose prompt is read, or (True) whose answer is complete."""
        self._go_on(now)
        reading, answering = self.reading, self.answering
        share = self.instance.prefill / self.running
        if reading and (
            not answering or (reading[0][0] - self.read) / share <= (answering[0][0] - self.written) / self.rate
        ):
            self.read, index = heappop(reading)
            heappush(answering, (self.written + output[index], index))
            done = False
        else:
            self.written, index = heappop(answering)
            self.running -= 1
            done = True
        self._plan(now)
        return index, done

    def _go_on(self, now: float) -> None:
        if self.running:
            passed = now - self.at
            self.read += passed * self.instance.prefill / self.running
            self.written += passed * self.rate
        else:
            self.read = self.written = 0.0
        self.at = now

    def _plan(self, now: float) -> None:
        running = self.running
        if not running:
            self.due = inf
            return
        one = self.instance
        full, most = one.full, one.together or one.decode
        together = most if running >= full else one.decode + (most - one.decode) * (running - 1) / (full - 1)
        self.rate = together / running
        due = inf
        if self.reading:
            due = (self.reading[0][0] - self.read) * running / one.prefill
        if self.answering:
            due = min(due, (self.answering[0][0] - self.written) / self.rate)
        self.due = now + max(0.0, due)

    def held(self, chat: int, slot: int | None) -> int:
        """Tokens of a conversation that need not be read again."""
        if self.instance.cache_tokens:
            tokens = self.cache.get(chat, 0)
        else:
            there = self.slots.get(slot or 0)
            tokens = there[1] if there is not None and there[0] == chat else 0
        return tokens or self.kept.get(chat, 0)

    def hold(self, chat: int, slot: int | None, tokens: int) -> None:
        """Note what the slot, or the prefix cache, holds of a conversation now."""
        limit = self.instance.cache_tokens
        if not limit:
            self.slots[slot or 0] = (chat, tokens)
        elif chat:
            self.cached = _put(self.cache, self.cached, chat, tokens, limit)

    def forget(self) -> None:
        """It stops or sleeps: what it held is saved as far as that is kept."""
        limit = self.instance.kept_tokens
        if limit:
            for chat, tokens in (*self.cache.items(), *self.slots.values()):
                if chat:
                    self.kept_tokens = _put(self.kept, self.kept_tokens, chat, tokens, limit)
        self.slots.clear()
        self.cache.clear()
        self.cached = 0


def _put(cache: OrderedDict[int, int], size: int, chat: int, tokens: int, limit: int) -> int:
    """Keep a conversation, the least recently used ones out; returns the tokens in all."""
    size += tokens - cache.pop(chat, 0)
    cache[chat] = tokens
    while size > limit and cache:
        size -= cache.popitem(last=False)[1]
    return size
