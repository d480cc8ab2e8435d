"""Offers and pulls as the admin API and the event stream tell them."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.api.model_schemas import OfferDocument, PullDocument
from ansambl.app.pulls.desk import PullJob
from ansambl.app.pulls.offers import Offer

Translate = Callable[[str], str]


def offer_document(offer: Offer) -> OfferDocument:
    """An offer as the admin API tells it."""
    return OfferDocument(**{name: getattr(offer, name) for name in OfferDocument.model_fields})


def pull_document(job: PullJob, translate: Translate) -> PullDocument:
    """A pull as the admin API tells it."""
    return PullDocument(
        id=job.id, reference=job.reference, source=job.source, state=job.state.value, created=job.created,
        started=job.started, ended=job.ended, size=job.size, done=job.done, rate=job.rate, left=job.left,
        path=job.path, error=job.error.render(translate) if job.error is not None else None,
    )  # fmt: skip
