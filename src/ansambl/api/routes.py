"""The admin API: all its routes in one application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request
from starlette.types import Scope

from ansambl import __version__
from ansambl.access.door import Door
from ansambl.api import PREFIX
from ansambl.api.body_limit import BodyLimit
from ansambl.api.errors import add_error_handlers, answer_with, language_of, may_fail
from ansambl.api.guarding import Guard
from ansambl.api.installing import InstallControls, add_installing_routes
from ansambl.api.instances import InstanceControls, add_instance_routes
from ansambl.api.keys import KeyControls, add_key_routes
from ansambl.api.knowledge import KnowledgeControls, add_knowledge_routes
from ansambl.api.knowledge_work import UPLOADS, KnowledgeWorkControls, add_knowledge_work_routes
from ansambl.api.models import ModelControls, add_model_routes
from ansambl.api.openapi import OPENAPI_PATH, describe
from ansambl.api.planning import PlanningControls, add_planning_routes
from ansambl.api.reading import ReadingControls, add_reading_routes
from ansambl.api.roles import LARGEST_BODY, RoleControls, add_role_routes
from ansambl.api.schemas import ExplainDocument, StateDocument, StoppingDocument
from ansambl.api.watching import WatchControls, add_watch_routes


class Controls(Protocol):
    """What the running product lets the admin API see and do."""

    def state(self, translate: Callable[[str], str]) -> StateDocument:
        """What is running now, its sentences translated."""
        ...

    async def explain(self, body: bytes, translate: Callable[[str], str]) -> dict[str, Any]:
        """What a chat completion request would be turned into, and why.

        Raises:
            RequestError: it is not one.
        """
        ...

    def request_stop(self) -> None:
        """Begin to stop, as SIGTERM does."""
        ...


def make_admin_api(
    controls: Controls, roles: RoleControls, door: Door, instances: InstanceControls | None = None, *,
    is_local: Callable[[Scope], bool], is_own_user: Callable[[Scope], bool] = lambda _: False,
    planning: PlanningControls | None = None,
    watching: WatchControls | None = None, reading: ReadingControls | None = None, keys: KeyControls | None = None,
    knowledge: KnowledgeControls | None = None, knowledge_work: KnowledgeWorkControls | None = None,
    models: ModelControls | None = None, installing: InstallControls | None = None,
) -> FastAPI:  # fmt: skip
    """Build the admin API; what is None is not there.

    `door` lets requests in, `is_local` says whether one comes from this machine, and `is_own_user` whether it comes
    from the user that Ansambl runs as.
    """
    app = FastAPI(
        title="Ansambl admin API",
        summary="What Ansambl's own commands and its console read and change.",
        version=__version__,
        openapi_url=OPENAPI_PATH,
        # Both pages load scripts from another host.
        docs_url=None,
        redoc_url=None,
        # A path that ends with a slash is another one, and no redirection to a name that a client made up.
        redirect_slashes=False,
    )

    router = APIRouter()
    add_error_handlers(app, router.routes)
    app.add_middleware(
        BodyLimit, limit=LARGEST_BODY, prefixes=(f"{PREFIX}/",), answer=answer_with, streamed=frozenset({UPLOADS})
    )
    app.add_middleware(Guard, door=door, is_local=is_local, answer=answer_with, is_own_user=is_own_user)
    if watching is not None:
        add_watch_routes(router, watching, language_of)
    if instances is not None:
        add_instance_routes(router, instances, language_of)
    if planning is not None:
        add_planning_routes(router, planning, language_of)
    if reading is not None:
        add_reading_routes(router, reading, language_of)
    if keys is not None:
        add_key_routes(router, keys)
    if knowledge is not None:
        add_knowledge_routes(router, knowledge, language_of)
    if knowledge_work is not None:
        add_knowledge_work_routes(router, knowledge_work, language_of)
    if models is not None:
        add_model_routes(router, models, language_of)
    if installing is not None:
        add_installing_routes(router, installing, language_of)
    add_role_routes(router, roles, language_of)
    _add_own(router, controls)
    app.include_router(router)
    describe(app)
    return app


_EXPLAINED = {
    "requestBody": {
        "required": True,
        "description": "A request as POST /v1/chat/completions takes it.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["model", "messages"],
                    "properties": {
                        "model": {"type": "string"},
                        "messages": {"type": "array", "items": {"type": "object"}, "minItems": 1},
                    },
                },
                "example": {"model": "coder", "messages": [{"role": "user", "content": "Reverse a list in Python."}]},
            }
        },
    }
}


def _add_own(router: APIRouter, controls: Controls) -> None:
    @router.get(f"{PREFIX}/state", tags=["State"], operation_id="get_state")
    async def get_state(request: Request) -> StateDocument:
        """What is running now."""
        return controls.state(language_of(request))

    @router.post(
        f"{PREFIX}/explain", tags=["State"], operation_id="explain", openapi_extra=_EXPLAINED,
        responses={200: {"model": ExplainDocument}, **may_fail(400, 404)}, response_model=None,
    )  # fmt: skip
    async def post_explain(request: Request) -> dict[str, Any]:
        """What a chat completion request would be turned into, and why. Nothing is sent to an engine."""
        return await controls.explain(await request.body(), language_of(request))

    @router.post(f"{PREFIX}/stop", status_code=202, tags=["State"], operation_id="stop")
    async def post_stop() -> StoppingDocument:
        """Stop Ansambl and its engines, as `ansambl down` does."""
        controls.request_stop()
        return StoppingDocument()
