"""What a licence asks, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ansambl.domain.review import CommercialUse, Finding, Level, LicenceTerms
from ansambl.domain.text import Text, text
from ansambl.planner.review.facts import NO_SOURCE, ReviewFacts, divided

DUTIES: Mapping[str, Text] = MappingProxyType({
    "keep-notice": text("keep its notice in copies"),
    "pass-terms": text("pass its terms on with copies"),
    "use-policy": text("keep to its list of forbidden uses"),
    "name-llama": text("a model trained with it that you pass on must be named Llama…"),
    "name-llama-3": text("a model trained with it that you pass on must be named Llama 3…"),
    "no-training-others": text("do not improve other language models with its answers"),
    "show-qwen-training": text("a model trained with its answers must show “Built with Qwen” or “Improved using Qwen”"),
    "service-agreement": text("to sell models as a service you need an agreement"),
    "large-revenue": text("companies with a large revenue need an agreement"),
})  # fmt: skip
"""Sentences by code; every one is used by a licence."""


def licence_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Commercial use, thresholds and duties; what nobody read is told as unknown."""
    terms = facts.terms
    if terms is None:
        if facts.licence is None or facts.licence == "other":
            words = text("its licence is not known: read it before you earn money with it")
        else:
            words = text("licence {name}: nobody read its terms for Ansambl; read them before you earn money with it",
                         name=facts.licence)  # fmt: skip
        yield Finding(Level.FORGOTTEN, "licence-unknown", words, NO_SOURCE)
        return
    level = {CommercialUse.YES: Level.HOLDS, CommercialUse.CONDITIONS: Level.FORGOTTEN, CommercialUse.NO: Level.WEAK}
    yield Finding(
        level[terms.commercial], "licence",
        text("{title}: {terms}", title=terms.title, terms=divided([_commercial(terms), *_duties(terms)])), terms.source,
    )  # fmt: skip


def _commercial(terms: LicenceTerms) -> Text:
    if terms.commercial is CommercialUse.NO:
        return text("no commercial use without a written permission")
    if terms.users is None:
        return text("commercial use is allowed")
    users = round(terms.users / 1_000_000)
    if terms.above == "show" and terms.revenue is not None:
        return text("commercial use is allowed; above {users} million users or {revenue} million dollars a month show "
                    "the model's name", users=users, revenue=round(terms.revenue / 1_000_000))  # fmt: skip
    return text("commercial use is allowed; above {users} million users a month ask for an agreement", users=users)


def _duties(terms: LicenceTerms) -> Iterator[Text]:
    if terms.shown and terms.commercial is not CommercialUse.NO:
        yield text("who offers it to others shows “{notice}”", notice=terms.shown)
    for code in terms.duties:
        yield DUTIES[code]
