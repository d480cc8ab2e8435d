"""What the admin API does with the engines of a running Ansambl, and the LoRA adapters that its clients can name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from ansambl.api.schemas import InstanceDocument, LorasDocument
from ansambl.app.status_documents import instance_documents, mark_pins
from ansambl.app.wiring import Product
from ansambl.domain.errors import NotSupportedError, UnknownNameError, UsageError
from ansambl.domain.instance import InstanceState
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.roles.resolver import EnsembleTarget, RoleTarget
from ansambl.runtime.wishes import Wish

log = get_logger(__name__)

_RUNNING = frozenset(
    {InstanceState.STARTING, InstanceState.READY, InstanceState.ASLEEP, InstanceState.RESTARTING}
)  # fmt: skip

Translate = Callable[[str], str]


class ProductInstances:
    """Implements `ansambl.api.instances.InstanceControls` on a product."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._lock = asyncio.Lock()

    async def load(self, name: str, translate: Translate, *, wait: bool) -> tuple[bool, InstanceDocument]:
        """Have a model in memory."""
        return await self._wish(name, Wish.LOAD, translate, wait=wait)

    async def unload(self, name: str, translate: Translate, *, wait: bool) -> tuple[bool, InstanceDocument]:
        """Have it out of memory."""
        model = self._model(name)
        self._check_ours(model)
        return await self._wish(model, Wish.UNLOAD, translate, wait=wait)

    async def pin(self, name: str, translate: Translate, *, wait: bool) -> tuple[bool, InstanceDocument]:
        """Load it, and have it stay."""
        model = self._model(name)
        self._check_ours(model)
        return await self._wish(model, Wish.PIN, translate, wait=wait)

    async def unpin(self, name: str, translate: Translate) -> InstanceDocument:
        """Let it go when others want its memory."""
        model = self._model(name)
        coordinator = self._product.coordinator
        coordinator.wishes.forget(model, Wish.PIN)
        coordinator.pin(model, pinned=None)
        view = coordinator.views().get(model)
        if view is not None and view.pinned:
            # Its configuration pins it.
            coordinator.pin(model, pinned=False)
        return self._document(model, translate)

    async def _wish(
        self, name: str, wish: Wish, translate: Translate, *, wait: bool
    ) -> tuple[bool, InstanceDocument]:  # fmt: skip
        model = self._model(name)
        wishes = self._product.coordinator.wishes
        if wait:
            await wishes.fulfilled(model, wish)
            return True, self._document(model, translate)
        wishes.begin(model, wish)
        # What can be done at once is, and a wish that begins shows in the state.
        await asyncio.sleep(0)
        return False, self._document(model, translate)

    def _model(self, name: str) -> str:
        """The model whose instance is meant by a name of a model, an alias, a role or a LoRA adapter.

        Raises:
            UnknownNameError: there is no such name, or nothing runs for it.
        """
        product = self._product
        if any(one.model == name for one in product.coordinator.statuses()):
            return name
        target = product.resolver.resolve(name)
        if isinstance(target, EnsembleTarget):
            raise UsageError(
                text("'{name}' is an ensemble, which runs on the models of its roles: {roles}; name one of these.",
                     name=name, roles=", ".join(target.ensemble.roles))
            )  # fmt: skip
        model = product.catalog.model_of(target.role) if isinstance(target, RoleTarget) else target.model.name
        if model is None:
            raise UnknownNameError(text("No model is called '{name}' here.", name=name))
        return model

    def _check_ours(self, model: str) -> None:
        if self._product.coordinator.instance(model).status().attached:
            raise NotSupportedError(
                text("'{model}' is not Ansambl's to load or unload; whoever runs that server can do it.", model=model)
            )

    async def sleep(self, model: str, level: int | None, translate: Translate) -> InstanceDocument:
        """Put an engine to sleep."""
        await self._product.coordinator.sleep(model, level)
        return self._document(model, translate)

    async def wake(self, model: str, translate: Translate) -> InstanceDocument:
        """Wake or start an engine."""
        await self._product.coordinator.wake(model)
        return self._document(model, translate)

    async def end(self, model: str, translate: Translate) -> InstanceDocument:
        """Stop an engine."""
        await self._product.coordinator.rest(model, None)
        return self._document(model, translate)

    async def reload_loras(self) -> LorasDocument:
        """Read the stored adapters again and give each instance its own."""
        async with self._lock:
            product = self._product
            models = [one.model for one in product.coordinator.statuses()]
            stored = {one: await asyncio.to_thread(product.lora_source, one) for one in models}
            effects = {}
            for model, adapters in stored.items():
                instance = product.coordinator.instance(model)
                runs = instance.status().state in _RUNNING
                restarts = instance.set_loras(adapters)
                effects[model] = "restart" if restarts else "now" if runs else "start"
            use_loras(product, (one for adapters in stored.values() for one in adapters))
            log.info("loras_reloaded", loras=len(product.catalog.loras))
            return LorasDocument(
                models=effects, loras={model: [one.name for one in adapters] for model, adapters in stored.items()}
            )

    def _document(self, model: str, translate: Translate) -> InstanceDocument:
        found = next(one for one in self._product.coordinator.statuses() if one.model == model)
        metrics = self._product.gateway.metrics
        documents = instance_documents(
            [found], metrics.observed, metrics.usage, translate, parts=self._product.footprints.parts
        )
        return mark_pins(documents, self._product.coordinator.pins())[0]


def use_loras(product: Product, adapters: Iterable[LoraAdapter]) -> None:
    """Let clients and roles name these LoRA adapters from the next request on."""
    product.catalog = replace(product.catalog, loras={one.name: one for one in adapters})
    product.resolver.use(product.catalog)
    product.service.use(product.catalog)
