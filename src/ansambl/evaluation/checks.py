"""Grading an answer by its task's check. Pure; what has to run something is `ansambl.evaluation.grading`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ansambl.evaluation.final_answer import FinalAnswer, final_answer, without_thinking
from ansambl.evaluation.numbers import Readings, numbers_in
from ansambl.evaluation.refusals import refusal_in
from ansambl.evaluation.tasks import ChoiceCheck, ExactCheck, NumberCheck

_EDGES = " \t\r\n.,;:!?…\"'`*_()[]{}<>«»„“”‘’$\\"
_INNER = re.compile(r"[\s\u00a0\u202f]+")
# Letters of Russian that look like Latin ones: options are shown with Latin letters, answers come with either.
_LIKE_LATIN = str.maketrans("АВСЕНКМОРТХавсенкмортх", "ABCEHKMOPTXabcehkmoptx")
_RELATIVE = 1e-9
_LONGEST_FINAL = 300


@dataclass(frozen=True, slots=True)
class Grade:
    """Whether an answer is right, and what was taken for its final answer."""

    right: bool
    final: str


def normalised(words: str) -> str:
    """Words as they are compared: one form of each letter, small, ё as е, one blank between them, edges cleared."""
    flat = unicodedata.normalize("NFKC", words).casefold().replace("ё", "е")
    return _INNER.sub(" ", flat).strip(_EDGES)


def grade_exact(check: ExactCheck, answer: str) -> Grade:
    """Compare the final answer with the accepted ones.

    An unmarked final answer (a last line) that repeats the question's words is right only with `check.within`.
    """
    final = final_answer(answer)
    said = normalised(final.text)
    accepted = [normalised(one) for one in check.answers]
    right = said in accepted
    if not right and check.within and len(said) <= _LONGEST_FINAL:
        right = any(_stands_in(one, said) for one in accepted)
    return Grade(right, final.text)


def _stands_in(wanted: str, said: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", said) is not None


def grade_number(check: NumberCheck, answer: str, language: str) -> Grade:
    """Compare the final number with the wanted one.

    In a marked final answer it is the number after its last ``=``, else its first one; without a mark it is the last
    number of the last line that holds one. A number with two readings (``1,234``) is right when one of them is.
    """
    readings = _final_number(answer, language)
    if readings is None:
        return Grade(right=False, final="")
    allowed = check.tolerance + _RELATIVE * abs(check.answer)
    return Grade(any(abs(one - check.answer) <= allowed for one in readings), f"{readings[0]:g}")


def _final_number(answer: str, language: str) -> Readings | None:
    final = final_answer(answer)
    if final.marked:
        found = numbers_in(final.text.rpartition("=")[2], language) or numbers_in(final.text, language)
        if found:
            return found[0]
    for line in reversed(without_thinking(answer).splitlines()):
        found = numbers_in(line, language)
        if found:
            return found[-1]
    return None


def grade_choice(check: ChoiceCheck, answer: str) -> Grade:
    """Compare the option that the final answer names with the wanted one.

    In this order: a final answer that is a label, or begins with one and a sign (``B)``, ``(B)``, ``B.``, ``B:``); one
    that is an option's text; a text of several lines that begins with a label and a sign; the last label in brackets or
    after "option" in the final line; the only option whose text stands in the final line.
    """
    final = final_answer(answer)
    said = without_thinking(answer)
    named = (
        _leading_label(check, final.text, alone=final.marked)
        or _option_of(check, final.text)
        or _leading_label(check, said, alone=False)
        or _label_inside(check, final)
    )
    return Grade(named == check.answer, named or final.text[:_LONGEST_FINAL])


def _leading_label(check: ChoiceCheck, words: str, *, alone: bool) -> str | None:
    labels = "|".join(re.escape(one) for one in sorted(check.labels, key=len, reverse=True))
    flat = re.sub(r"^[\s*_`(\[\"'«$]+", "", words).translate(_LIKE_LATIN)
    # "A dog" is no label: a letter that a word follows needs a sign, or the mark "Answer:" before it.
    after = r"(?:[\s*_`]*(?:[).\]:,;*_`\"'»$]|$)" + (r"|\s" if alone else "") + ")"
    found = re.match(rf"({labels}){after}", flat) or re.match(rf"({labels})\W*$", flat, re.IGNORECASE)
    return found[1].upper() if found else None


def _option_of(check: ChoiceCheck, words: str) -> str | None:
    said = normalised(words)
    for label, option in zip(check.labels, check.options, strict=False):
        if said and said == normalised(option):
            return label
    return None


def _label_inside(check: ChoiceCheck, final: FinalAnswer) -> str | None:
    labels = "|".join(re.escape(one) for one in check.labels)
    flat = final.text.translate(_LIKE_LATIN)
    found = re.findall(rf"(?:\((?=\w+\))|\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+|\*\*)({labels})(?=[)\s.,:*]|$)", flat)
    if found:
        return str(found[-1])
    said = normalised(final.text)
    options = zip(check.labels, check.options, strict=False)
    inside = {label for label, option in options if normalised(option) and _stands_in(normalised(option), said)}
    return inside.pop() if len(inside) == 1 else None


def grade_harmless(answer: str) -> Grade:
    """Whether a harmless question was answered: with something, and not with a refusal."""
    phrase = refusal_in(answer)
    return Grade(phrase is None and bool(without_thinking(answer)), phrase or "")
