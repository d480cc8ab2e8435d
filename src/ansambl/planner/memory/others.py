"""Programs that run another engine inside: that engine's rules with their own defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ansambl.domain.footprint import Footprint, Reason
from ansambl.domain.text import Text, text
from ansambl.planner.memory import exllamav3, llama_cpp
from ansambl.planner.memory.inputs import MemoryInputs, Settings

_OLLAMA_RUNS_SERVER = (0, 30)


@dataclass(frozen=True, slots=True)
class Shared:
    """A program's name for people, the rules that it follows, its defaults, and where they come from."""

    name: str
    title: str
    rules: Callable[[MemoryInputs], Footprint]
    engine: str
    source: str
    defaults: Mapping[str, int] = field(default_factory=dict)

    def forecast(self, inputs: MemoryInputs) -> Footprint:
        """What the program will need of each device.

        Raises:
            UsageError: as the rules that it follows.
        """
        # The version named is the program's, not that of the engine within.
        own = {name: value for name, value in inputs.settings.items() if name != "engine_version"}
        found = self.rules(replace(inputs, settings={**self.defaults, **own}))
        reasons = [
            *found.reasons,
            Reason("shared-rules", text("{program} runs {engine}: its rules are followed", program=self.title,
                                        engine=self.engine), self.source),
        ]  # fmt: skip
        version = Settings(inputs.settings, frozenset(inputs.settings), self.name).version(())
        if self.name == "ollama" and version and version < _OLLAMA_RUNS_SERVER:
            reasons.append(Reason("engine-too-old", _TOO_OLD, self.source))
        return replace(found, engine=self.name, reasons=tuple(reasons))


_TOO_OLD: Text = text("Ollama before 0.30 divided memory by rules of its own, which are not known here")

OLLAMA = Shared(
    "ollama", "Ollama", llama_cpp.forecast, "llama.cpp",
    "Ollama 0.30 runs all GGUF models on llama-server; batches of 1024 in ollama/ollama#16416 and #16480",
    {"n_batch": 1024, "n_ubatch": 1024},
)  # fmt: skip
LM_STUDIO = Shared(
    "lm_studio", "LM Studio", llama_cpp.forecast, "llama.cpp",
    "LM Studio's GGUF runtime is llama.cpp; llama.cpp's own defaults are assumed",
)  # fmt: skip
TEXTGEN = Shared(
    "textgen", "Text Generation Web UI", llama_cpp.forecast, "llama.cpp",
    "text-generation-webui modules/shared.py: batch-size and ubatch-size 1024",
    {"n_batch": 1024, "n_ubatch": 1024},
)  # fmt: skip
TABBYAPI = Shared(
    "tabbyapi", "TabbyAPI", exllamav3.forecast, "ExLlamaV3", "TabbyAPI backends/exllamav3/model.py"
)  # fmt: skip
