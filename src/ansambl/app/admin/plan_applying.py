"""Putting a plan into effect in a running Ansambl: fetch what is missing, write the configuration, reload it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ansambl.api.plan_schemas import ApplyingDocument
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.jobs import JobState
from ansambl.app.plan_change import Change, with_references
from ansambl.app.plan_writing import PlanChangedError, check_change, put_back, write_configuration
from ansambl.app.pulls.desk import PullDesk
from ansambl.app.roles.controls import Reloaded
from ansambl.domain.errors import AnsamblError, RequestError, UnavailableError, UsageError
from ansambl.domain.names import folded
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger

log = get_logger(__name__)

Translate = Callable[[str], str]


class BusyError(RequestError):
    """Another plan is being put into effect."""

    status = 409
    code = "busy"


@dataclass(slots=True)
class _Applying:
    """One plan on its way. `pulls` are the jobs that fetch for it."""

    change: Change
    id: str = field(default_factory=lambda: f"plan-{secrets.token_hex(4)}")
    state: str = "fetching"
    pulls: list[str] = field(default_factory=list)
    backup: Path | None = None
    error: Text | None = None
    warnings: list[Text] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    ended: float | None = None


class PlanApplying:
    """One plan at a time. `reload` puts the configuration file into effect; it is set when Ansambl answers."""

    def __init__(self, pulls: PullDesk) -> None:
        self.reload: Callable[[], Awaitable[Reloaded]] | None = None
        self._pulls = pulls
        self._newest: _Applying | None = None
        self._task: asyncio.Task[None] | None = None

    def refusal(self, change: Change, accepted: frozenset[str]) -> AnsamblError | None:
        """Why this cannot be done here now; None where it can."""
        try:
            check_change(change)
        except AnsamblError as error:
            return error
        if change.missing and self._pulls.offline:
            return UnavailableError(
                text("{models} must be fetched first, and Ansambl runs offline; start it without --offline, or copy "
                     "the files here", models=", ".join(one.reference for one in change.missing)), retry_after=None,
            )  # fmt: skip
        wanted = next((one for one in change.missing if one.accept and folded(one.accept) not in accepted), None)
        if wanted is not None:
            return UsageError(
                text("{model} asks to accept its licence ({licence}) first", model=wanted.title,
                     licence=wanted.accept or ""), param="accept_licences",
            )  # fmt: skip
        return None

    @property
    def busy(self) -> bool:
        """Whether a plan is on its way."""
        return self._task is not None and not self._task.done()

    def begin(self, change: Change, agreed: str | None, accepted: frozenset[str]) -> None:
        """Begin, where it is what was agreed to.

        Raises:
            AnsamblError: another plan is on its way, or this one cannot be put into effect.
        """
        if self.busy or self.reload is None:
            raise BusyError(text("another plan is being put into effect; wait until it is done"))
        if agreed is not None and agreed != change.digest:
            raise PlanChangedError(
                text("what would happen is not what was agreed to any more; look at it again, then apply it")
            )
        refused = self.refusal(change, accepted)
        if refused is not None:
            raise refused
        self._newest = _Applying(change)
        self._task = asyncio.create_task(self._apply(self._newest, self.reload), name="plan")

    def document(self, translate: Translate) -> ApplyingDocument | None:
        """The newest one."""
        one = self._newest
        if one is None:
            return None
        size = one.change.size
        return ApplyingDocument(
            id=one.id, title=one.change.title.render(translate), state=one.state,
            done=size if one.state in {"applying", "done"} else min(size, sum(map(self._done, one.pulls))), size=size,
            file=str(one.change.file), backup=str(one.backup) if one.backup else None,
            error=one.error.render(translate) if one.error else None,
            warnings=[each.render(translate) for each in one.warnings], started=one.started, ended=one.ended,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop fetching; what has come stays."""
        one = self._newest
        if one is not None and one.state == "fetching":
            one.state = "stopped"
            self._stop_pulls(one)

    def close(self) -> None:
        """Begin nothing any more."""
        self.reload = None
        if self._task is not None and self._newest is not None and self._newest.state == "fetching":
            self._task.cancel()

    def _stop_pulls(self, one: _Applying) -> None:
        """What is fetched for a plan that will not be is fetched no further."""
        for each in one.pulls:
            if not self._pulls.job(each).over:
                self._pulls.stop(each)

    def _done(self, pull: str) -> int:
        try:
            return self._pulls.job(pull).done
        except AnsamblError:
            return 0

    async def _apply(self, one: _Applying, reload: Callable[[], Awaitable[Reloaded]]) -> None:
        try:
            fetched = await self._fetched(one)
            if one.state == "stopped":
                return
            one.state = "applying"
            await self._put(one, with_references(one.change, fetched), reload)
            one.state = "done"
        except AnsamblError as error:
            if one.state != "stopped":
                one.state, one.error = "failed", error.message
                log.warning("plan_not_applied", message=str(error))
                self._stop_pulls(one)
        except Exception as error:
            one.state, one.error = "failed", text("it failed ({reason}); nothing was changed", reason=str(error))
            log.exception("plan_not_applied")
        finally:
            one.ended = time.time()

    async def _fetched(self, one: _Applying) -> Mapping[str, str]:
        """What a configuration calls each checkpoint that was fetched."""
        jobs: dict[str, str] = {}
        for each in one.change.missing:
            job = await asyncio.to_thread(
                self._pulls.pull, each.reference, engine=each.engine, accepted=(each.accept,) if each.accept else (),
            )  # fmt: skip
            jobs[each.reference] = job.id
            one.pulls.append(job.id)
            if one.state == "stopped":
                self._pulls.stop(job.id)
        names: dict[str, str] = {}
        for reference, name in jobs.items():
            ended = await self._pulls.finished(name)
            if ended.state is JobState.STOPPED:
                one.state = "stopped"
            elif ended.state is not JobState.DONE:
                raise UnavailableError(ended.error or text("{model} could not be fetched", model=reference))
            names[reference] = ended.reference
        return names

    async def _put(self, one: _Applying, change: Change, reload: Callable[[], Awaitable[Reloaded]]) -> None:
        # Once begun it is finished: between the file and what runs nothing may differ.
        backup = await asyncio.to_thread(write_configuration, change, load_settings)
        try:
            found = await reload()
        except BaseException:
            await asyncio.to_thread(put_back, change, backup)
            raise
        one.backup, one.warnings = backup, list(found.warnings)
        log.info("plan_applied", models=list(change.models), file=str(change.file))
