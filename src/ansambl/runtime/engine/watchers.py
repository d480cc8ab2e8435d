"""Who wants to know more of an instance's engine than that it runs, and who can say more of why it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.plan import Placement
from ansambl.engines.adapter import EngineAdapter
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.load_facts import GpusUsed
from ansambl.runtime.engine.metering import Meter, OnWork
from ansambl.runtime.engine.runs import Run

ExplainMore: TypeAlias = Callable[[Placement, ExitExplanation], ExitExplanation]
"""Says more of an end that memory may have caused; it looks at the machine, so it is called in a thread."""

_OF_MEMORY = frozenset({ExitReason.OUT_OF_MEMORY, ExitReason.KILLED})


@dataclass(frozen=True, slots=True)
class Watchers:
    """What is told of runs, and asked about their ends; None where nobody is.

    `gpus_used` tells what is in use on whole GPUs, where a driver cannot tell it of single processes.
    """

    on_work: OnWork | None = None
    explain_more: ExplainMore | None = None
    gpus_used: GpusUsed | None = None

    def meter(self, adapter: EngineAdapter, run: Run, clock: Clock) -> Meter:
        """A meter of one run that tells `on_work`."""
        return Meter(adapter, run, self.on_work, clock)

    def explained(self, placement: Placement, explanation: ExitExplanation) -> ExitExplanation:
        """The explanation with what `explain_more` knows of it. Blocks."""
        if self.explain_more is None or explanation.reason not in _OF_MEMORY:
            return explanation
        return self.explain_more(placement, explanation)


NOBODY = Watchers()
"""Nobody wants to know anything."""
