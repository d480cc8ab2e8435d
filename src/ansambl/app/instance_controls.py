"""What the admin API does with the engines of a running Ansambl, and the LoRA adapters that its clients can name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from ansambl.api.schemas import InstanceDocument, LorasDocument
from ansambl.app.status_documents import instance_documents
from ansambl.app.wiring import Product
from ansambl.domain.instance import InstanceState
from ansambl.domain.lora import LoraAdapter
from ansambl.foundation.logging import get_logger

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
        return instance_documents([found], metrics.observed, metrics.usage, translate)[0]


def use_loras(product: Product, adapters: Iterable[LoraAdapter]) -> None:
    """Let clients and roles name these LoRA adapters from the next request on."""
    product.catalog = replace(product.catalog, loras={one.name: one for one in adapters})
    product.resolver.use(product.catalog)
    product.service.use(product.catalog)
