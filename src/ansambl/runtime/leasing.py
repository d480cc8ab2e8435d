"""Places on one ready instance, held together until their requests are answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType

from ansambl.domain.instance import Endpoint
from ansambl.runtime.carrying import Lease
from ansambl.runtime.instance import Instance


@dataclass(slots=True)
class LeaseGroup:
    """Several places on one ready instance, granted at once. `release` gives one back before the others.

    `give_back` is told the slot of a place that is free again, None where it has none.
    """

    leases: list[Lease]
    instance: Instance
    give_back: Callable[[int | None], None]
    _held: list[Lease] = field(default_factory=list)
    _in_use: bool = False

    def __post_init__(self) -> None:
        self._held = list(self.leases)

    async def begin_use(self, lora: str | None) -> Endpoint:
        """Have the instance ready, and in use until the last place is released; with that LoRA adapter loaded.

        Raises:
            AnsamblError: as `Instance.ensure_ready` and `Instance.use_lora`.
        """
        endpoint = await self.instance.ensure_ready()
        self.instance.begin_use()
        self._in_use = True
        if lora is not None:
            await self.instance.use_lora(lora)
            for one in self.leases:
                one.lora = lora
        return endpoint

    def release(self, lease: Lease) -> None:
        """Give a place back; a second time does nothing."""
        if any(one is lease for one in self._held):
            self._held = [one for one in self._held if one is not lease]
            if not self._held and self._in_use:
                self._in_use = False
                if lease.lora is not None:
                    self.instance.end_lora(lease.lora)
                self.instance.end_use()
            self.give_back(lease.place)

    def release_all(self) -> None:
        """Give back what is still held."""
        for one in tuple(self._held):
            self.release(one)


@dataclass(slots=True)
class HeldGroup(AbstractAsyncContextManager[LeaseGroup]):
    """Holds the group that `take` gives until `let_go`. A generator for each request costs several times that."""

    take: Callable[[], Awaitable[LeaseGroup]]
    let_go: Callable[[LeaseGroup], None]
    _group: LeaseGroup | None = None

    async def __aenter__(self) -> LeaseGroup:
        group = self._group = await self.take()
        return group

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._group is not None:
            self.let_go(self._group)


@dataclass(slots=True)
class FirstLease(AbstractAsyncContextManager[Lease]):
    """The only lease of a group."""

    group: AbstractAsyncContextManager[LeaseGroup]

    async def __aenter__(self) -> Lease:
        return (await self.group.__aenter__()).leases[0]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self.group.__aexit__(kind, error, trace)
