"""The admin API's routes for knowledge: collections, documents, search, conversations, memory and folders."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Protocol

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from ansambl.api import PREFIX
from ansambl.api.errors import may_fail
from ansambl.api.guarding import caller_of
from ansambl.api.knowledge_schemas import (
    CollectionDocument,
    CollectionsDocument,
    ConversationDocument,
    ConversationsDocument,
    CreateCollectionRequest,
    DocumentDocument,
    DocumentsDocument,
    DocumentTextDocument,
    FoldersDocument,
    KnowledgeDocument,
    PassagesDocument,
    RemovedDocument,
    SearchDocument,
    SearchRequest,
)
from ansambl.api.leaving import while_client_stays
from ansambl.domain.access import Caller

Translate = Callable[[str], str]

MOST_DOCUMENTS = 1000
MOST_CHARACTERS = 200_000
_LARGEST_ID = 2**63 - 1

After = Annotated[int, Query(ge=0, le=_LARGEST_ID, description="Only what comes behind this number.")]
Limit = Annotated[int, Query(ge=1, le=MOST_DOCUMENTS, description="How many at most.")]
Words = Annotated[str, Query(max_length=300, description="Only those with this in their title or place.")]
Name = Annotated[str | None, Query(max_length=300, description="Only of this collection.")]
Number = Annotated[int, InPath(ge=1, le=_LARGEST_ID, description="The number of a document.")]


class KnowledgeControls(Protocol):
    """What the running product lets the admin API do with the knowledge that is there.

    All of them raise `NotFoundError` where there is nothing of a name or number, and `ForbiddenError` where `caller`
    may not have it: what belongs to one API key is shown to it and to those who may change all.
    """

    async def state(self) -> KnowledgeDocument:
        """How much there is."""
        ...

    async def collections(self) -> CollectionsDocument:
        """All collections."""
        ...

    async def collection(self, name: str) -> CollectionDocument:
        """One collection."""
        ...

    async def create(self, wanted: CreateCollectionRequest) -> CollectionDocument:
        """Make a collection, or describe it anew."""
        ...

    async def remove_collection(self, name: str) -> RemovedDocument:
        """Remove a collection with its documents."""
        ...

    async def documents(
        self, collection: str | None, text: str, after: int, limit: int, caller: Caller
    ) -> DocumentsDocument:
        """Some documents."""
        ...

    async def document(self, wanted: int, start: int, length: int, caller: Caller) -> DocumentTextDocument:
        """One document, and a part of its text."""
        ...

    async def passages(self, wanted: int, after: int, limit: int, caller: Caller) -> PassagesDocument:
        """The passages of a document."""
        ...

    async def remove_document(self, wanted: int) -> DocumentDocument:
        """Remove a document; it is found no more."""
        ...

    async def search(self, wanted: SearchRequest, caller: Caller, translate: Translate) -> SearchDocument:
        """Find passages."""
        ...

    async def conversations(
        self, collection: str | None, text: str, after: int, limit: int, caller: Caller
    ) -> ConversationsDocument:
        """Some conversations."""
        ...

    async def conversation(self, wanted: str, caller: Caller) -> ConversationDocument:
        """A whole one."""
        ...

    async def memory(self, owner: str | None, after: int, limit: int, caller: Caller) -> DocumentsDocument:
        """What is remembered for API keys."""
        ...

    async def forget(self, owner: str) -> RemovedDocument:
        """Forget all that is remembered for one of them."""
        ...

    async def forget_one(self, wanted: int) -> RemovedDocument:
        """Forget one document."""
        ...

    async def folders(self) -> FoldersDocument:
        """The folders that are kept in step."""
        ...

    async def leave(self, path: str, collection: str | None) -> FoldersDocument:
        """Keep one of them in step no more."""
        ...


Speak = Callable[[Request], Translate]
_BASE = f"{PREFIX}/knowledge"
_TAG: list[str | Enum] = ["Knowledge"]


def add_knowledge_routes(router: APIRouter, controls: KnowledgeControls, language: Speak) -> None:
    """Add the routes to `router`, which lets requests in; `language` chooses the language of sentences."""
    _add_collections(router, controls)
    _add_documents(router, controls)
    _add_search(router, controls, language)
    _add_conversations(router, controls)
    _add_folders(router, controls)


def _add_collections(router: APIRouter, controls: KnowledgeControls) -> None:
    one = f"{_BASE}/collections/{{name:path}}"

    @router.get(_BASE, tags=_TAG, operation_id="get_knowledge", responses=may_fail(501, 503))
    async def get_knowledge() -> KnowledgeDocument:
        """How much knowledge there is, what searches it, and what still has no vectors."""
        return await controls.state()

    @router.get(f"{_BASE}/collections", tags=_TAG, operation_id="list_collections", responses=may_fail(501, 503))
    async def get_collections() -> CollectionsDocument:
        """All collections."""
        return await controls.collections()

    @router.post(
        f"{_BASE}/collections", status_code=201, tags=_TAG, operation_id="create_collection",
        responses=may_fail(400, 501, 503),
    )  # fmt: skip
    async def post_collection(wanted: CreateCollectionRequest) -> CollectionDocument:
        """Make a collection; one that is there gets the description, where one is given."""
        return await controls.create(wanted)

    @router.get(one, tags=_TAG, operation_id="get_collection", responses=may_fail(400, 404, 501, 503))
    async def get_collection(name: str) -> CollectionDocument:
        """One collection."""
        return await controls.collection(name)

    @router.delete(one, tags=_TAG, operation_id="remove_collection", responses=may_fail(400, 404, 501, 503))
    async def delete_collection(name: str) -> RemovedDocument:
        """Remove a collection and all its documents. The files that they were read from stay."""
        return await controls.remove_collection(name)


def _add_documents(router: APIRouter, controls: KnowledgeControls) -> None:
    base = f"{_BASE}/documents"
    failures = may_fail(400, 404, 422, 501, 503)

    @router.get(base, tags=_TAG, operation_id="list_documents", responses=failures)
    async def get_documents(
        request: Request, collection: Name = None, text: Words = "", after: After = 0, limit: Limit = 100
    ) -> DocumentsDocument:
        """Documents by their numbers, a page at a time."""
        return await controls.documents(collection, text, after, limit, caller_of(request))

    @router.get(f"{base}/{{document}}", tags=_TAG, operation_id="get_document", responses=failures)
    async def get_document(
        request: Request, document: Number,
        start: Annotated[int, Query(ge=0, le=_LARGEST_ID, description="The first character.")] = 0,
        length: Annotated[int, Query(ge=0, le=MOST_CHARACTERS, description="How many characters.")] = 20_000,
    ) -> DocumentTextDocument:  # fmt: skip
        """One document and a part of its text."""
        return await controls.document(document, start, length, caller_of(request))

    @router.get(f"{base}/{{document}}/passages", tags=_TAG, operation_id="list_passages", responses=failures)
    async def get_passages(
        request: Request, document: Number,
        after: Annotated[int, Query(ge=-1, le=_LARGEST_ID, description="Only what comes behind this number.")] = -1,
        limit: Limit = 100,
    ) -> PassagesDocument:  # fmt: skip
        """The passages of a document, as they are searched, a page at a time."""
        return await controls.passages(document, after, limit, caller_of(request))

    @router.delete(f"{base}/{{document}}", tags=_TAG, operation_id="remove_document", responses=failures)
    async def delete_document(document: Number) -> DocumentDocument:
        """Remove a document: it is found no more when this is answered. The file that it was read from stays."""
        return await controls.remove_document(document)


def _add_search(router: APIRouter, controls: KnowledgeControls, language: Speak) -> None:
    @router.post(
        f"{_BASE}/search", tags=_TAG, operation_id="search_knowledge", response_model=None,
        responses={200: {"model": SearchDocument}, **may_fail(400, 404, 501, 502, 503)},
    )  # fmt: skip
    async def post_search(wanted: SearchRequest, request: Request) -> JSONResponse:
        """Find the passages that answer a question best, by words and by meaning."""
        work = controls.search(wanted, caller_of(request), language(request))
        found = await while_client_stays(request.receive, work)
        return JSONResponse(found.model_dump())


def _add_conversations(router: APIRouter, controls: KnowledgeControls) -> None:
    failures = may_fail(400, 404, 422, 501, 503)
    memory = f"{_BASE}/memory"

    @router.get(f"{_BASE}/conversations", tags=_TAG, operation_id="list_conversations", responses=failures)
    async def get_conversations(
        request: Request, collection: Name = None, text: Words = "", after: After = 0, limit: Limit = 100
    ) -> ConversationsDocument:
        """Imported and remembered conversations, a page at a time."""
        return await controls.conversations(collection, text, after, limit, caller_of(request))

    @router.get(
        f"{_BASE}/conversations/{{conversation:path}}", tags=_TAG, operation_id="get_conversation", responses=failures
    )
    async def get_conversation(conversation: str, request: Request) -> ConversationDocument:
        """A whole conversation, by the number of its document, its own id, a beginning of that, or its title."""
        return await controls.conversation(conversation, caller_of(request))

    @router.get(memory, tags=_TAG, operation_id="list_memory", responses=failures)
    async def get_memory(
        request: Request,
        owner: Annotated[str | None, Query(max_length=200, description="The id of an API key.")] = None,
        after: After = 0, limit: Limit = 100,
    ) -> DocumentsDocument:  # fmt: skip
        """What is remembered of conversations with roles, where that was switched on."""
        return await controls.memory(owner, after, limit, caller_of(request))

    @router.delete(memory, tags=_TAG, operation_id="forget_all", responses=failures)
    async def delete_memory(
        owner: Annotated[str, Query(min_length=1, max_length=200, description="The id of an API key.")],
    ) -> RemovedDocument:
        """Forget all that is remembered for one API key."""
        return await controls.forget(owner)

    @router.delete(f"{memory}/{{document}}", tags=_TAG, operation_id="forget_one", responses=failures)
    async def delete_one(document: Number) -> RemovedDocument:
        """Forget one conversation that is remembered."""
        return await controls.forget_one(document)


def _add_folders(router: APIRouter, controls: KnowledgeControls) -> None:
    @router.get(f"{_BASE}/folders", tags=_TAG, operation_id="list_folders", responses=may_fail(501, 503))
    async def get_folders() -> FoldersDocument:
        """The folders that are kept in step."""
        return await controls.folders()

    @router.delete(f"{_BASE}/folders", tags=_TAG, operation_id="leave_folder", responses=may_fail(404, 422, 501, 503))
    async def delete_folder(
        path: Annotated[str, Query(min_length=1, max_length=8000, description="The folder, as it is listed.")],
        collection: Name = None,
    ) -> FoldersDocument:
        """Keep a folder in step no more. Its documents stay."""
        return await controls.leave(path, collection)
