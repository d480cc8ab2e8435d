"""The user's own command line as an engine: anything that serves OpenAI's API on a port that it is told."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from ansambl.domain.engine import (
    KEY_VARIABLE,
    EngineMetrics,
    EngineTraits,
    ExitExplanation,
    Installed,
    LaunchSpec,
    LogFacts,
    NotUsable,
    ProbeSpec,
    Surroundings,
)
from ansambl.domain.errors import UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.engines.adapter import NOWHERE
from ansambl.engines.command_lines.settings import EngineLines
from ansambl.engines.shared import exits, metrics
from ansambl.engines.shared.digest import launch_digest
from ansambl.engines.shared.llama_slots import LlamaSlots, mixes_slots

_GAP = re.compile(r"\{([a-z_]+)\}")
_TITLE = "the command"
_STATES = "{state_folder}"


class CustomCommand:
    """The adapter.

    The key is always in the environment as ``ANSAMBL_ENGINE_KEY`` and always sent with requests: a server that asks
    for no key ignores it, and one that was told it (``environment = { LLAMA_API_KEY = "{key}" }``) is protected by it.
    """

    lines: EngineLines | None = None
    traits = EngineTraits(
        name="command",
        title="own command",
        formats=frozenset(),
        devices=frozenset({"cpu", "cuda", "rocm", "metal", "vulkan"}),
        dialects=frozenset({"openai_chat"}),
        operations=frozenset(Operation),
    )
    # Not /health: many servers have none. While one loads its model it refuses connections or answers another status.
    probe = ProbeSpec(path="/v1/models", status=200, patience=Seconds(900.0))

    def detect(self, around: Surroundings = NOWHERE) -> Installed | NotUsable:  # noqa: ARG002 - known when it starts
        """Always usable; whether the program exists shows when it starts."""
        return Installed(version="-")

    def launch_spec(self, placement: Placement, *, port: int, secret: str) -> LaunchSpec:
        """The user's words, split as a shell would, with their gaps filled; no shell is involved."""
        options = placement.options
        gaps = {
            "port": str(port), "host": "127.0.0.1", "model": placement.model,
            "context": str(placement.context), "parallel": str(placement.parallel),
        }  # fmt: skip
        if placement.checkpoint is not None:
            gaps["checkpoint"] = placement.checkpoint.path
        try:
            words = [*shlex.split(options.command or ""), *options.arguments]
        except ValueError as failure:
            raise UsageError(
                text("models.{model}.command cannot be read ({reason}); check its quotes", model=placement.model,
                     reason=str(failure))
            ) from failure  # fmt: skip
        if not words:
            raise UsageError(
                text("models.{model} has no command; write for example command = 'llama-server --port {port} "
                     "-m {checkpoint}'", model=placement.model, port="{port}", checkpoint="{checkpoint}")
            )  # fmt: skip
        if not any("{port}" in value for value in (*words, *options.environment.values())):
            raise UsageError(
                text("models.{model}.command does not say {port}: Ansambl chooses a free port and must tell it",
                     model=placement.model, port="{port}")
            )  # fmt: skip
        if placement.state_folder is not None:
            gaps["state_folder"] = placement.state_folder.rstrip("/") + "/"
        secrets = frozenset(name for name, value in options.environment.items() if "{key}" in value)
        plain = {name: value for name, value in options.environment.items() if name not in secrets}
        without_port = {**gaps, "port": "PORT", "state_folder": "STATES"}
        fill = _Filler(placement.model)
        digest = launch_digest(
            [fill(word, without_port) for word in words],
            {name: fill(value, without_port) for name, value in plain.items()},
            placement.checkpoint.identity if placement.checkpoint else "",
        )
        environment = {name: fill(value, {**gaps, "key": secret}) for name, value in options.environment.items()}
        return LaunchSpec(
            engine=self.traits.name, argv=tuple(fill(word, gaps) for word in words), port=port,
            environment={**environment, KEY_VARIABLE: secret}, secret_environment=secrets | {KEY_VARIABLE},
            upstream_name=options.name or placement.model, digest=digest,
        )  # fmt: skip

    def conversation_calls(self, placement: Placement) -> LlamaSlots | None:
        """A command with the gap ``{state_folder}`` starts a llama-server; of others nothing is known.

        ``--slot-save-path {state_folder}`` lets roles that answer at once share what they have in common.
        """
        if not any(_STATES in word for word in _said(placement)):
            return None
        # Its own default is 8 GiB for the cache of finished prompts.
        mixing = mixes_slots(" ".join(_said(placement)).split(), caches=True)
        return LlamaSlots(can_copy=placement.state_folder is not None, mixes_slots=mixing)

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """By the name of the program: vLLM and SGLang keep a prefix cache, a llama-server shares nothing by itself."""
        words = " ".join(_said(placement)).lower()
        if "vllm" in words or "sglang" in words:
            return True
        return False if "llama-server" in words else None

    def read_metrics(self, text: str) -> EngineMetrics:
        """Read the metrics page where the program has one that we know."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:
        """What a llama-server says of its memory; nothing for other programs."""
        return exits.read_llama_log(line)

    def explain_exit(self, code: int | None, tail: Sequence[str]) -> ExitExplanation:
        """What every process can die of."""
        return exits.explain_exit(code, tail, _TITLE)


def _said(placement: Placement) -> list[str]:
    options = placement.options
    return [options.command or "", *options.arguments, *options.environment.values()]


class _Filler:
    """Fills the gaps of a word of the model named `model`; other braces (JSON, say) stay as they are."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __call__(self, word: str, gaps: Mapping[str, str]) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name in gaps:
                return gaps[name]
            raise self._unknown(name, gaps)

        return _GAP.sub(replace, word)

    def _unknown(self, name: str, gaps: Mapping[str, str]) -> UsageError:
        if name == "key":
            return UsageError(
                text("models.{model}: {gap} on a command line would show the key to every user of this machine; pass "
                     "it as environment = {example}", model=self._model, gap="{key}",
                     example='{ LLAMA_API_KEY = "{key}" }')
            )  # fmt: skip
        if name == "state_folder":
            return UsageError(
                text("models.{model}: no folder for the states of slots can be made on this machine; leave {gap} and "
                     "its flag out", model=self._model, gap=_STATES)
            )  # fmt: skip
        if name == "checkpoint":
            return UsageError(
                text("models.{model}.command asks for {gap}, but the model has no checkpoint; add one",
                     gap="{checkpoint}", model=self._model)
            )  # fmt: skip
        near = nearest_names(name, gaps, 1)
        return UsageError(
            text("models.{model}.command: {gap} is unknown; the nearest one is {nearest}", model=self._model,
                 gap="{" + name + "}", nearest="{" + (near[0] if near else "port") + "}")
        )  # fmt: skip
