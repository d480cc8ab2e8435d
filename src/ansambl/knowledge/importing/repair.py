"""Text that was decoded with the wrong character set, put right: ``–ü—Ä–∏–≤–µ—Ç`` was ``Привет``.

Only what is proven is touched. A misread letter of UTF-8 is two to four letters that by themselves make sense nowhere;
where some of them stand in a row (a *run*) nobody wrote that on purpose. Single ones prove little ("(–∞; +∞)" is
mathematics), so they are put right only beside runs that do, in the same line, with no other letters between. What is
damaged stays as it is. Each replaced run gives back the original when it is misread again, so nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from ansambl.knowledge.importing.confused import cleared
from ansambl.knowledge.importing.misread import Misreading, misreadings

_ROUNDS = 3
"""Mistakes are made twice (a file saved wrongly, and read wrongly again); more than three times was never seen."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A text as it was written, and what was undone.

    `mistake` is ``"mac-roman"`` or another name, several joined by ``+``; None where nothing was undone. `count` is how
    many characters were put right.
    """

    text: str
    mistake: str | None
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """Where a run stands in its line, what it was, and whether it proves a mistake."""

    start: int
    end: int
    text: str
    proof: bool


def repaired(text: str, expected: Collection[str] = ()) -> Repair:
    """`text` without the mistakes that it proves.

    Where one of `expected` is known from texts beside it, less proof is asked for: a line that holds nothing else but
    runs of it is put right, too.
    """
    if text.isascii():
        return Repair(text, None)
    undone: list[str] = []
    total = 0
    known = {name for one in expected for name in one.split("+")}
    for _ in range(_ROUNDS):
        found, name, count = _once(text, known)
        if not count:
            break
        text = found
        undone.append(name)
        total += count
    return Repair(text, "+".join(undone) or None, total)


def _once(text: str, expected: Collection[str]) -> tuple[str, str, int]:
    """One round over all lines: the text, the commonest mistake of it, and how many characters were put right."""
    letters = frozenset(text)
    likely = [one for one in misreadings() if one.may_be_in(text, letters)]
    lines = text.split("\n")
    tally: Counter[str] = Counter()
    proven = {one.name for one in likely if any(_proofs(one, line) for line in lines)} | set(expected)
    usable = [one for one in likely if one.name in proven]
    for number, line in enumerate(lines):
        if line.isascii():
            continue
        best, best_name, best_count = _best(usable, line)
        if not best_count and (other := cleared(line)) is not None:
            best, best_name, best_count = other
        if best_count:
            lines[number] = best
            tally[best_name] += best_count
    if not tally:
        return text, "", 0
    return "\n".join(lines), tally.most_common(1)[0][0], tally.total()


def _best(usable: Collection[Misreading], line: str) -> tuple[str, str, int]:
    """The line as most of it is put right, by which mistake, and how many characters that are."""
    best, name, most = line, "", 0
    for one in usable:
        mended, count = _line(one, line)
        if count > most:
            best, name, most = mended, one.name, count
    return best, name, most


def _proofs(one: Misreading, line: str) -> bool:
    return any(run.proof for run in _runs(one, line))


def _runs(one: Misreading, line: str) -> list[_Run]:
    runs = []
    for found in one.runs.finditer(line):
        start, end = found.span()
        text = one.undone(found.group())
        if text is not None:
            proof = one.proves(found.group(), text, line[start - 1 : start], line[end : end + 1])
            runs.append(_Run(start, end, text, proof))
    return runs


def _line(one: Misreading, line: str) -> tuple[str, int]:
    """A line with its runs put right, and how many characters that were."""
    runs = _runs(one, line)
    if not runs:
        return line, 0
    if any(run.proof for run in runs):
        chosen = _chosen(line, runs)
    else:
        rest = "".join(line[a.end : b.start] for a, b in pairwise(runs))
        rest += line[: runs[0].start] + line[runs[-1].end :]
        chosen = runs if rest.isascii() and any(len(run.text) > 1 or run.text.isalpha() for run in runs) else []
    pieces: list[str] = []
    position = count = 0
    for run in chosen:
        pieces += (line[position : run.start], run.text)
        position = run.end
        count += len(run.text)
    pieces.append(line[position:])
    return "".join(pieces), count


def _chosen(line: str, runs: list[_Run]) -> list[_Run]:
    """The runs that prove a mistake, and those beside them with nothing but ASCII between."""
    good = [run.proof for run in runs]
    for order in (range(1, len(runs)), range(len(runs) - 2, -1, -1)):
        step = -1 if order.step > 0 else 1
        for number in order:
            beside = number + step
            first, second = runs[min(number, beside)], runs[max(number, beside)]
            if not good[number] and good[beside] and _plain(line[first.end : second.start]):
                good[number] = True
    return [run for run, right in zip(runs, good, strict=True) if right]


def _plain(between: str) -> bool:
    return not any(letter.isalpha() and not letter.isascii() for letter in between)
