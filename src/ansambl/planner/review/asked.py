"""What the user did not say: what was taken instead, and the question to answer."""

from __future__ import annotations

from collections.abc import Iterator

from ansambl.domain.review import Finding, Level
from ansambl.domain.text import Text, text
from ansambl.planner.review.facts import DEFAULTS, ReviewFacts


def open_questions(facts: ReviewFacts) -> Iterator[Finding]:
    """One finding for each thing that was left open."""
    stated, best = facts.stated, facts.best
    if not stated.machine:
        yield _asked("machine-open", text("no machine was named: this one is judged ({title}); another: --machine NAME",
                                          title=facts.machine.title))  # fmt: skip
    if best is not None:
        if stated.quantization is None and facts.card is not None:
            taken = best.candidate.quantization
            published = facts.fetched is not None and facts.fetched.repo is not None and facts.fetched.exact
            if not best.fits:
                words = text("no quantization was named: {quantization} comes nearest to fitting", quantization=taken)
            elif published:
                words = text("no quantization was named: {quantization} was taken, the best published one that suits "
                             "this machine", quantization=taken)  # fmt: skip
            else:
                words = text("no quantization was named: {quantization} was taken, the best that fits",
                             quantization=taken)  # fmt: skip
            yield _asked("quantization-open", words)
        if stated.engine is None and not facts.taken_for_ui:
            yield _asked("engine-open", text("no engine was named: {engine} was taken, the usual one for {form} files",
                                             engine=best.engine, form=best.candidate.format))  # fmt: skip
    if not facts.writes_text:
        return
    if best is not None and not stated.context:
        yield _asked("context-open", text("how long are your texts? {context} tokens were taken: --context N",
                                          context=best.context))  # fmt: skip
    if stated.ui is None:
        yield _asked("ui-open", text("in which interface will you ask? --ui {names}",
                                     names=", ".join(facts.compatibility.uis)))  # fmt: skip
    if stated.language is None:
        yield _asked("language-open", text("in which language will you write? English was taken: --language CODE"))


def _asked(code: str, words: Text) -> Finding:
    return Finding(Level.FORGOTTEN, code, words, DEFAULTS)
