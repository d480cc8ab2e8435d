"""Sizes and numbers as a page writes them, in its language. Scripts do the same in ``static/lib/words.js``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

GIB = 2**30
MIB = 2**20
KIB = 2**10

_THIN_SPACE = "\u00a0"


@dataclass(frozen=True, slots=True)
class Forms:
    """Formatters for one language; templates call them as ``form.size(…)``."""

    speak: Callable[[str], str]
    language: str

    def number(self, value: float | None, digits: int = 0) -> str:
        """A number with its groups and its decimal mark; a dash where there is none."""
        if value is None:
            return "–"
        written = f"{value:,.{digits}f}"
        if self.language == "ru":
            return written.replace(",", _THIN_SPACE).replace(".", ",")
        return written

    def size(self, value: float | None) -> str:
        """Bytes in the unit that leaves few digits; a dash where there are none."""
        if value is None:
            return "–"
        speak = self.speak
        if value >= GIB:
            return speak("{amount} GiB").format(amount=self.number(value / GIB, 1))
        if value >= MIB:
            return speak("{amount} MiB").format(amount=self.number(value / MIB))
        return speak("{amount} KiB").format(amount=self.number(value / KIB, 1 if value < 10 * KIB else 0))

    def range(self, value: dict[str, float] | None) -> str:
        """A forecast's low and high; a dash where there is none."""
        if value is None:
            return "–"
        digits = 1 if value["high"] < 10 else 0
        low, high = (self.number(value[key], digits) for key in ("low", "high"))
        return low if low == high else f"{low}–{high}"

    @staticmethod
    def sentence(words: str) -> str:
        """`words` with a capital where they begin with a word, not with a name such as vLLM or llama.cpp."""
        first = words.split(" ", 1)[0]
        return words[:1].upper() + words[1:] if first.isalpha() and first.islower() else words

    def share(self, part: float, whole: float) -> float:
        """How many of a hundred `part` is of `whole`, between 0 and 100, to a tenth: the width of a bar."""
        return round(min(max(part / whole, 0.0), 1.0) * 100, 1) if whole > 0 else 0.0


def of(speak: Callable[[str], str], language: str) -> Forms:
    """The formatters of a language."""
    return Forms(speak, language)
