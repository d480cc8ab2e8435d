"""Offers and installations as the admin API and the event stream tell them."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.api.installing_schemas import BuildDocument, InstallDocument, InstallOfferDocument
from ansambl.app.installing.desk import InstallJob
from ansambl.app.installing.offers import InstallOffer
from ansambl.domain.text import Text
from ansambl.engines.install.records import Judged

Translate = Callable[[str], str]


def offer_document(offer: InstallOffer, refusal: Text | None, translate: Translate) -> InstallOfferDocument:
    """An offer as the admin API tells it; `refusal` says why it cannot begin now."""
    build, announced = offer.build, offer.announced
    before = announced.installed
    return InstallOfferDocument(
        engine=build.engine, title=build.title, version=build.version, build=build.build,
        way=build.way.value, licence=build.licence, folder=str(announced.folder), download=build.download,
        size=build.size, here=announced.here, free=announced.free, installed=announced.is_done,
        replaces=before.version if before is not None and not announced.is_done else None,
        verified=build.verified or None, notes=[one.render(translate) for one in offer.notes],
        refusal=refusal.render(translate) if refusal is not None else None,
        builds=[_build_document(one, translate) for one in offer.judged],
    )  # fmt: skip


def _build_document(judged: Judged, translate: Translate) -> BuildDocument:
    build, why = judged.build, judged.why_not
    return BuildDocument(
        build=build.build, variant=build.variant or None, version=build.version, way=build.way.value,
        download=build.download, size=build.size, reason=why.reason.render(translate) if why is not None else None,
        how_to_fix=why.how_to_fix.render(translate) if why is not None else None,
    )  # fmt: skip


def install_document(job: InstallJob, translate: Translate) -> InstallDocument:
    """An installation as the admin API tells it."""
    return InstallDocument(
        id=job.id, kind=job.kind, engine=job.engine, title=job.title, version=job.version, build=job.build,
        compiled=job.compiled, state=job.state.value, created=job.created, started=job.started, ended=job.ended,
        download=job.download, stage=job.stage.render(translate) if job.stage is not None else None, done=job.done,
        total=job.total, counts=job.counts, path=job.path,
        error=job.error.render(translate) if job.error is not None else None,
    )  # fmt: skip
