"""New conversations that are remembered, where the owner of this Ansambl has switched that on.

After an answer the conversation is written as a document of its own in the background: some seconds later, once for
several turns that follow each other at once. Its owner is the API key that held it, so no other key finds it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ansambl.dialects.openai_chat import Answer, Message
from ansambl.domain.errors import AnsamblError
from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Knowledge
from ansambl.roles import canonical
from ansambl.roles.notes import text_of

_log = get_logger(__name__)

SOURCE = "ansambl"
"""The source of conversations that were held here."""

DELAY = 5.0
"""Seconds after an answer until its conversation is written, so that a quick exchange is written once."""

MOST_WAITING = 500
"""Conversations that wait to be written; more than that are not remembered, and a line in the log says so."""

LONGEST_TITLE = 80
_MEDIA = {"image_url": "image", "input_image": "image", "input_audio": "audio", "file": "file"}


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """What is remembered. `names` are the roles, ensembles and models, `keys` the ids of API keys; None for all."""

    on: bool = False
    collection: str = "memory"
    names: frozenset[str] | None = None
    keys: frozenset[str] | None = None

    def remembers(self, name: str, key: str) -> bool:
        """Whether a conversation with `name` that `key` holds is remembered."""
        return self.on and (self.names is None or name in self.names) and (self.keys is None or key in self.keys)


class ConversationMemory:
    """Writes conversations into knowledge. One event loop uses it; the writing happens in a thread of its own.

    `now` tells seconds since the epoch.
    """

    def __init__(
        self, knowledge: Callable[[], Knowledge | None], settings: Callable[[], MemorySettings], *,
        delay: float = DELAY, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._knowledge = knowledge
        self._settings = settings
        self._delay = delay
        self._now = now
        self._waiting: OrderedDict[tuple[str, str], PastConversation] = OrderedDict()
        self._batch: OrderedDict[tuple[str, str], PastConversation] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    def wants(self, name: str, key: str) -> bool:
        """Whether conversations with `name` are remembered for `key`."""
        return self._settings().remembers(name, key)

    def note(self, messages: Sequence[Message], answer: Answer, *, name: str, key: str) -> None:
        """Remember a conversation with its newest answer, as long as that is still wanted. Returns at once."""
        if not self.wants(name, key) or answer.error is not None:
            return
        conversation = conversation_of(messages, answer, name=name, key=key, now=self._now())
        if conversation is None:
            return
        wanted = (key, conversation.id)
        if wanted not in self._waiting and len(self._waiting) >= MOST_WAITING:
            _log.warning("conversation_not_remembered", waiting=len(self._waiting))
            return
        self._waiting[wanted] = conversation
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._begin)

    async def close(self) -> None:
        """Write what still waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await self._writing
        await self._write()
        if self._thread is not None:
            self._thread.shutdown(wait=False)
            self._thread = None

    def forget(self, key: str) -> None:
        """Write nothing that waits of an API key."""
        for waiting in (self._waiting, self._batch):
            for wanted in [one for one in waiting if one[0] == key]:
                del waiting[wanted]

    def _begin(self) -> None:
        self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())
        else:
            # The one that writes now takes no more than it has begun with.
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._begin)

    async def _write(self) -> None:
        self._batch, self._waiting = self._waiting, OrderedDict()
        if not self._batch:
            return
        known, settings = self._knowledge(), self._settings()
        if known is None or not settings.on:
            return
        self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="memory")
        loop = asyncio.get_running_loop()
        while self._batch:
            # One by one: what is forgotten meanwhile is not written.
            (key, _), conversation = self._batch.popitem(last=False)
            try:
                await loop.run_in_executor(self._thread, _remember, known, conversation, settings.collection, key)
            except AnsamblError as error:
                _log.warning("conversation_not_remembered", reason=str(error))


def _remember(known: Knowledge, conversation: PastConversation, collection: str, key: str) -> None:
    known.create(collection)
    earlier: PastConversation | None = None
    with suppress(AnsamblError):
        earlier = known.conversation(conversation.id, (key,))
    known.remember(with_times(conversation, earlier), collection, key)


def conversation_of(
    messages: Sequence[Message], answer: Answer, *, name: str, key: str, now: float
) -> PastConversation | None:
    """A conversation up to an answer; None where nothing was said.

    What the client's system message and tools said is left out: it is no part of what was talked about. The id is a
    hash of the API key, the first question and its answer, which stay the same while the conversation grows.
    """
    said = canonical.strip_thinking(answer.content)
    if not said:
        return None
    turns = [turn for one in messages if (turn := _turn(one, name)) is not None]
    if not any(one.speaker is Speaker.USER for one in turns):
        return None
    turns.append(Turn(Speaker.ASSISTANT, said, now, name))
    turns = [replace(turn, id=str(number)) for number, turn in enumerate(turns, 1)]
    # Of the newest turn alone it is known when it was said.
    asked = max(number for number, turn in enumerate(turns) if turn.speaker is Speaker.USER)
    turns[asked] = replace(turns[asked], time=now)
    first = next(number for number, turn in enumerate(turns) if turn.speaker is Speaker.ASSISTANT)
    state = canonical.start(SOURCE, key)
    for turn in turns[: first + 1]:
        state = canonical.extend(state, {"role": turn.speaker.value, "content": turn.text})
    title = " ".join(next(one.text for one in turns if one.speaker is Speaker.USER).split())
    title = title if len(title) <= LONGEST_TITLE else f"{title[:LONGEST_TITLE].rsplit(' ', 1)[0]}…"
    return PastConversation(SOURCE, state.hex(), title, tuple(turns), updated=now, facts={"name": name})


def with_times(conversation: PastConversation, earlier: PastConversation | None) -> PastConversation:
    """A conversation with the times, and the speakers' names, of turns that were remembered before."""
    if earlier is None or earlier.source != SOURCE:
        created = next((one.time for one in conversation.turns if one.time is not None), None)
        return replace(conversation, created=created)
    turns = list(conversation.turns)
    for number, (turn, before) in enumerate(zip(turns, earlier.turns, strict=False)):
        if (turn.speaker, turn.text) != (before.speaker, before.text):
            break
        turns[number] = replace(turn, time=before.time or turn.time, author=before.author or turn.author)
    return replace(conversation, turns=tuple(turns), created=earlier.created)


def _turn(message: Message, name: str) -> Turn | None:
    speaker = {"user": Speaker.USER, "assistant": Speaker.ASSISTANT}.get(str(message.get("role")))
    if speaker is None:
        return None
    content: Any = message.get("content")
    said = text_of(content).strip()
    if speaker is Speaker.ASSISTANT:
        said = canonical.strip_thinking(said)
    parts = content if isinstance(content, list) else []
    media = tuple(_MEDIA[one["type"]] for one in parts if isinstance(one, dict) and one.get("type") in _MEDIA)
    if not said and not media:
        return None
    return Turn(speaker, said, author=name if speaker is Speaker.ASSISTANT else "", attachments=media)
