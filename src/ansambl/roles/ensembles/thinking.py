"""Telling thinking from answer in a stream whose engine leaves ``<think>`` blocks in the content."""

from __future__ import annotations

from dataclasses import dataclass

_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a stream."""

    text: str
    is_thinking: bool


class ThinkingSplitter:
    """Splits content as it arrives; holds back only what may be the beginning of a mark."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def feed(self, content: str) -> list[Piece]:
        """The pieces that are certain now."""
        self._held += content
        found: list[Piece] = []
        while True:
            mark = _CLOSE if self._thinking else _OPEN
            before, met, after = self._held.partition(mark)
            if not met:
                break
            self._emit(found, before)
            self._held, self._thinking = after, not self._thinking
        kept = _overlap(self._held, mark)
        self._emit(found, self._held[: len(self._held) - kept])
        self._held = self._held[len(self._held) - kept :]
        return found

    def finish(self) -> list[Piece]:
        """What was held back, at the end of the stream."""
        found: list[Piece] = []
        self._emit(found, self._held)
        self._held = ""
        return found

    def _emit(self, found: list[Piece], written: str) -> None:
        if written:
            found.append(Piece(written, self._thinking))


def _overlap(written: str, mark: str) -> int:
    return next((size for size in range(min(len(mark) - 1, len(written)), 0, -1) if written.endswith(mark[:size])), 0)
