"""What the model itself is: base or instruct, its language, its licence, tools and vision, its download."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansambl.domain.catalog import CatalogModel, ModelKind, Standing
from ansambl.domain.figures import figure
from ansambl.domain.languages import language_name
from ansambl.domain.review import Finding, Level
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes
from ansambl.planner.families import LLAMA_CPP
from ansambl.planner.review.facts import CATALOG, NO_SOURCE, ReviewFacts, joined

_FIRST_WORD = re.compile(r"[a-z]+")
# Variants of one model differ by a few new rows of the vocabulary.
_ALIKE = 0.05
_SHOWN = 3


def kind_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Base or instruct; no chat model at all."""
    card = facts.card
    if card is None:
        yield Finding(Level.FORGOTTEN, "kind-unknown",
                      text("the file does not say whether it was trained to answer (instruct) or only to continue text "
                           "(base)"), NO_SOURCE)  # fmt: skip
        return
    source = next(iter(card.sources), NO_SOURCE)
    if card.kind is ModelKind.BASE:
        yield Finding(Level.WEAK, "base-model",
                      text("it is a base model: it continues text and was not trained to answer"), source)  # fmt: skip
        variants = [one.name for one in facts.models if _is_variant(one, card)]
        if variants:
            words = text("made to answer: {names}", names=joined(variants[:_SHOWN]))
            yield Finding(Level.WEAK, "instruct-variant", words, CATALOG)
        return
    if not card.kind.writes:
        purposes = {
            ModelKind.EMBEDDING: text("makes vectors for search"), ModelKind.RERANKER: text("sorts search results"),
            ModelKind.SPEECH: text("writes down speech"),
        }  # fmt: skip
        yield Finding(
            Level.WRONG if facts.stated.ui else Level.WEAK, "not-chat",
            text("it {purpose} and cannot chat", purpose=purposes[card.kind]), source,
        )  # fmt: skip
        return
    words = (text("it is a reasoning model: it thinks before it answers") if card.kind is ModelKind.REASONING
             else text("it was trained to answer (instruct)"))  # fmt: skip
    yield Finding(Level.HOLDS, "kind", words, source)


def _is_variant(one: CatalogModel, base: CatalogModel) -> bool:
    if not one.kind.answers or not one.parameters or not base.parameters:
        return False
    first = [_FIRST_WORD.match(each.name.removeprefix("meta-")) for each in (one, base)]
    named_alike = first[0] is not None and first[1] is not None and first[0][0] == first[1][0]
    return named_alike and abs(one.parameters / base.parameters - 1) <= _ALIKE


def language_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """How good it is said to be in the language."""
    card = facts.card
    if facts.stated.language is None or not facts.writes_text:
        return
    language = language_name(facts.stated.language)
    if card is None:
        yield Finding(Level.WEAK, "language-unknown",
                      text("how good these files are in {language} is not known: try before you rely on it",
                           language=language), NO_SOURCE)  # fmt: skip
        return
    found = card.quality(facts.stated.language)
    source = found.note or next(iter(card.sources), NO_SOURCE)
    if found.standing is Standing.UNKNOWN:
        if facts.stated.language != "en":
            yield Finding(
                Level.WEAK, "language-unknown",
                text("no source says how good it is in {language}: try before you rely on it", language=language),
                NO_SOURCE,
            )  # fmt: skip
        return
    if found.standing is Standing.WEAK:
        words = text("sources do not recommend it for {language}", language=language)
        yield Finding(Level.WEAK, "language-weak", words, source)
        return
    words = (text("it was tuned for {language}", language=language) if found.standing is Standing.TUNED
             else text("{language} is among the languages that it is said to know", language=language))  # fmt: skip
    if found.score is not None:
        words = text("{first}; measured: {score} %", first=words, score=figure(found.score, "g"))
    yield Finding(Level.HOLDS, "language", words, source)


def ability_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Tool calls and pictures."""
    card = facts.card
    if card is None or not card.kind.writes:
        return
    source = next(iter(card.sources), NO_SOURCE)
    if card.tools is False:
        yield Finding(Level.WEAK, "no-tools", text("it cannot call tools"), source)
    elif card.tools is None and card.kind is not ModelKind.BASE:
        yield Finding(Level.WEAK, "tools-unknown", text("no source says whether it calls tools"), NO_SOURCE)
    if card.tools and card.vision:
        yield Finding(Level.HOLDS, "abilities", text("it calls tools and sees pictures"), source)
    elif card.tools:
        yield Finding(Level.HOLDS, "abilities", text("it calls tools"), source)
    elif card.vision:
        yield Finding(Level.HOLDS, "abilities", text("it sees pictures"), source)
    best = facts.best
    if card.vision and best is not None and best.engine in LLAMA_CPP and "mmproj" not in facts.wish.settings:
        yield Finding(
            Level.FORGOTTEN, "projector",
            text("for pictures {engine} needs a projector file (mmproj) beside the model, and memory for it; without "
                 "it only text works", engine=best.engine), "llama.cpp docs/multimodal.md",
        )  # fmt: skip


def download_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Where the files are, how large, and whether a licence must be accepted first."""
    best, fetched = facts.best, facts.fetched
    if best is None or not best.fits or fetched is None or facts.card is None:
        return
    candidate = best.candidate
    size = format_bytes(candidate.size)
    if fetched.repo is None:
        yield Finding(
            Level.FORGOTTEN, "download-unknown",
            text("no source names {form} files of it in {quantization}: make them from {repo}, or take another "
                 "quantization", form=candidate.format, quantization=candidate.quantization, repo=candidate.reference),
            NO_SOURCE,
        )  # fmt: skip
        return
    if fetched.exact:
        words: Text = text("download: {size} from {repo}", size=size, repo=fetched.repo)
        yield Finding(Level.HOLDS, "download", words, candidate.source)
    else:
        words = text("download: about {size}; look in {repo}, of which no source says that it has {quantization}",
                     size=size, repo=fetched.repo, quantization=candidate.quantization)  # fmt: skip
        yield Finding(Level.FORGOTTEN, "download", words, candidate.source)
    owner = fetched.repo.partition("/")[0]
    if facts.terms is not None and owner in facts.terms.gated:
        yield Finding(
            Level.FORGOTTEN, "gated",
            text("accept the licence on the page of {repo} first, and give a token (HF_TOKEN) to download",
                 repo=fetched.repo), facts.terms.source,
        )  # fmt: skip
