"""The contract that every engine's one file fulfils; ``ansambl.testing.engine_suite`` checks it for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ansambl.domain.engine import (
    EngineMetrics,
    EngineTraits,
    ExitExplanation,
    Installed,
    LaunchSpec,
    LogFacts,
    NotUsable,
    ProbeSpec,
)
from ansambl.domain.hardware import Machine
from ansambl.domain.plan import Placement


@runtime_checkable
class EngineAdapter(Protocol):
    """An engine as Ansambl sees it. Nothing here starts a process or opens a connection to one."""

    traits: EngineTraits
    probe: ProbeSpec

    def detect(self, machine: Machine | None = None) -> Installed | NotUsable:
        """Say whether the engine can be used on this machine, and if not, what would change that."""
        ...

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """Everything needed to start an instance that listens on 127.0.0.1:`port` and asks for `secret` as its key.

        Pure: the same placement gives the same spec.

        Raises:
            AnsamblError: the placement contradicts itself or asks for what the engine cannot do.
        """
        ...

    def read_metrics(self, text: str) -> EngineMetrics:
        """Read the engine's own metrics page."""
        ...

    def read_log(self, line: str) -> LogFacts | None:
        """Read one line of the engine's log; None when it tells nothing that we use."""
        ...

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """Say why the engine ended.

        `code` is negative for a signal, None when it was not our child; `tail` is oldest first.
        """
        ...


@runtime_checkable
class AttachOnly(Protocol):
    """Ability: the engine is only ever attached to; `launch_spec` always raises NotSupportedError."""

    attach_only: bool
