"""Anything that already runs and speaks OpenAI: Ollama, LM Studio, vLLM, llama-server, a paid API. Only attached to."""

from __future__ import annotations

from collections.abc import Sequence

from ansambl.domain.engine import (
    EngineMetrics,
    EngineTraits,
    ExitExplanation,
    ExitReason,
    Installed,
    LaunchSpec,
    LogFacts,
    NotUsable,
    ProbeSpec,
    Surroundings,
)
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines.settings import EngineLines
from ansambl.engines.shared import metrics


class OpenAICompatible:
    """The adapter: it starts nothing, it only says how to look whether the other side answers."""

    attach_only = True
    lines: EngineLines | None = None
    traits = EngineTraits(
        name="openai-compatible",
        title="OpenAI-compatible server",
        formats=frozenset(),
        devices=frozenset(),
        dialects=frozenset({"openai_chat"}),
        operations=frozenset(Operation),
    )
    probe = ProbeSpec(path="/v1/models", status=200, patience=Seconds(10.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:  # noqa: ARG002 - runs elsewhere
        """Always usable: the program is somebody else's."""
        return Installed(version="-")

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:  # noqa: ARG002 - never started
        """Never: what is attached to is not ours to start."""
        raise NotSupportedError(
            text("an OpenAI-compatible server is only attached to; give models.{model} an address, or another engine",
                 model=placement.model)
        )  # fmt: skip

    def read_metrics(self, text: str) -> EngineMetrics:
        """Read the metrics page where the other side has one that we know."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:  # noqa: ARG002 - its log is not ours
        """Nothing: its log is not ours."""
        return None

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:  # noqa: ARG002 - not our child
        """All that can be said is that it went away."""
        return ExitExplanation(ExitReason.UNKNOWN, text("the server at the other side went away; start it again"))
