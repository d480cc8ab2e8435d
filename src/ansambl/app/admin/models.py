"""Models for the admin API: what is found, fetched, removed, and what the configuration makes of them."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.api.model_schemas import (
    AnnounceRequest,
    FindRequest,
    FoundModelDocument,
    FoundModelsDocument,
    LoraDocument,
    LoraListDocument,
    OfferDocument,
    PullDocument,
    PullRequest,
    PullsDocument,
    RemovedModelDocument,
)
from ansambl.app.admin.desk import Desk
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.lora_book import LoraBook
from ansambl.app.model_uses import configured_models, users_of
from ansambl.app.pulls.desk import PullDesk
from ansambl.app.pulls.documents import offer_document, pull_document
from ansambl.domain.errors import UsageError
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import library
from ansambl.model_catalog.printable import printable

Translate = Callable[[str], str]


class ProductModels:
    """Implements `ansambl.api.models.ModelControls`; `loaded` gives the settings in effect."""

    def __init__(self, desk: Desk, pulls: PullDesk, loaded: Callable[[], LoadedSettings], paths: DataPaths) -> None:
        self._desk = desk
        # The hub may be slow; questions to it must not keep others waiting.
        self._hub = Desk()
        self._pulls = pulls
        self._loaded = loaded
        self._paths = paths

    def close(self) -> None:
        """Answer no more questions."""
        self._hub.close()

    async def find(self, wanted: FindRequest, translate: Translate) -> FoundModelsDocument:
        """Search the hub."""
        offline = self._pulls.offline

        def work() -> FoundModelsDocument:
            # It brings the planner.
            from ansambl.app.model_search import find_models, found_to_json

            found = find_models(wanted.words, limit=wanted.limit, machine=None, fits=wanted.fits, offline=offline)
            return FoundModelsDocument(found=[FoundModelDocument(**found_to_json(one, translate)) for one in found])

        return await self._hub.answer(work)

    async def announce(self, wanted: AnnounceRequest, translate: Translate) -> OfferDocument:  # noqa: ARG002 - one way
        """What a pull would be."""
        return offer_document(await self._hub.answer(lambda: self._pulls.announce(wanted.reference, wanted.engine)))

    async def pull(self, wanted: PullRequest, translate: Translate) -> PullDocument:
        """Begin to fetch a model."""
        job = await self._hub.answer(
            lambda: self._pulls.pull(wanted.reference, engine=wanted.engine, accepted=(wanted.accept_licence,))
        )
        return pull_document(job, translate)

    def pulls(self, translate: Translate) -> PullsDocument:
        """Pulls since the start."""
        return PullsDocument(pulls=[pull_document(one, translate) for one in self._pulls.jobs()])

    def pull_of(self, wanted: str, translate: Translate) -> PullDocument:
        """One pull."""
        return pull_document(self._pulls.job(wanted), translate)

    def stop_pull(self, wanted: str, translate: Translate) -> PullDocument:
        """Have a pull end."""
        return pull_document(self._pulls.stop(wanted), translate)

    async def remove(self, model: str, translate: Translate) -> RemovedModelDocument:  # noqa: ARG002 - one way
        """Delete a checkpoint."""
        loaded = self._loaded()

        def work() -> RemovedModelDocument:
            found = library.remove(model, self._paths.models, confirmed=False)
            users = users_of(found.path, configured_models(loaded, self._paths))
            if users:
                raise UsageError(
                    text("{reference} is used by {models}; take it out of the configuration first",
                         reference=found.reference, models=", ".join(users)),
                    code="in_use", param="model",
                )  # fmt: skip
            if self._pulls.is_fetching(found.reference):
                raise UsageError(
                    text("{reference} is being fetched; stop that first", reference=found.reference),
                    code="in_use", param="model",
                )  # fmt: skip
            library.remove(found.path, self._paths.models, confirmed=True)
            return RemovedModelDocument(reference=found.reference, path=found.path, size=found.size)

        return await self._desk.answer(work)

    async def loras(self, translate: Translate) -> LoraListDocument:
        """Every LoRA adapter."""
        loaded = self._loaded()

        def work() -> LoraListDocument:
            book = LoraBook(self._paths, loaded)
            adapters = book.all()
            unfit: dict[str, Text] = {}
            for model in sorted({one.model for one in adapters}):
                unfit |= {one.adapter.name: one.reason for one in book.unfit(model)}
            return LoraListDocument(
                loras=[
                    LoraDocument(
                        name=one.name, model=one.model, rank=one.rank, size=one.size, formats=sorted(one.files),
                        activated=one.activated, base=printable(one.base) if one.base is not None else None,
                        problem=unfit[one.name].render(translate) if one.name in unfit else None,
                    )
                    for one in adapters
                ]
            )  # fmt: skip

        return await self._desk.answer(work)
