"""Engines for the admin API: what installing them would be, doing it as jobs, and removing them."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.api.installing_schemas import (
    InstallDocument,
    InstallOfferDocument,
    InstallRequest,
    InstallsDocument,
)
from ansambl.app.admin.desk import Desk
from ansambl.app.installing.desk import InstallDesk
from ansambl.app.installing.documents import install_document, offer_document
from ansambl.app.installing.offers import InstallOffer
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text

Translate = Callable[[str], str]


class ProductInstalling:
    """Implements `ansambl.api.installing.InstallControls`."""

    def __init__(self, desk: Desk, installs: InstallDesk) -> None:
        self._desk = desk
        self._installs = installs

    async def announce(self, wanted: InstallRequest, translate: Translate) -> InstallOfferDocument:
        """What an installation would be."""

        def work() -> tuple[InstallOffer, Text | None]:
            offer = self._installs.announce(wanted.engine, build=wanted.build, compiled=wanted.compile)
            if offer.announced.is_done:
                return offer, None
            try:
                self._installs.check(offer)
            except AnsamblError as refused:
                return offer, refused.message
            return offer, None

        offer, refusal = await self._desk.answer(work)
        return offer_document(offer, refusal, translate)

    async def install(self, wanted: InstallRequest, translate: Translate) -> InstallDocument:
        """Begin to install an engine."""
        job = await self._desk.answer(
            lambda: self._installs.install(wanted.engine, build=wanted.build, compiled=wanted.compile)
        )
        return install_document(job, translate)

    def installs(self, translate: Translate) -> InstallsDocument:
        """Installations and removals since the start."""
        return InstallsDocument(installs=[install_document(one, translate) for one in self._installs.jobs()])

    def install_of(self, wanted: str, translate: Translate) -> InstallDocument:
        """One installation."""
        return install_document(self._installs.job(wanted), translate)

    def stop_install(self, wanted: str, translate: Translate) -> InstallDocument:
        """Have an installation end."""
        return install_document(self._installs.stop(wanted), translate)

    async def remove(self, engine: str, translate: Translate) -> InstallDocument:
        """Begin to remove an engine."""
        return install_document(await self._desk.answer(lambda: self._installs.remove(engine)), translate)
