"""The slots of the fake engine: what each holds, and llama.cpp's calls that save, restore, fill and empty them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansambl.testing.fake_http import Request

_TOKEN = re.compile(r"\s*\S{1,6}|\s+")
_SLOT = re.compile(r"/slots/(\d+)")
_ACTION = re.compile(r"action=(save|restore|erase)")
_BYTES_PER_TOKEN = 100


def tokenize(text: str) -> list[str]:
    """Split text as a tokenizer would, roughly: pieces of at most six letters."""
    return _TOKEN.findall(text)


def render(messages: list[dict[str, Any]]) -> str:
    """Messages as one prompt, in the ChatML template that many models use."""
    return "".join(f"<|im_start|>{one.get('role')}\n{content_of(one)}<|im_end|>\n" for one in messages) + (
        "<|im_start|>assistant\n"
    )


def content_of(message: dict[str, Any]) -> str:
    """The text of a message, whether it is one text or a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


class PrefixCache:
    """What each slot of an engine last worked on; a prompt that begins alike need not be read again."""

    def __init__(self, slots: int) -> None:
        self._slots: list[list[str]] = [[] for _ in range(slots)]
        self._free = list(range(slots))
        self._waiting: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._slots)

    async def take(self, prompt: list[str], pinned: int | None = None) -> tuple[int, int]:
        """Take the free slot that shares the longest beginning with `prompt`, or the `pinned` one when it is free.

        Returns its number, and the tokens shared.
        """
        while pinned is not None and pinned not in self._free:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        best = max(self._free, key=lambda slot: _shared(self._slots[slot], prompt)) if pinned is None else pinned
        self._free.remove(best)
        # The last token is always computed: its result is what the first new token is chosen from.
        return best, max(0, min(_shared(self._slots[best], prompt), len(prompt) - 1))

    def give_back(self, slot: int, content: list[str]) -> None:
        """Free a slot, which now holds `content`."""
        self._slots[slot] = content
        # Least recently used first, as engines choose among slots that share nothing.
        self._free.append(slot)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def content(self, slot: int) -> list[str]:
        """What a slot holds."""
        return self._slots[slot]


def _shared(one: list[str], other: list[str]) -> int:
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


_Answer = tuple[int, dict[str, Any]]


class FakeSlots:
    """llama.cpp's calls around slots; without a `folder` only those that need none. `prefill_rate` in tokens/s."""

    def __init__(self, cache: PrefixCache, folder: str | None, script: Mapping[str, str], prefill_rate: float) -> None:
        self._cache = cache
        self._folder = folder
        self._script = script
        self._prefill_rate = prefill_rate
        self._words: list[str] = []
        self._numbers: dict[str, int] = {}

    async def answer(self, request: Request) -> _Answer | None:
        """The status and body for one of the calls; None for another path."""
        try:
            body = json.loads(request.body or b"{}")
            if request.path == "/apply-template":
                if "no-template" in self._script:
                    return _refused("the fake was told to refuse templates")
                return 200, {"prompt": render(body["messages"])}
            if request.path == "/tokenize":
                return 200, {"tokens": [self._number(one) for one in tokenize(body["content"])]}
            if request.path == "/completion":
                return await self._prefill(body)
            found, action = _SLOT.fullmatch(request.path), _ACTION.fullmatch(request.query)
            return await self._state(int(found[1]), action[1], body) if found and action else None
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return _refused("cannot read the request")

    def _number(self, word: str) -> int:
        if word not in self._numbers:
            self._numbers[word] = len(self._words)
            self._words.append(word)
        return self._numbers[word]

    async def _prefill(self, body: dict[str, Any]) -> _Answer:
        prompt = [self._words[one] for one in body["prompt"]]
        slot, cached = await self._cache.take(prompt, body.get("id_slot"))
        try:
            await asyncio.sleep((len(prompt) - cached) / self._prefill_rate)
        finally:
            self._cache.give_back(slot, prompt)
        return 200, {"timings": {"cache_n": cached, "prompt_n": len(prompt) - cached}, "id_slot": slot}

    async def _state(self, slot: int, action: str, body: dict[str, Any]) -> _Answer:
        if self._folder is None or "saves-nothing" in self._script:
            return 501, {"error": {"message": "This server does not support slots action. Start it with "
                                   "`--slot-save-path`", "type": "not_supported_error"}}  # fmt: skip
        await self._cache.take([], slot)
        content = self._cache.content(slot)
        try:
            if action == "erase":
                count, content = len(content), []
                return 200, {"id_slot": slot, "n_erased": count}
            if action == "save":
                count = self._write(str(body["filename"]), content)
                return 200, {"id_slot": slot, "n_saved": count, "n_written": count * _BYTES_PER_TOKEN}
            content = self._read(str(body["filename"]))
        except OSError:
            return _refused("Unable to restore slot: No available space in KV cache or invalid slot save file")
        else:
            count = len(content)
            content = [] if "restores-nothing" in self._script else content
            return 200, {"id_slot": slot, "n_restored": count, "n_read": count * _BYTES_PER_TOKEN}
        finally:
            self._cache.give_back(slot, content)

    def _write(self, name: str, content: list[str]) -> int:
        Path(f"{self._folder}{name}").write_text(json.dumps(content))
        return len(content)

    def _read(self, name: str) -> list[str]:
        found: list[str] = json.loads(Path(f"{self._folder}{name}").read_text())
        return found


def _refused(message: str) -> _Answer:
    return 400, {"error": {"code": 400, "message": message, "type": "invalid_request_error"}}
