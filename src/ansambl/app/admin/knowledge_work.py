"""What the admin API lets a running Ansambl take in: files, folders, pages and exports, as jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from ansambl.api.knowledge_schemas import AddRequest, ImportChatsRequest, JobDocument, JobsDocument
from ansambl.app.admin.desk import Desk
from ansambl.app.knowledge import documents as told
from ansambl.app.knowledge.jobs import JobDesk
from ansambl.app.knowledge.places import checked_path, scheme_of
from ansambl.app.knowledge.uploads import Uploads
from ansambl.domain.access import OWNER, Caller, ForbiddenError
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.foundation.paths import DataPaths
from ansambl.knowledge.contract import Knowledge, Report, Stopped, Watch
from ansambl.knowledge.reading.roots import resolved_roots

if TYPE_CHECKING:
    from ansambl.api.knowledge_work import UploadRequest
    from ansambl.app.configuration.settings_file import LoadedSettings

Translate = Callable[[str], str]


class ProductKnowledgeWork:
    """Implements `ansambl.api.knowledge_work.KnowledgeWorkControls`.

    `desk` looks at places in threads, `jobs` does the work; `loaded` gives the settings in effect. Keys other than the
    owner's have nothing read but what they send and what lies in the folders that the owner named for them.
    """

    def __init__(
        self, knowledge: Knowledge, jobs: JobDesk, desk: Desk, loaded: Callable[[], LoadedSettings], paths: DataPaths
    ) -> None:
        self._knowledge = knowledge
        self._jobs = jobs
        self._desk = desk
        self._loaded = loaded
        self._uploads = Uploads(paths.knowledge / "uploads")

    async def add(self, wanted: AddRequest, caller: Caller, translate: Translate) -> JobDocument:
        """Begin to take in a file, a folder or a web page."""
        is_page = scheme_of(wanted.place) in {"http", "https"}
        # A page is none of this machine's files: which addresses may be fetched is another matter.
        roots = () if _is_owner(caller) or is_page else self._roots()
        place = wanted.place
        if not is_page:
            place = await self._desk.answer(lambda: checked_path(wanted.place, None if _is_owner(caller) else roots))
        elif wanted.watch:
            raise UsageError(text("a web page cannot be kept in step; leave out 'watch'"), param="watch")

        def work(watch: Watch, stopped: Stopped) -> Report:
            return self._knowledge.add(
                place, wanted.collection, watch=watch, stopped=stopped, embed=False, keep_in_step=wanted.watch,
                include=tuple(wanted.include), exclude=tuple(wanted.exclude), roots=roots,
            )  # fmt: skip

        return self._begun("add", work, wanted.collection, place, translate, embed=wanted.embed)

    async def import_chats(self, wanted: ImportChatsRequest, caller: Caller, translate: Translate) -> JobDocument:
        """Begin to take in an export of conversations."""
        roots = () if _is_owner(caller) else self._roots()
        place = await self._desk.answer(lambda: checked_path(wanted.path, None if _is_owner(caller) else roots))

        def work(watch: Watch, stopped: Stopped) -> Report:
            return self._knowledge.import_chats(
                place, wanted.collection, watch=watch, stopped=stopped, embed=False, roots=roots,
                day_first=wanted.day_first,
            )  # fmt: skip

        return self._begun("import-chats", work, wanted.collection, place, translate, embed=wanted.embed)

    async def upload(
        self, body: AsyncIterator[bytes], size: int | None, wanted: UploadRequest, translate: Translate
    ) -> JobDocument:
        """Write what comes to the disk, and begin to take it in."""
        limit = self._loaded().settings.knowledge.max_upload
        file = await self._uploads.receive(body, size, wanted.name, limit, wanted.folder)
        kind = "import-chats" if wanted.chats else "add"

        def work(watch: Watch, stopped: Stopped) -> Report:
            place = str(file.path)
            if wanted.chats:
                report = self._knowledge.import_chats(
                    place, wanted.collection, watch=watch, stopped=stopped, embed=False, day_first=wanted.day_first
                )
                return file.renamed(report)
            report = self._knowledge.add(
                place, wanted.collection, watch=watch, stopped=stopped, embed=False, known_as=file.known_as
            )
            return file.renamed(report)

        try:
            return self._begun(
                kind, work, wanted.collection, file.known_as, translate, embed=wanted.embed, after=file.remove
            )
        except BaseException:
            file.remove()
            raise

    async def embed(self, translate: Translate) -> JobDocument:
        """Begin to give vectors to passages that have none."""
        return told.job_document(self._jobs.embed(self._knowledge), translate)

    def _begun(
        self, kind: str, work: Callable[[Watch, Stopped], Report], collection: str, place: str, translate: Translate,
        *, embed: bool, after: Callable[[], None] | None = None,
    ) -> JobDocument:  # fmt: skip
        def then_embed(watch: Watch, stopped: Stopped) -> Report:
            report = work(watch, stopped)
            if embed and not stopped() and self._knowledge.estimate().passages:
                # A job of its own: what is added meanwhile does not wait for it.
                self._jobs.embed(self._knowledge)
            return report

        job = self._jobs.start(kind, then_embed, collection=collection, place=place, after=after)
        return told.job_document(job, translate)

    async def jobs(self, translate: Translate) -> JobsDocument:
        """Long work since the start."""
        return JobsDocument(jobs=[told.job_document(one, translate) for one in self._jobs.jobs()])

    async def job(self, wanted: str, translate: Translate) -> JobDocument:
        """One of it."""
        return told.job_document(self._jobs.job(wanted), translate)

    async def stop_job(self, wanted: str, translate: Translate) -> JobDocument:
        """Ask it to end."""
        return told.job_document(self._jobs.stop(wanted), translate)

    def _roots(self) -> tuple[str, ...]:
        """The folders from which API keys may have files added.

        Raises:
            ForbiddenError: there are none.
        """
        roots = self._loaded().settings.knowledge.roots
        if not roots:
            raise ForbiddenError(
                text("API keys may add no files of this machine; send the file itself, or name folders under "
                     "'roots' in [knowledge]."),
                param="place",
            )  # fmt: skip
        return resolved_roots(roots)


def _is_owner(caller: Caller) -> bool:
    return caller.key == OWNER.key
