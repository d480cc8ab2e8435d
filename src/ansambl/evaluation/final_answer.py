r"""Which part of a model's prose is its final answer. Pure; the rule is the same for all contestants.

1. Thinking in ``<think>`` tags is no part of the answer.
2. What stands in the last ``\boxed{…}`` is the final answer;
3. else what follows the last ``####`` on its line (as in GSM8K);
4. else what follows the last "Answer:", "The answer is", "Ответ:" and their like, up to the end of that line;
5. else the last line that is not empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_MARKER = re.compile(
    r"(?:\b(?:the\s+)?(?:final\s+|correct\s+)?(?:answer|result|option|choice)\b\s*(?:is\b\s*:?|[:=])"
    r"|\b(?:итоговый\s+|окончательный\s+|правильный\s+|верный\s+)?(?:ответ|результат|вариант)\b\s*(?:[:=—–-]|будет\b))"
    r"[ \t*_`]*(\S[^\n]*)",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"\*\*|__|`")


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """The final answer's text, and whether the model marked it as such (rules 2 to 4) or we took the last line."""

    text: str
    marked: bool


def without_thinking(answer: str) -> str:
    """The answer without thinking in tags; a tag that is never closed hides all that follows it."""
    return _THINKING.sub("", answer).strip()


def final_answer(answer: str) -> FinalAnswer:
    """The final answer in a model's prose, by the rule of this module; empty when there is nothing."""
    said = without_thinking(answer)
    boxed = _last_boxed(said)
    if boxed is not None:
        return FinalAnswer(boxed.strip(), marked=True)
    hashes = _HASHES.findall(said)
    if hashes:
        return FinalAnswer(hashes[-1].strip(), marked=True)
    # The marker may itself be bold: "**Answer:** 42".
    marked = _MARKER.findall(_EMPHASIS.sub("", said))
    if marked:
        return FinalAnswer(marked[-1].strip(), marked=True)
    lines = [one.strip() for one in said.splitlines() if one.strip() and one.strip() != "```"]
    return FinalAnswer(lines[-1] if lines else "", marked=False)


def _last_boxed(said: str) -> str | None:
    start = max(said.rfind("\\boxed{"), said.rfind("\\fbox{"))
    if start < 0:
        return None
    inner = said.index("{", start) + 1
    depth = 1
    for position in range(inner, len(said)):
        depth += {"{": 1, "}": -1}.get(said[position], 0)
        if depth == 0:
            return said[inner:position]
    return None


_FENCE = re.compile(r"```[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = {"python", "py", "python3", ""}


def code_of(answer: str, entry_point: str | None = None) -> str:
    """The Python code of an answer.

    The last fenced block of Python that defines `entry_point`; else the last such block; else, where there is no
    fence, the whole text. Nothing is mended.
    """
    # Not stripped: indentation at the start belongs to the code.
    said = _THINKING.sub("", answer)
    blocks = [body for language, body in _FENCE.findall(said) if language.lower() in _PYTHON]
    if not blocks:
        return "" if _FENCE.search(said) else said
    defining = [one for one in blocks if entry_point and defines(one, entry_point)]
    return str((defining or blocks)[-1])


def defines(code: str, name: str) -> bool:
    """Whether some code defines a function or class of this name, or assigns it, at its outermost level."""
    escaped = re.escape(name)
    return re.search(rf"^(?:(?:async\s+)?def|class)\s+{escaped}\b|^{escaped}\s*=[^=]", code, re.MULTILINE) is not None
