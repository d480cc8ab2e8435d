"""How UTF-8 looks when each of its bytes is read as a letter of an old character set: tables and patterns, pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

_RUSSIAN = frozenset(map(chr, (*range(0x400, 0x460), 0x490, 0x491)))
_OTHER_LETTERS = frozenset("ЁёІіЇїЄєҐґЎў")
_PLAUSIBLE = (
    (0xA0, 0x24F), (0x2B0, 0x386), (0x388, 0x3E1), (0x400, 0x52F), (0x591, 0x6FF), (0x900, 0xDFF), (0xE00, 0xE7F),
    (0x10A0, 0x10FF), (0x1E00, 0x1EFF), (0x2000, 0x2BFF), (0x2E80, 0x9FFF), (0xAC00, 0xD7A3), (0xFE0E, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFF00, 0xFFEF), (0x1F000, 0x1FAFF), (0xE0020, 0xE007F),
)  # fmt: skip
_NATURAL = frozenset(" «»…–—‘’“”„‚‹›•™\u00a0°·")
"""Signs that stand behind letters in right text, too: alone they prove nothing."""


_CYRILLIC = frozenset(("mac-cyrillic", "cp866", "koi8-r"))


@dataclass(frozen=True, slots=True)
class Misreading:
    """UTF-8 read as one character set: `name`, the byte of each of its letters from 0x80 on, and the pattern of runs.

    A run is one or more letters of UTF-8, each as two to four letters of the wrong set. `signs` are what stands for the
    bytes that go on a letter, `hint` finds how every run begins.
    """

    name: str
    letters: str
    bytes_of: Mapping[str, int]
    runs: re.Pattern[str]
    signs: frozenset[str]
    hint: re.Pattern[str]

    def may_be_in(self, text: str, letters: frozenset[str]) -> bool:
        """Whether `text`, which consists of `letters`, can hold a run at all; quick for right text."""
        return not self.signs.isdisjoint(letters) and self.hint.search(text) is not None

    def undone(self, run: str) -> str | None:
        """What `run` was; None where it is no UTF-8, or nothing that people write."""
        try:
            text = bytes(self.bytes_of[letter] for letter in run).decode()
        except (KeyError, UnicodeDecodeError):
            return None
        return text if all(_plausible(ord(letter)) for letter in text) else None

    def proves(self, run: str, text: str, before: str, after: str) -> bool:
        """Whether nobody would write `run` on purpose. `text` is what it was; the letters beside it are given."""
        weird = any((not letter.isalpha() or letter in "µªº") and letter not in _NATURAL for letter in run)
        if all(letter in _RUSSIAN for letter in text):
            return self._proves_russian(run, text, weird=weird)
        if self.name not in {"windows-1252", "mac-roman", "windows-1251"}:
            return False
        if len(text) == 1:
            return self._proves_one(run, text, before, after)
        if any(ord(letter) >= 0x1F000 or 0x2010 <= ord(letter) <= 0x205E for letter in text):
            return self._proves_signs(run, text)
        least = {"windows-1252": 2, "mac-roman": 3}.get(self.name, len(text) + 1)
        return weird and not set(run) <= set("×÷ßÖÜÄ²³") and _one_script(text, least)

    def _proves_signs(self, run: str, text: str) -> bool:
        """Whether one of several letters of UTF-8, dashes and emoji among them, proves it by itself."""
        position = 0
        for letter in text:
            size = len(letter.encode())
            if self._proves_one(run[position : position + size], letter, "", ""):
                return True
            position += size
        return False

    def _proves_russian(self, run: str, text: str, *, weird: bool) -> bool:
        plain = all(0x410 <= ord(letter) <= 0x44F or letter in _OTHER_LETTERS for letter in text)
        if not plain or any(a.islower() and b.isupper() for a, b in pairwise(text)):
            # Nobody writes so; the words beside it may still prove it.
            return False
        if self.name == "windows-1252":
            return len(text) >= 2
        if self.name == "windows-1251":
            # "РёС…": no word has a small letter before a capital one.
            weird = weird or run[1:2].islower()
            return len(text) >= 3 or (len(text) == 2 and weird)
        if self.name == "cp866":
            return len(text) >= 3 or (len(text) == 2 and any(letter.isalpha() for letter in run))
        if self.name == "mac-roman":
            return len(text) >= 3
        # KOI8-R: a table of single letters, "│я│п│"; Mac Cyrillic: "А—Б—В" names points of a line.
        signs = {letter for letter in run[1::2] if not letter.isalpha()}
        return len(text) >= 3 and (len(signs) >= 2 if self.name == "koi8-r" else bool(signs))

    def _proves_one(self, run: str, text: str, before: str, after: str) -> bool:
        """Whether one letter of UTF-8 proves it: accents in Latin text stand alone, between right letters."""
        code = ord(text)
        if 0x1F300 <= code <= 0x1FAFF:
            return True
        if len(run) == 3 and (0x2010 <= code <= 0x205E or code in {0x20AC, 0x2122}):
            return run[:2] in {"â€", "â\x80", "â‚", "â„", "‚Ä", "вЂ"}
        if self.name == "windows-1252":
            if run[0] == "Ã":
                return run[1] in "©¨ª¬®¯±²³´µ¶¸¹º¼½¾¿¤¡¢£§¥¦ŸœÉ‰‡ˆŠ‹\x80\x81\x87\x88\x89\x8d\x9f\x9c"
            return run[0] == "Â" and run[1] in "±²³´µ¶¸¹¼½¾£§©®¡¿¢¤¥¦¨¬°"
        return self.name == "mac-roman" and run[0] == "√" and _accent(run[1], before, after)


def _accent(sign: str, before: str, after: str) -> bool:
    """Whether a root and `sign` were an accented letter: √π and 2√º are mathematics, but not inside a word."""
    inside = before.isalpha() and after.isalpha()
    if sign == "∂":
        return inside and before != after
    return (inside or (before.isalpha() and sign in "©®")) and sign not in "π∞±∑≠≤≥∫∏Ωµ≈"


def _one_script(text: str, least: int) -> bool:
    """Whether `least` letters stand in it, and all are of one script: what is no misread UTF-8 gives a medley."""
    letters = [ord(letter) for letter in text if letter.isalpha()]
    if len(letters) < least:
        return False
    if all(0x2E80 <= code <= 0xD7A3 for code in letters):
        return True
    return len({max(code >> 8, 1) for code in letters}) == 1


def _plausible(code: int) -> bool:
    return any(first <= code <= last for first, last in _PLAUSIBLE) or 0x80 <= code < 0xA0


def _table(codec: str) -> str:
    letters = []
    for byte in range(0x80, 0x100):
        try:
            letters.append(bytes((byte,)).decode(codec))
        except UnicodeDecodeError:
            # Programs give a byte that their set has not as the control character of the same number.
            letters.append(chr(byte))
    return "".join(letters)


def _misreading(name: str, codec: str, also: Mapping[str, int] | None = None) -> Misreading:
    letters = _table(codec)
    bytes_of = {letter: number for number, letter in enumerate(letters, 0x80)}
    for letter, byte in (also or {}).items():
        bytes_of.setdefault(letter, byte)

    def some(first: int, last: int) -> str:
        return "[" + "".join(re.escape(one) for one, byte in bytes_of.items() if first <= byte <= last) + "]"

    following = some(0x80, 0xBF)
    two, three = some(0xC2, 0xDF), some(0xE0, 0xEF) + following
    begin = some(0xC2, 0xF4) + following
    if name in _CYRILLIC:
        # There bytes of every kind are common letters; what is looked for are Cyrillic ones, and signs such as dashes.
        two = f"[{''.join(re.escape(letters[byte - 0x80]) for byte in (0xC2, 0xC3, 0xD0, 0xD1, 0xD2))}]"
        three = re.escape(letters[0xE2 - 0x80]) + some(0x80, 0x9D)
        begin = f"(?:{two}{following}|{three}{following})"
    pattern = f"(?:{two}{following}|{three}{following}|{some(0xF0, 0xF4)}{following}{{3}})+"
    signs = frozenset(letter for letter, byte in bytes_of.items() if byte <= 0xBF)
    hint = re.compile(begin)
    return Misreading(name, letters, bytes_of, re.compile(pattern), signs, hint)


@cache
def misreadings() -> tuple[Misreading, ...]:
    """All that are known, the commonest first."""
    controls = {chr(byte): byte for byte in range(0x80, 0xA0)}
    return (
        _misreading("mac-roman", "mac_roman", {"¤": 0xDB, "Ω": 0xBD, "µ": 0xB5, "\u03bc": 0xB5}),
        _misreading("windows-1251", "cp1251", controls),
        # Latin-1 differs from it in the control characters only, and they mean the same bytes.
        _misreading("windows-1252", "cp1252", controls),
        _misreading("mac-cyrillic", "mac_cyrillic"),
        _misreading("cp866", "cp866"),
        _misreading("koi8-r", "koi8_r"),
    )
