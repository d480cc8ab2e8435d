"""The admin API's routes for running engines: load, unload, pin, sleep, wake, stop, and the LoRA adapters they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request, Response

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.schemas import InstanceDocument, LorasDocument

Translate = Callable[[str], str]

Wait = Annotated[
    bool, Query(description="false: answer at once with status 202 and how it stands; the event stream tells the rest.")
]


class InstanceControls(Protocol):
    """What the running product lets the admin API do with its instances.

    A model is named by its own name, an alias, or a role that runs on it. Every method raises UnknownNameError where no
    instance serves it. Without `wait` the methods return at once, and whether it is done already.
    """

    async def load(self, name: str, translate: Translate, *, wait: bool) -> tuple[bool, InstanceDocument]:
        """Have a model in memory, by a swap where that is needed.

        Raises:
            UnavailableError: it cannot be loaded.
        """
        ...

    async def unload(self, name: str, translate: Translate, *, wait: bool) -> tuple[bool, InstanceDocument]:
        """Have it out of memory when its answers are done; a pin by hand is lifted."""
        ...

    async def pin(self, name: str, translate: Translate, *, wait: bool) -> tuple[bool, InstanceDocument]:
        """Load it, and have it stay until it is unpinned or Ansambl stops.

        Raises:
            UnavailableError: it cannot be loaded; it is not pinned.
        """
        ...

    async def unpin(self, name: str, translate: Translate) -> InstanceDocument:
        """Let it go when others want its memory, also where the configuration pins it."""
        ...

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
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""
    _add_wishes(router, controls, language)
    failures = may_fail(404, 422, 501, 502, 503)

    @router.post(
        f"{PREFIX}/instances/{{model:path}}/sleep", tags=["Instances"], operation_id="sleep_instance",
        responses=failures,
    )  # fmt: skip
    async def post_sleep(
        model: str, request: Request, level: Annotated[int | None, Query(ge=1, le=9)] = None
    ) -> InstanceDocument:
        """Put an engine to sleep when no request uses it; the next request wakes it."""
        return await controls.sleep(model, level, language(request))

    @router.post(
        f"{PREFIX}/instances/{{model:path}}/wake", tags=["Instances"], operation_id="wake_instance", responses=failures
    )
    async def post_wake(model: str, request: Request) -> InstanceDocument:
        """Have an engine ready before it is asked for: wake or start it."""
        return await controls.wake(model, language(request))

    @router.post(
        f"{PREFIX}/instances/{{model:path}}/stop", tags=["Instances"], operation_id="stop_instance", responses=failures
    )
    async def post_end(model: str, request: Request) -> InstanceDocument:
        """Stop one engine; the next request starts it again."""
        return await controls.end(model, language(request))

    @router.post(f"{PREFIX}/loras/reload", tags=["Instances"], operation_id="reload_loras")
    async def post_loras() -> LorasDocument:
        """Use the LoRA adapters that are stored now, from the next request on."""
        return await controls.reload_loras()


def _add_wishes(router: APIRouter, controls: InstanceControls, language: Callable[[Request], Translate]) -> None:
    begun: dict[int | str, dict[str, Any]] = {
        202: {"model": InstanceDocument, "description": "Begun. The event stream tells when it is done."}
    }
    failures = may_fail(400, 404, 409, 422, 501, 502, 503)

    def answered(response: Response, found: tuple[bool, InstanceDocument]) -> InstanceDocument:
        done, document = found
        response.status_code = 200 if done else 202
        return document

    @router.post(
        f"{PREFIX}/instances/{{name:path}}/load", tags=["Instances"], operation_id="load_instance",
        responses={**begun, **failures},
    )  # fmt: skip
    async def post_load(
        name: str, request: Request, response: Response, *, wait: Wait = True
    ) -> InstanceDocument:  # fmt: skip
        """Have a model in memory, named by itself, an alias or a role; by a swap where that is needed."""
        return answered(response, await controls.load(name, language(request), wait=wait))

    @router.post(
        f"{PREFIX}/instances/{{name:path}}/unload", tags=["Instances"], operation_id="unload_instance",
        responses={**begun, **failures},
    )  # fmt: skip
    async def post_unload(
        name: str, request: Request, response: Response, *, wait: Wait = True
    ) -> InstanceDocument:  # fmt: skip
        """Have a model out of memory when its answers are done. A pin by hand is lifted; the next request loads it."""
        return answered(response, await controls.unload(name, language(request), wait=wait))

    @router.post(
        f"{PREFIX}/instances/{{name:path}}/pin", tags=["Instances"], operation_id="pin_instance",
        responses={**begun, **failures},
    )  # fmt: skip
    async def post_pin(
        name: str, request: Request, response: Response, *, wait: Wait = True
    ) -> InstanceDocument:  # fmt: skip
        """Load a model and have it stay, whatever others want, until it is unpinned or Ansambl stops.

        A start knows only what the configuration pins (`pinned = true`).
        """
        return answered(response, await controls.pin(name, language(request), wait=wait))

    @router.post(
        f"{PREFIX}/instances/{{name:path}}/unpin", tags=["Instances"], operation_id="unpin_instance",
        responses=may_fail(400, 404, 501),
    )  # fmt: skip
    async def post_unpin(name: str, request: Request) -> InstanceDocument:
        """Let a model go when others want its memory; also one that the configuration pins, until the next start."""
        return await controls.unpin(name, language(request))
