"""What a policy remembers of one instance."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.records import Ask, InstanceFacts, InstanceView, Memory, Residency
from ansambl.runtime.slots import Order, Slots


@dataclass(slots=True)
class Waiter:
    """A request that waits: what it asked for, its turn, when it expires (None: never), and the swaps made for it.

    `fair` is how many seconds it would wait in one queue for all.
    """

    ticket: int
    ask: Ask
    order: Order
    asked: float
    expires: float | None = None
    swaps: int = 0
    fair: float = 0.0


@dataclass(slots=True)
class State:
    """One instance.

    `needs` is the memory that it is given to load: as stated, then as measured, then as an out-of-memory taught.
    `running` counts places in use and requests that use it without a place. `wanted` is the model for which it is
    drained or leaves, `level` how it will rest or at which it sleeps. `owner` tells that its owner wants it to rest,
    `leaving` that it is to be forgotten. `swaps` counts what was unloaded for the load that is under way.
    """

    facts: InstanceFacts
    needs: Memory
    slots: Slots
    added: int
    residency: Residency = Residency.OUT
    measured: bool = False
    running: int = 0
    minor: set[int] = field(default_factory=set)
    """The slots that tasks and background requests are in: nobody waits for them, so they make it busy for nobody."""
    level: int | None = None
    wanted: str | None = None
    owner: bool = False
    leaving: bool = False
    waiters: dict[int, Waiter] = field(default_factory=dict)
    by_class: dict[RequestClass, int] = field(default_factory=lambda: dict.fromkeys(RequestClass, 0))
    swaps: int = 0
    tried_again: bool = False
    must_make_room: bool = False
    misfit_since: float | None = None
    """Since when other programs hold memory without which it cannot be loaded."""
    retry_at: float | None = None
    came: float = 0.0
    """When it became resident."""
    idle_since: float = 0.0
    used: float = float("-inf")
    """When a request used it last."""
    ended: float | None = None
    """When its last answer ended, while no other request of a person or a program came."""
    gaps: tuple[float, ...] = ()
    """Seconds from the end of one request to the next one, the last few times that it was idle between."""
    rest_timer: float | None = None
    kept_out: bool = False
    """It does not come back by itself: its owner, or its time to live, had it rest."""
    load: float = 0.0
    stop: float = 0.0
    answer: float = 0.0
    """Seconds of a load, a stop and an answer: as stated, then running means of what was measured."""
    answers: int = 0
    rests_since: float = 0.0
    due_since: float | None = None
    """Since when only the price of a swap keeps it waiting."""
    blocks: Order | None = None
    """Requests before that in order are served before it may be drained for the model that wants its room."""
    asleep: bool = False
    """The load that is under way wakes it."""
    load_ends: float = 0.0
    """When a load that is under way is expected to be ready."""
    latest: float = float("inf")
    """When those that make room for it must be gone, so that nobody waits longer than in one queue for all."""
    left: float | None = None
    """When its last answer ended."""
    again: float = 0.5
    """Which part of its requests came a moment after one of its answers ended, lately."""
    longest: float = 0.0
    """Seconds of its longest answers lately."""

    @property
    def resident(self) -> bool:
        """Whether it serves requests."""
        return self.residency is Residency.IN

    @property
    def model(self) -> str:
        """The model that it serves."""
        return self.facts.model

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer from it, or for a place on it."""
        return self.running > len(self.minor) or self.urgent() is not None

    def urgent(self) -> Order | None:
        """The order of its first waiting request, if that is of a class for which models are swapped."""
        first = self.slots.first()
        return first if first is not None and first[0] == 0 else None

    def wakes(self) -> float:
        """Seconds until it would be ready: from sleep where it sleeps, else from nothing."""
        if self.residency is Residency.ASLEEP:
            for one in self.facts.sleeps:
                if one.level == self.level:
                    return one.wake_seconds
        return self.load

    def take_figures(self) -> None:
        """Expect what the facts say."""
        self.load, self.stop, self.answer = (
            self.facts.load_seconds, self.facts.stop_seconds, self.facts.answer_seconds,
        )  # fmt: skip
        self.answers, self.longest = 0, self.answer

    def view(self, reserved: Memory) -> InstanceView:
        """A snapshot."""
        ttl = self.facts.ttl
        rests_at = self.idle_since + ttl if ttl is not None and self.resident and not self.running else None
        return InstanceView(
            self.residency, self.running, len(self.waiters), reserved, self.measured, self.wanted, rests_at,
            {kind: count for kind, count in self.by_class.items() if count}, self.facts.pinned,
            tuple(one.level for one in self.facts.sleeps),
        )  # fmt: skip
