"""What the admin API reads and removes of the knowledge of a running Ansambl. Calls block, so they have threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

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
from ansambl.app.admin.desk import Desk
from ansambl.app.knowledge import documents as told
from ansambl.domain.access import Caller, Endpoint, ForbiddenError
from ansambl.domain.errors import NotFoundError
from ansambl.domain.knowledge import EVERYBODY, Document, Kind
from ansambl.domain.text import text
from ansambl.knowledge.contract import Knowledge

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings

_PAGE = 1000
_LARGEST = 2**63 - 1

Translate = Callable[[str], str]
_Result = TypeVar("_Result")


class ProductKnowledge:
    """Implements `ansambl.api.knowledge.KnowledgeControls`.

    `desk` answers in threads; `loaded` gives the settings in effect; `forgotten` is told the numbers of documents that
    were removed. Whoever may change all sees all; other keys see what is everybody's, and what is remembered of
    their own.
    """

    def __init__(
        self, knowledge: Knowledge, desk: Desk, loaded: Callable[[], LoadedSettings],
        forgotten: Callable[[Sequence[int]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._knowledge = knowledge
        self._loaded = loaded
        self._forgotten = forgotten
        self._desk = desk

    async def _ask(self, work: Callable[[Knowledge], _Result]) -> _Result:
        return await self._desk.answer(lambda: work(self._knowledge))

    # --- what there is ------------------------------------------------------------------------------------------------

    async def state(self) -> KnowledgeDocument:
        """How much there is."""
        found = await self._ask(lambda known: told.state_document(known.state(), known.estimate()))
        settings = self._loaded().settings.knowledge
        found.max_upload, found.max_file = settings.max_upload, settings.max_file
        return found

    async def collections(self) -> CollectionsDocument:
        """All collections."""
        found = await self._ask(lambda known: known.collections())
        return CollectionsDocument(collections=[told.collection_document(one) for one in found])

    async def collection(self, name: str) -> CollectionDocument:
        """One collection."""
        return told.collection_document(await self._ask(lambda known: told.find_collection(known, name)))

    async def create(self, wanted: CreateCollectionRequest) -> CollectionDocument:
        """Make a collection, or describe it anew."""
        made = await self._ask(lambda known: known.create(wanted.name, wanted.description))
        return told.collection_document(made)

    async def remove_collection(self, name: str) -> RemovedDocument:
        """Remove a collection with its documents."""

        def work(known: Knowledge) -> list[int]:
            found = told.find_collection(known, name)
            numbers = [one.id for one in _gathered(known, _all, collection=found.name)[0]]
            known.remove_collection(found.name)
            return numbers

        return self._removed(await self._ask(work))

    def _removed(self, numbers: Sequence[int]) -> RemovedDocument:
        self._forgotten(numbers)
        return RemovedDocument(removed=len(numbers))

    async def documents(
        self, collection: str | None, text: str, after: int, limit: int, caller: Caller
    ) -> DocumentsDocument:
        """Some documents."""

        def work(known: Knowledge) -> DocumentsDocument:
            if collection is not None:
                told.find_collection(known, collection)
            found = known.documents(collection, after=after, limit=limit + 1, text=text)
            shown = [one for one in found[:limit] if _may_see(caller, one)]
            return DocumentsDocument(
                documents=[told.document_document(one) for one in shown], next=_next(found, limit)
            )  # fmt: skip

        return await self._ask(work)

    async def document(self, wanted: int, start: int, length: int, caller: Caller) -> DocumentTextDocument:
        """One document, and a part of its text."""

        def work(known: Knowledge) -> DocumentTextDocument:
            found, whole = known.document(wanted)
            _check_seen(caller, found)
            part, rest = told.text_window(whole, start, length)
            return DocumentTextDocument(document=told.document_document(found), text=part, start=start, next=rest)

        return await self._ask(work)

    async def passages(self, wanted: int, after: int, limit: int, caller: Caller) -> PassagesDocument:
        """The passages of a document."""

        def work(known: Knowledge) -> PassagesDocument:
            _check_seen(caller, known.document(wanted)[0])
            found = [one for one in known.passages(wanted) if one.number > after]
            shown = found[:limit]
            return PassagesDocument(
                document=wanted, passages=[told.passage_document(one) for one in shown],
                next=shown[-1].number if len(found) > limit else None,
            )  # fmt: skip

        return await self._ask(work)

    async def remove_document(self, wanted: int) -> DocumentDocument:
        """Remove a document."""

        def work(known: Knowledge) -> DocumentDocument:
            found, _ = known.document(wanted)
            known.remove_document(wanted)
            return told.document_document(found)

        removed = await self._ask(work)
        self._forgotten([wanted])
        return removed

    async def search(self, wanted: SearchRequest, caller: Caller, translate: Translate) -> SearchDocument:
        """Find passages."""
        owners = None if caller.may(Endpoint.ADMIN) else (EVERYBODY, caller.key)

        def work(known: Knowledge) -> SearchDocument:
            return told.search(known, wanted.model_dump(), owners, translate)

        return await self._ask(work)

    # --- conversations and memory -------------------------------------------------------------------------------------

    async def conversations(
        self, collection: str | None, text: str, after: int, limit: int, caller: Caller
    ) -> ConversationsDocument:
        """Some conversations."""

        def work(known: Knowledge) -> ConversationsDocument:
            if collection is not None:
                told.find_collection(known, collection)

            def fits(one: Document) -> bool:
                return one.kind is Kind.CONVERSATION and _may_see(caller, one)

            found, rest = _gathered(known, fits, collection=collection, text=text, after=after, limit=limit)
            return ConversationsDocument(conversations=[told.conversation_summary(one) for one in found], next=rest)

        return await self._ask(work)

    async def conversation(self, wanted: str, caller: Caller) -> ConversationDocument:
        """A whole one."""

        def work(known: Knowledge) -> ConversationDocument:
            owners = None if caller.may(Endpoint.ADMIN) else (EVERYBODY, caller.key)
            return told.conversation_document(known.conversation(wanted, owners))

        return await self._ask(work)

    async def memory(self, owner: str | None, after: int, limit: int, caller: Caller) -> DocumentsDocument:
        """What is remembered for API keys."""
        if not caller.may(Endpoint.ADMIN):
            if owner not in {None, caller.key}:
                raise ForbiddenError(text("This API key may see its own memory alone."), param="owner")
            owner = caller.key

        def work(known: Knowledge) -> DocumentsDocument:
            found, rest = _gathered(known, lambda one: one.owner != EVERYBODY, owner=owner, after=after, limit=limit)
            return DocumentsDocument(documents=[told.document_document(one) for one in found], next=rest)

        return await self._ask(work)

    async def forget(self, owner: str) -> RemovedDocument:
        """Forget all that is remembered for one of them."""

        def work(known: Knowledge) -> list[int]:
            numbers = [one.id for one in _gathered(known, _all, owner=owner)[0]]
            known.forget(owner)
            return numbers

        return self._removed(await self._ask(work))

    async def forget_one(self, wanted: int) -> RemovedDocument:
        """Forget one document."""

        def work(known: Knowledge) -> None:
            found, _ = known.document(wanted)
            if found.owner == EVERYBODY:
                raise NotFoundError(
                    text("The document {number} is not remembered for anybody; remove it as a document.", number=wanted)
                )
            known.remove_document(wanted)

        await self._ask(work)
        return self._removed([wanted])

    async def folders(self) -> FoldersDocument:
        """The folders that are kept in step."""
        return FoldersDocument(folders=(await self.state()).folders)

    async def leave(self, path: str, collection: str | None) -> FoldersDocument:
        """Keep one of them in step no more."""
        if not await self._ask(lambda known: known.leave(path, collection)):
            raise NotFoundError(text("The folder '{path}' is not kept in step.", path=path[:200]))
        return await self.folders()


def _may_see(caller: Caller, one: Document) -> bool:
    return one.owner in {EVERYBODY, caller.key} or caller.may(Endpoint.ADMIN)


def _check_seen(caller: Caller, one: Document) -> None:
    if not _may_see(caller, one):
        # As where there is none: that somebody has it is nobody's business.
        raise NotFoundError(text("There is no document with the number {number}", number=one.id))


def _all(_: Document) -> bool:
    return True


def _next(found: list[Document], limit: int) -> int | None:
    return found[limit - 1].id if len(found) > limit else None


def _gathered(
    known: Knowledge, fits: Callable[[Document], bool], *, after: int = 0, limit: int = _LARGEST,
    collection: str | None = None, text: str = "", owner: str | None = None,
) -> tuple[list[Document], int | None]:  # fmt: skip
    """The next `limit` documents that fit, and where the page after them begins."""
    found: list[Document] = []
    while True:
        page = known.documents(collection, after=after, limit=_PAGE, text=text, owner=owner)
        for one in page:
            if fits(one):
                if len(found) == limit:
                    return found, found[-1].id
                found.append(one)
        if len(page) < _PAGE:
            return found, None
        after = page[-1].id
