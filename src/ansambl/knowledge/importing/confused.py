"""Russian text in one old character set that was read as another: ``Ïðèâåò`` and ``оПХБЕР`` were ``Привет``.

Every letter stands for a letter here, so no form proves the mistake, as in UTF-8 it does. The pairs of letters in the
words do: nine in ten of those in a Russian text are among 243, and of a confused text hardly half. Lines of fewer than
`LEAST` letters are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

LEAST = 10
_VARIETY = 6
_SAMPLE = 160
"""Letters of a line that tell whether all of it is right: most lines are, and this is asked of every one."""
_RIGHT, _WRONG = 0.75, 0.5
"""Shares of frequent pairs: what is taken for Russian, and what is surely none."""
# Counted over the Russian manual pages and documents of a Debian system: the pairs that make up 93 % of all. A letter,
# then what follows it.
_FOLLOWING = (
    "абвдежзйклмнпрстхцчшюя баеорущы ваеиклносы гору давеилноруы евгдежзйклмнрстч жадеин завдмноуы "
    "ибвдезийклмнрстхцчюя йлст каеилорсту лаеиноуыьюя маеиоуыя надеинотуфыя обвгдежзийклмнопрстчш паеиору "
    "равежимотуы саеиклмопстья тавеикнорсуыь угдежкмпстчю фаио хо цеи чаеинт шаеи щеи ывеймтх ьзкнсш эт ютчщ "
    "яет ёнт"
)
_PAIRS = frozenset(group[0] + letter for group in _FOLLOWING.split() for letter in group[1:])
_MEANT = frozenset(map(chr, range(0x410, 0x450))) | frozenset("Ёё«»—–…№“”„‚‘’·°•\u00a0\u00ad")
_WORD = re.compile(r"[А-Яа-яЁё]+")
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_MIXED = re.compile(r"[A-Za-z][À-ÖØ-öø-ÿ]|[À-ÖØ-öø-ÿ][A-Za-z]")
_ODD_CASE = re.compile(r"[а-яё][А-ЯЁ]")


@dataclass(frozen=True, slots=True)
class _Confusion:
    """`letters` gives for each letter as it was read the one that was meant; `hint` must be in a line at all."""

    name: str
    letters: Mapping[str, str]
    hint: re.Pattern[str]


def _confusion(meant: str, read: str, name: str, hint: str) -> _Confusion:
    letters: dict[str, str] = {}
    for byte in range(0x80, 0x100):
        raw = bytes((byte,))
        right, wrong = raw.decode(meant, "replace"), raw.decode(read, "replace")
        if right != "�":
            letters[wrong if wrong != "�" else chr(byte)] = right
    return _Confusion(name, letters, re.compile(hint))


@cache
def _confusions() -> tuple[_Confusion, ...]:
    return (
        _confusion("cp1251", "cp1252", "windows-1251 as windows-1252", "[À-ÿ]{3}"),
        _confusion("koi8_r", "cp1252", "koi8-r as windows-1252", "[À-ÿ]{3}"),
        _confusion("cp866", "cp1252", "cp866 as windows-1252", "[¡-ÿ]{3}"),
        _confusion("koi8_r", "cp1251", "koi8-r as windows-1251", "[а-яё][А-ЯЁ]"),
        _confusion("cp1251", "koi8_r", "windows-1251 as koi8-r", "[а-яё][А-ЯЁ]"),
        _confusion("cp866", "cp1251", "cp866 as windows-1251", "[а-яЁЎўҐ][ЎўҐ¤¬­®¦§¨©Є«Ї]"),
        _confusion("cp1251", "cp866", "windows-1251 as cp866", "[Ёр-я][Ёр-яєЄїЇ]"),
        _confusion("cp1251", "mac_roman", "windows-1251 as mac-roman", "[‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uf8ffÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ]{3}"),
    )


def cleared(line: str) -> tuple[str, str, int] | None:
    """A line as it was meant, the confusion's name, and how many letters were put right; None where there is none."""
    if len(line) < LEAST or line.isascii() or _looks_right(line[:_SAMPLE]):
        return None
    best: tuple[float, str, str] | None = None
    for one in _confusions():
        if one.hint.search(line) is None or (meant := _meant(one, line)) is None:
            continue
        share = _share(meant)
        if share >= _RIGHT and _sane_case(meant) and (best is None or share > best[0]):
            best = (share, meant, one.name)
    if best is None or _looks_right(line):
        return None
    return best[1], best[2], sum(a != b for a, b in zip(line, best[1], strict=True))


def _meant(one: _Confusion, line: str) -> str | None:
    changed = []
    for letter in line:
        right = letter if letter.isascii() else one.letters.get(letter)
        if right is None or not (right.isascii() or right in _MEANT):
            return None
        changed.append(right)
    meant = "".join(changed)
    letters = "".join(_WORD.findall(meant))
    # A rule of dashes and a row of one letter would be "ссссс", which is a frequent pair.
    return meant if len(letters) >= LEAST and len(set(letters.lower())) >= _VARIETY else None


def _share(text: str) -> float:
    pairs = hits = 0
    for word in _WORD.findall(text):
        small = word.lower()
        pairs += len(small) - 1
        hits += sum(small[place : place + 2] in _PAIRS for place in range(len(small) - 1))
    return hits / pairs if pairs >= LEAST // 2 else 0.0


def _sane_case(text: str) -> bool:
    words = _WORD.findall(text)
    return sum(_ODD_CASE.search(word) is not None for word in words) * 10 <= len(words)


def _looks_right(line: str) -> bool:
    """Whether the line may be meant as it is: Russian as it stands, or a Latin script with its accents."""
    if _MIXED.search(line):
        return True
    if _WORD.search(line):
        return _share(line) > _WRONG
    return not any(len(found) >= 4 for found in _FOREIGN.findall(line))
