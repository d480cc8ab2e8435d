"""The admin API's routes for running engines: sleep, wake, stop, and the LoRA adapters that they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

from fastapi import APIRouter, Query, Request

from ansambl.api import PREFIX
from ansambl.api.schemas import InstanceDocument, LorasDocument

Translate = Callable[[str], str]


class InstanceControls(Protocol):
    """What the running product lets the admin API do with its instances.

    Every method raises UnknownNameError where no instance serves the model.
    """

    async def sleep(self, model: str, level: int | None, translate: Translate) -> InstanceDocument:
        """Put an engine to sleep and say what it is then.

        Raises:
            NotSupportedError: it cannot sleep; why, and what to do.
            UnavailableError, EngineError: it did not fall asleep, and why.
        """
        ...

    async def wake(self, model: str, translate: Translate) -> InstanceDocument:
        """Have an engine ready: wake or start it.

        Raises:
            UnavailableError: it cannot be made ready.
        """
        ...

    async def end(self, model: str, translate: Translate) -> InstanceDocument:
        """Stop an engine; the next request starts it again."""
        ...

    async def reload_loras(self) -> LorasDocument:
        """Use the LoRA adapters that are stored now."""
        ...


def add_instance_routes(
    router: APIRouter, controls: InstanceControls, language: Callable[[Request], Translate]
) -> None:
    """Add the routes to `router`, which asks for the token; `language` chooses the language of sentences."""

    @router.post(f"{PREFIX}/instances/{{model:path}}/sleep")
    async def post_sleep(
        model: str, request: Request, level: Annotated[int | None, Query(ge=1, le=9)] = None
    ) -> InstanceDocument:
        """Put an engine to sleep when no request uses it; the next request wakes it."""
        return await controls.sleep(model, level, language(request))

    @router.post(f"{PREFIX}/instances/{{model:path}}/wake")
    async def post_wake(model: str, request: Request) -> InstanceDocument:
        """Have an engine ready before it is asked for: wake or start it."""
        return await controls.wake(model, language(request))

    @router.post(f"{PREFIX}/instances/{{model:path}}/stop")
    async def post_end(model: str, request: Request) -> InstanceDocument:
        """Stop one engine; the next request starts it again."""
        return await controls.end(model, language(request))

    @router.post(f"{PREFIX}/loras/reload")
    async def post_loras() -> LorasDocument:
        """Use the LoRA adapters that are stored now, from the next request on."""
        return await controls.reload_loras()
