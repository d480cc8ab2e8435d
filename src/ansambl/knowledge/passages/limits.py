"""How long passages are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PassageLimits:
    """Sizes in tokens of the usual multilingual embedding models, as `tokens.estimate` counts them.

    `tokens` is the longest passage of prose; a code block or a table may have `whole` before it is cut. `overlap` is
    how much a passage repeats of the end of the one before, in whole sentences. `context` is the most that stands
    before a passage. Where a tokenizer differs most from the estimate (1.5 times, in Chinese and Thai prose), `whole`
    and `context` together still stay below the 512 tokens that small models read.
    """

    tokens: int = 256
    whole: int = 320
    overlap: int = 40
    context: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= self.tokens // 2 or self.tokens < 16 or self.whole < self.tokens:
            raise ValueError("a passage has at least 16 tokens, overlaps half of it at most, and `whole` is no less")


DEFAULT = PassageLimits()
