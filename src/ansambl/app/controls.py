"""What the admin API sees of the running product and does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansambl import __version__
from ansambl.api.schemas import (
    CompanionDocument,
    EnsembleDocument,
    EventDocument,
    RequestsDocument,
    RoleDocument,
    StateDocument,
)
from ansambl.app.running_state import RunningState
from ansambl.app.status_documents import device_documents, instance_documents, knowledge_document, mark_pins
from ansambl.app.wiring import Product
from ansambl.dialects import openai_chat
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.roles import explaining
from ansambl.roles.knowledge.reading import Gathering
from ansambl.roles.options import take_options

_EVENTS_SHOWN = 30


class ProductControls:
    """Implements `ansambl.api.routes.Controls` on a product. `stop` is called when a stop is asked for.

    `companions` tells in a language of the programs that run beside it.
    """

    def __init__(
        self, product: Product, running: RunningState, stop: Callable[[], None],
        companions: Callable[[Callable[[str], str]], list[CompanionDocument]] = lambda _: [],
    ) -> None:  # fmt: skip
        self._companions = companions
        self._product = product
        self._running = running
        self._stop = stop

    def state(self, translate: Callable[[str], str]) -> StateDocument:
        """What is running now."""
        product, running = self._product, self._running
        catalog, metrics = product.catalog, product.gateway.metrics
        return StateDocument(
            version=__version__,
            pid=running.pid,
            started=running.started,
            address=running.address,
            default_model=catalog.default_model or "",
            instances=mark_pins(
                instance_documents(
                    product.coordinator.statuses(), metrics.observed, metrics.usage, translate,
                    parts=product.footprints.parts,
                ),
                product.coordinator.pins(),
            ),
            companions=self._companions(translate),
            devices=device_documents(metrics.observed),
            knowledge=knowledge_document(product.keeper.state),
            roles=[
                RoleDocument(
                    name=role.name, description=translate(role.description), instruction=role.instruction,
                    model=catalog.model_of(role) or "", layout=role.layout.value,
                    aliases=list(role.aliases), origin=role.origin, sampling=dict(role.sampling),
                    output_limit=role.output_limit,
                )
                for role in catalog.roles.values()
            ],
            ensembles=[
                EnsembleDocument(
                    name=one.name, description=translate(one.description), pattern=one.pattern, roles=list(one.roles),
                    conductor=one.merging_role, aliases=list(one.aliases), origin=one.origin,
                )
                for one in catalog.ensembles.values()
            ],
            events=[
                EventDocument(time=one.time, model=one.model, kind=one.kind, message=one.message.render(translate))
                for one in product.events.recent(_EVENTS_SHOWN)
            ],
            requests=RequestsDocument(
                answered=metrics.answered, failed=metrics.failed, running=product.gateway.answering.running
            ),
        )  # fmt: skip

    async def explain(self, body: bytes, translate: Callable[[str], str]) -> dict[str, Any]:
        """What a chat completion request would be turned into, with what would be found for it."""
        request, options = take_options(openai_chat.parse_request(body))
        product = self._product
        target = product.resolver.resolve(request.model)
        gathering = Gathering(product.answering.reader, request, LOCAL_KEY, options)
        given = await explaining.searched(product.service, gathering, target)
        return explaining.explain(
            product.service, request, target, key=LOCAL_KEY, translate=translate, options=options, given=given
        )  # fmt: skip

    def request_stop(self) -> None:
        """Begin to stop."""
        self._stop()
