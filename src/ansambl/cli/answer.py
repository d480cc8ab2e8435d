"""Printing an answer while it comes: thinking dim, the answer plain, then what it cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansambl.cli.knowledge_tables import one_line
from ansambl.cli.output import console, note
from ansambl.dialects.openai_chat import Delta, Usage
from ansambl.domain.units import time_words
from ansambl.foundation.locales import speak
from ansambl.foundation.terminals import harmless


@dataclass(slots=True)
class Answered:
    """A whole answer with its times in seconds from the request; `first_token` is None when nothing came."""

    content: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    first_token: float | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The keys of ``ask --json``."""
        return {
            "text": self.content,
            "reasoning": self.reasoning,
            "finish_reason": self.finish_reason,
            "usage": self.usage.as_json() if self.usage else None,
            "first_token_seconds": self.first_token,
            "seconds": self.seconds,
        }


def is_heading(reasoning: str) -> bool:
    """Whether a delta holds no word of a model: nothing, or the heading that a council writes before a role speaks."""
    said = reasoning.strip()
    return not said or (said.startswith("**") and said.endswith("**") and "\n" not in said)


def print_answer(deltas: Iterator[Delta], *, quiet: bool = False) -> Answered:
    """Gather an answer, printing it as it comes unless `quiet`."""
    answer, start = Answered(), time.monotonic()
    out, thinking = console(), console(error=True)
    in_reasoning = False
    for delta in deltas:
        if answer.first_token is None and (delta.content or not is_heading(delta.reasoning)):
            answer.first_token = time.monotonic() - start
        if delta.reasoning and not quiet:
            thinking.print(delta.reasoning, style="dim", end="")
            in_reasoning = True
        if delta.content and not quiet:
            if in_reasoning:
                thinking.print()
                in_reasoning = False
            out.print(delta.content, end="")
            sys.stdout.flush()
        answer.content += delta.content
        answer.reasoning += delta.reasoning
        answer.finish_reason = delta.finish_reason or answer.finish_reason
        answer.usage = delta.usage or answer.usage
    answer.seconds = time.monotonic() - start
    if not quiet:
        out.print()
        note(cost_line(answer))
    return answer


def print_sources(sources: Sequence[Mapping[str, Any]]) -> None:
    """The passages that a role was given, a line each under the number that the answer cites; on standard error.

    Where the answer cites some, those alone.
    """
    cited = [one for one in sources if one.get("cited")]
    if not sources:
        return
    note(speak("Sources:") if cited else speak("Read for the answer, which cites none of it:"))
    for one in cited or sources:
        said = str(one.get("citation") or one.get("title") or "")
        note(f"  [{one.get('number')}] {harmless(one_line(said, 200))}")


def cost_line(answer: Answered) -> str:
    """What the answer cost, in one line."""
    parts = []
    if answer.usage is not None:
        parts.append(speak("{count} tokens").format(count=answer.usage.completion_tokens))
        cached = answer.usage.cached_tokens
        prompt = answer.usage.prompt_tokens
        if cached is None:
            parts.append(speak("prompt {prompt}").format(prompt=prompt))
        else:
            parts.append(
                speak("prompt {prompt}: {cached} cached, {prefilled} prefilled").format(
                    prompt=prompt, cached=cached, prefilled=max(0, prompt - cached)
                )
            )
    if answer.first_token is not None:
        parts.append(speak("first token after {time}").format(time=time_words(answer.first_token, speak)))
    parts.append(speak("{time} in all").format(time=time_words(answer.seconds, speak)))
    if answer.finish_reason == "length":
        parts.append(speak("cut off at the output limit"))
    return " · ".join(parts)
