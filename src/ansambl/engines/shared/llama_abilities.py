"""What every llama.cpp can do while it runs, whichever build of it was started."""

from __future__ import annotations

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import EngineMetrics, LogFacts, NotUsable
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.engines.shared import exits, metrics
from ansambl.engines.shared.llama_loras import LlamaLoras, lora_calls
from ansambl.engines.shared.llama_placements import settings_of
from ansambl.engines.shared.llama_slots import LlamaSlots, mixes_slots

OPERATIONS = frozenset(
    {Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.RERANK, Operation.TRANSCRIPTION, Operation.COUNTING}
)
"""What llama.cpp's server does beside the chat, tried on xllamacpp 2026.10.11549: vectors and scores only where it was
started for them (else it answers 501), transcriptions only with a model that hears (else 501 likewise)."""

_EMBEDS = frozenset({"--embeddings", "--embedding"})
_SCORES = frozenset({"--reranking", "--rerank"})


class LlamaAbilities:
    """Slots, LoRA adapters, and what its metrics and its log tell; the base of llama.cpp's adapters."""

    def conversation_calls(self, placement: Placement) -> LlamaSlots | None:
        """Every slot can be asked for; states are copied where the placement has a folder for them."""
        if placement.kind in (ModelKind.EMBEDDING, ModelKind.RERANKER):
            return None
        caches = str(settings_of(placement)["prompt_cache"]) != "0"
        return LlamaSlots(
            can_copy=placement.state_folder is not None,
            mixes_slots=mixes_slots(placement.options.arguments, caches=caches),
        )

    def operations(self, placement: Placement) -> frozenset[Operation]:
        """As its kind says and its flags: one that was started for vectors or scores alone writes nothing.

        A server that was started with ``--reranking`` answers to ``/v1/embeddings``, too, but with noughts.
        """
        arguments = placement.options.arguments
        if placement.kind is ModelKind.RERANKER or _SCORES.intersection(arguments):
            return frozenset({Operation.RERANK})
        if placement.kind is ModelKind.EMBEDDING:
            return frozenset({Operation.EMBEDDINGS})
        found = {Operation.COMPLETIONS, Operation.COUNTING}
        if _EMBEDS.intersection(arguments):
            found.add(Operation.EMBEDDINGS)
        if placement.mmproj is not None:
            # The projector may be one of images alone; the engine then says so.
            found.add(Operation.TRANSCRIPTION)
        return frozenset(found)

    def shares_prefixes(self, placement: Placement) -> bool | None:
        """Slots that work at once share nothing by themselves."""
        del placement
        return False

    def lora_calls(self, placement: Placement) -> LlamaLoras | NotUsable:
        """Adapters are there from the start; each request chooses."""
        return lora_calls(placement)

    def read_metrics(self, text: str) -> EngineMetrics:
        """Read llama.cpp's metrics page."""
        return metrics.read_metrics(text)

    def read_log(self, line: str) -> LogFacts | None:
        """Memory by part while the model loads, and the context of a slot."""
        return exits.read_llama_log(line)
