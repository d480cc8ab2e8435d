"""What happens in a running Ansambl, as a stream of numbered events for whoever watches.

Nothing is looked at while nobody watches, and while nothing happens: the scheduler says that something changed, and a
moment later everything that changed since the last look is told in one go. The newest events stay in a ring, so that a
stream that was lost goes on where it broke off; what has left the ring is made good by a new snapshot. A reader keeps
its place in the ring and no queue of its own: a slow one costs nothing, and finds a snapshot when it is overtaken.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ansambl.api.leaving import KEEP_ALIVE, KEEP_ALIVE_EVERY, frame
from ansambl.api.reading_schemas import RequestDocument
from ansambl.api.schemas import InstanceDocument
from ansambl.app.installing.desk import InstallJob
from ansambl.app.installing.documents import install_document
from ansambl.app.jobs import OVER, AnyJob, JobState
from ansambl.app.knowledge.documents import job_document
from ansambl.app.knowledge.jobs import Job
from ansambl.app.pulls.desk import PullJob
from ansambl.app.pulls.documents import pull_document
from ansambl.app.status_documents import device_documents, instance_documents, mark_pins
from ansambl.app.wiring import Product
from ansambl.domain.instance import InstanceEvent, InstanceStatus
from ansambl.gateway.observing.recent_requests import RequestRecord
from ansambl.runtime.scheduling.records import Load, Rest

KEPT = 1000
"""Events in the ring."""
MOST_REQUESTS = 100
"""Requests that one event names; more at once are counted."""

_MOMENT = 0.25
"""Seconds between a change and the look at it; all changes in between are told together."""
_DRIFT = 0.005
"""The part of a device that other programs may take more or less of before it is told: less cannot be seen in a bar,
and an idle machine would tell of it every few seconds."""
_JOB_EVERY = 1.0
"""Seconds between two events of how far the same long work is."""
_LINGER = 120.0
"""Seconds that watching goes on after the last stream was closed: a lost one comes back within them."""

Translate = Callable[[str], str]


@dataclass(slots=True)
class _Event:
    """One event. Its frame is made once for each language in which somebody reads it."""

    number: int
    kind: str
    data: Callable[[Translate], dict[str, Any]]
    frames: dict[Translate, bytes] = field(default_factory=dict)


class EventBoard:
    """The events of one run. Used on one event loop; implements `ansambl.runtime.dispatching.Observer`.

    `state` gives the snapshot with which a stream begins.
    """

    def __init__(
        self, product: Product, state: Callable[[Translate], dict[str, Any]], *, kept: int = KEPT,
        moment: float = _MOMENT, linger: float = _LINGER, keep_alive: float = KEEP_ALIVE_EVERY,
    ) -> None:  # fmt: skip
        self._product = product
        self._state = state
        self._moment, self._linger, self._keep_alive = moment, linger, keep_alive
        self._run = secrets.token_hex(4)
        self._ring: deque[_Event] = deque(maxlen=kept)
        self._newest = 0
        self._news = asyncio.Event()
        self._readers = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._seen: dict[str, InstanceDocument] = {}
        self._devices: list[dict[str, Any]] = []
        self._begun: dict[int, RequestRecord] = {}
        self._ended: dict[int, RequestRecord] = {}
        self._jobs: dict[str, tuple[JobState, float]] = {}
        self._late: dict[str, asyncio.TimerHandle] = {}

    @property
    def readers(self) -> int:
        """How many streams are open."""
        return self._readers

    # --- reading ------------------------------------------------------------------------------------------------------

    async def listen(self, after: str | None, translate: Translate) -> AsyncGenerator[bytes]:
        """The events after the one with this id as a stream; a snapshot first where that is not in the ring."""
        self._readers += 1
        try:
            self._watch()
            cursor = self._number_of(after)
            if cursor is None:
                cursor = self._newest
                yield self._snapshot(translate, missed=after is not None)
            while True:
                news = self._news
                if cursor == self._newest:
                    try:
                        await asyncio.wait_for(news.wait(), self._keep_alive)
                    except TimeoutError:
                        yield KEEP_ALIVE
                    continue
                first = self._ring[0].number
                if cursor + 1 < first:
                    cursor = self._newest
                    yield self._snapshot(translate, missed=True)
                    continue
                parts = [self._frame(one, translate) for one in islice(self._ring, cursor + 1 - first, None)]
                cursor = self._newest
                yield b"".join(parts)
        finally:
            self._readers -= 1
            if not self._readers and self._loop is not None and not self._loop.is_closed():
                self._linger_timer = self._loop.call_later(self._linger, self._stop_watching)

    def _number_of(self, after: str | None) -> int | None:
        """The number of the event with this id; None where what came after it is not known."""
        run, _, number = (after or "").partition("-")
        if run != self._run or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        oldest = self._ring[0].number if self._ring else self._newest + 1
        return int(number) if oldest - 1 <= int(number) <= self._newest else None

    def _snapshot(self, translate: Translate, *, missed: bool) -> bytes:
        data = {"missed": missed, **self._state(translate)}
        return frame("snapshot", data, f"{self._run}-{self._newest}")

    def _frame(self, event: _Event, translate: Translate) -> bytes:
        made = event.frames.get(translate)
        if made is None:
            made = event.frames[translate] = frame(event.kind, event.data(translate), f"{self._run}-{event.number}")
        return made

    # --- watching -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        product = self._product
        self._seen = {one.model: one for one, _ in self._instances()}
        self._devices = self._device_dicts()
        product.coordinator.observe(self)
        product.events.watcher = self._happened
        product.gateway.metrics.recent.watcher = self._request

    def _stop_watching(self) -> None:
        """Nobody has watched for a while."""
        if self._readers:
            return
        product = self._product
        product.coordinator.observe(None)
        product.events.watcher = product.gateway.metrics.recent.watcher = None
        if self._look_timer is not None:
            self._look_timer.cancel()
        self._forget_late()
        self._look_timer = self._linger_timer = self._loop = None
        # What comes now is missed, so nobody may go on from here.
        self._ring.clear()
        self._newest += 1
        self._begun.clear()
        self._ended.clear()

    def close(self) -> None:
        """Tell that Ansambl stops, and watch no more."""
        if self._loop is not None:
            self._look()
            self._publish("stopping", lambda _: {})
            if self._linger_timer is not None:
                self._linger_timer.cancel()
            self._forget_late()
            self._product.coordinator.observe(None)
            self._product.events.watcher = self._product.gateway.metrics.recent.watcher = None

    def _forget_late(self) -> None:
        for one in self._late.values():
            one.cancel()
        self._late.clear()

    def changed(self) -> None:
        """As `Observer.changed`."""
        if self._look_timer is None and self._loop is not None:
            self._look_timer = self._loop.call_later(self._moment, self._look)

    def performing(self, effect: Load | Rest) -> None:
        """As `Observer.performing`."""
        if isinstance(effect, Load):
            self._publish("load", lambda _: {"model": effect.model})
        else:
            self._publish("rest", lambda _: {"model": effect.model, "level": effect.level, "wanted": effect.wanted})

    def _happened(self, event: InstanceEvent) -> None:
        # Events are told from threads, too.
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tell, event)

    def _tell(self, event: InstanceEvent) -> None:
        self._publish(
            "event",
            lambda translate: {
                "time": event.time, "model": event.model, "kind": event.kind,
                "message": event.message.render(translate),
            },
        )  # fmt: skip
        self.changed()

    def job(self, job: Job) -> None:
        """Long work on knowledge has changed; told in the thread that does it."""
        self._job_changed("job", job, lambda translate: job_document(job, translate).model_dump())

    def pull(self, job: PullJob) -> None:
        """A pull of a model has changed; told in the thread that does it."""
        self._job_changed("pull", job, lambda translate: pull_document(job, translate).model_dump())

    def install(self, job: InstallJob) -> None:
        """An installation of an engine has changed; told in the thread that does it."""
        self._job_changed("install", job, lambda translate: install_document(job, translate).model_dump())

    def _job_changed(self, kind: str, job: AnyJob, data: Callable[[Translate], dict[str, Any]]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tell_job, kind, job, data)

    def _tell_job(self, kind: str, job: AnyJob, data: Callable[[Translate], dict[str, Any]]) -> None:
        # How far it is changes several times a second, for hours: that would push all else out of the ring.
        loop = self._loop
        if loop is None:
            return
        late = self._late.pop(job.id, None)
        if late is not None:
            late.cancel()
        now = loop.time()
        before, told = self._jobs.get(job.id, (None, 0.0))
        if job.state is before and now - told < _JOB_EVERY:
            # Told when its time comes: what follows now may take minutes in which nothing changes.
            self._late[job.id] = loop.call_at(told + _JOB_EVERY, self._tell_job, kind, job, data)
            return
        self._jobs[job.id] = job.state, now
        if job.state in OVER:
            del self._jobs[job.id]
        self._publish(kind, data)

    def _request(self, record: RequestRecord) -> None:
        if record.status is None:
            self._begun[record.number] = record
        else:
            self._begun.pop(record.number, None)
            self._ended[record.number] = record
        self.changed()

    def _publish(self, kind: str, data: Callable[[Translate], dict[str, Any]]) -> None:
        self._newest += 1
        self._ring.append(_Event(self._newest, kind, data))
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- looking ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Tell everything that changed since the last look."""
        if self._look_timer is not None:
            self._look_timer.cancel()
            self._look_timer = None
        if self._loop is None:
            return
        self._tell_requests()
        gone = set(self._seen)
        for document, status in self._instances():
            gone.discard(document.model)
            if self._seen.get(document.model) != document:
                self._seen[document.model] = document
                self._publish("instance", _told(document, status))
        for model in gone:
            del self._seen[model]
            self._publish("removed", lambda _, model=model: {"model": model})  # type: ignore[misc]
        devices = self._device_dicts()
        if _differ(devices, self._devices):
            self._devices = devices
            self._publish("devices", lambda _: {"devices": devices})

    def _tell_requests(self) -> None:
        begun, ended = list(self._begun.values()), list(self._ended.values())
        if not begun and not ended:
            return
        self._begun, self._ended = {}, {}
        left_out = max(0, len(begun) - MOST_REQUESTS) + max(0, len(ended) - MOST_REQUESTS)
        gateway = self._product.gateway
        data = {
            "begun": [request_document(one).model_dump() for one in begun[-MOST_REQUESTS:]],
            "ended": [request_document(one).model_dump() for one in ended[-MOST_REQUESTS:]],
            "left_out": left_out,
            "running": gateway.answering.running,
            "answered": gateway.metrics.answered,
            "failed": gateway.metrics.failed,
        }
        self._publish("requests", lambda _: data)

    def _instances(self) -> list[tuple[InstanceDocument, InstanceStatus]]:
        product = self._product
        statuses, metrics = product.coordinator.statuses(), product.gateway.metrics
        documents = instance_documents(
            statuses, metrics.observed, metrics.usage, str, parts=product.footprints.parts
        )  # fmt: skip
        mark_pins(documents, product.coordinator.pins())
        for one in documents:
            # It is reckoned anew from two clocks at each look.
            one.rests_at = None if one.rests_at is None else round(one.rests_at)
        return list(zip(documents, statuses, strict=True))

    def _device_dicts(self) -> list[dict[str, Any]]:
        return [one.model_dump() for one in device_documents(self._product.gateway.metrics.observed)]


def _differ(devices: list[dict[str, Any]], told: list[dict[str, Any]]) -> bool:
    """Whether they differ by more than what other programs take and give back all the time."""
    if len(devices) != len(told):
        return True
    for one, other in zip(devices, told, strict=True):
        drift = abs(one["foreign"] - other["foreign"])
        if {**one, "foreign": 0} != {**other, "foreign": 0} or drift > one["capacity"] * _DRIFT:
            return True
    return False


def _told(document: InstanceDocument, status: InstanceStatus) -> Callable[[Translate], dict[str, Any]]:
    fields = document.model_dump()
    message = status.message
    if message is None:
        return lambda _: fields
    return lambda translate: {**fields, "message": message.render(translate)}


def request_document(record: RequestRecord) -> RequestDocument:
    """A request as the admin API tells it: no contents, and no address of its client."""
    return RequestDocument(
        number=record.number, id=record.id, time=record.time, method=record.method, path=record.path, key=record.key,
        name=record.name, model=record.model, request_class=record.request_class, status=record.status,
        code=record.code, seconds=record.seconds, queued=record.queued, first=record.first, swaps=record.swaps,
        prompt_tokens=record.prompt_tokens, cached_tokens=record.cached_tokens, output_tokens=record.output_tokens,
        streamed=record.streamed,
    )  # fmt: skip
