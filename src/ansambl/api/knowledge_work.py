"""The admin API's routes for long work on knowledge: taking in, giving vectors, and the jobs that do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Query, Request
from starlette.requests import ClientDisconnect

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.guarding import caller_of
from ansambl.api.knowledge_schemas import AddRequest, ImportChatsRequest, JobDocument, JobsDocument
from ansambl.api.leaving import ClientLeftError
from ansambl.domain.access import Caller
from ansambl.domain.text import text

Translate = Callable[[str], str]

_BASE = f"{PREFIX}/knowledge"
_TAG: list[str | Enum] = ["Knowledge"]
UPLOADS = f"{_BASE}/uploads"
"""Takes bodies of any size: they go to the disk as they come."""


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What an upload's query says. `name` is what it is called; `chats` is whether it is an export of conversations.

    `day_first` is as in `ImportChatsRequest`; `folder` is where the file lay in what it was sent with, "" for nowhere.
    """

    name: str
    collection: str
    chats: bool
    embed: bool
    day_first: bool | None = None
    folder: str = ""


class KnowledgeWorkControls(Protocol):
    """What the running product lets the admin API begin, watch and stop of work on knowledge that takes long.

    All of them raise `NotFoundError` where there is nothing of a name, and `ForbiddenError` where `caller` may not
    have it read.
    """

    async def add(self, wanted: AddRequest, caller: Caller, translate: Translate) -> JobDocument:
        """Begin to take in a file, a folder or a web page."""
        ...

    async def import_chats(self, wanted: ImportChatsRequest, caller: Caller, translate: Translate) -> JobDocument:
        """Begin to take in an export of conversations."""
        ...

    async def upload(
        self, body: AsyncIterator[bytes], size: int | None, wanted: UploadRequest, translate: Translate
    ) -> JobDocument:
        """Write what comes to the disk, and begin to take it in. `size` is what was announced."""
        ...

    async def embed(self, translate: Translate) -> JobDocument:
        """Begin to give vectors to passages that have none."""
        ...

    async def jobs(self, translate: Translate) -> JobsDocument:
        """Long work since the start."""
        ...

    async def job(self, wanted: str, translate: Translate) -> JobDocument:
        """One of it."""
        ...

    async def stop_job(self, wanted: str, translate: Translate) -> JobDocument:
        """Ask it to end."""
        ...


Speak = Callable[[Request], Translate]


def add_knowledge_work_routes(router: APIRouter, controls: KnowledgeWorkControls, language: Speak) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""
    _add_work(router, controls, language)
    _add_upload(router, controls, language)


def _add_work(router: APIRouter, controls: KnowledgeWorkControls, language: Speak) -> None:
    jobs = f"{_BASE}/jobs"
    failures = may_fail(400, 403, 404, 501, 503)

    @router.post(f"{_BASE}/add", status_code=202, tags=_TAG, operation_id="add_knowledge", responses=failures)
    async def post_add(wanted: AddRequest, request: Request) -> JobDocument:
        """Begin to take in a file, a folder or a web page. The job that is answered with says how far it is."""
        return await controls.add(wanted, caller_of(request), language(request))

    @router.post(f"{_BASE}/import-chats", status_code=202, tags=_TAG, operation_id="import_chats", responses=failures)
    async def post_import(wanted: ImportChatsRequest, request: Request) -> JobDocument:
        """Begin to take in an export of conversations that lies on this machine."""
        return await controls.import_chats(wanted, caller_of(request), language(request))

    @router.post(f"{_BASE}/embed", status_code=202, tags=_TAG, operation_id="embed_knowledge", responses=failures)
    async def post_embed(request: Request) -> JobDocument:
        """Begin to give vectors to passages that have none in the present model's space."""
        return await controls.embed(language(request))

    @router.get(jobs, tags=_TAG, operation_id="list_knowledge_jobs")
    async def get_jobs(request: Request) -> JobsDocument:
        """Long work since the start, the newest first."""
        return await controls.jobs(language(request))

    @router.get(f"{jobs}/{{job}}", tags=_TAG, operation_id="get_knowledge_job", responses=may_fail(404))
    async def get_job(job: str, request: Request) -> JobDocument:
        """How far long work is, and what came of it."""
        return await controls.job(job, language(request))

    @router.post(f"{jobs}/{{job}}/stop", tags=_TAG, operation_id="stop_knowledge_job", responses=may_fail(404))
    async def post_stop(job: str, request: Request) -> JobDocument:
        """Have long work end. What was taken in by then stays, and the same again goes on from there."""
        return await controls.stop_job(job, language(request))


_UPLOADED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, of any kind; no form.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def _add_upload(router: APIRouter, controls: KnowledgeWorkControls, language: Speak) -> None:
    @router.post(
        UPLOADS, status_code=202, tags=_TAG, operation_id="upload_knowledge", openapi_extra=_UPLOADED,
        responses=may_fail(400, 404, 413, 501, 503),
    )  # fmt: skip
    async def post_upload(
        request: Request,
        name: Annotated[str, Query(max_length=1000, description="The name of the file; its end tells its format.")],
        collection: Annotated[
            str | None, Query(min_length=1, max_length=100, description="Left out: documents, or chats.")
        ] = None,
        chats: Annotated[bool, Query(description="Whether it is an export of conversations.")] = False,
        embed: Annotated[bool, Query(description="Whether its passages get vectors at once.")] = True,
        day_first: Annotated[
            bool | None, Query(description="How dates of conversations such as 07/08/2025 are meant.")
        ] = None,
        folder: Annotated[
            str, Query(max_length=4000, description="The folder that it lay in: it tells files of one name apart.")
        ] = "",
    ) -> JobDocument:
        """Send a file, and begin to take it in. It is written to the disk as it comes, and removed when it was read."""
        wanted = UploadRequest(
            name, collection or ("chats" if chats else "documents"), chats=chats, embed=embed, day_first=day_first,
            folder=folder,
        )  # fmt: skip
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() else None
        try:
            return await controls.upload(request.stream(), size, wanted, language(request))
        except ClientDisconnect:
            raise ClientLeftError(text("The client has gone before all of the file had come.")) from None
