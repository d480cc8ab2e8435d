"""What an instance serves, from what its engine can do and what it was started for. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.catalog import ModelKind
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation, Serving
from ansambl.engines.adapter import EngineAdapter, TellsOperations

_WRITING = frozenset({Operation.COMPLETIONS, Operation.COUNTING})
_HEARING = frozenset({Operation.TRANSCRIPTION, Operation.TRANSLATION})
_OF_KIND = {
    ModelKind.EMBEDDING: frozenset({Operation.EMBEDDINGS}),
    ModelKind.RERANKER: frozenset({Operation.RERANK}),
    ModelKind.SPEECH: _HEARING | {Operation.SPEECH},
}


def serving_of(adapter: EngineAdapter, placement: Placement) -> Serving:
    """What the engine of a placement serves.

    Where the adapter cannot tell, the model's kind does; of a model of unknown kind everything may be tried that the
    engine can do at all.
    """
    known = serving_elsewhere(adapter)
    if isinstance(adapter, TellsOperations):
        certain = adapter.operations(placement)
        return replace(known, certain=certain & known.possible, possible=frozenset())
    kind = placement.kind
    if kind is None:
        return known
    certain = _OF_KIND.get(kind, _WRITING) & known.possible
    # Some models that write hear, too.
    possible = _HEARING & known.possible if kind.writes else frozenset()
    return replace(known, certain=certain, possible=possible - certain)


def serving_elsewhere(adapter: EngineAdapter) -> Serving:
    """What may be asked of a server of that engine, of whose model nothing is known."""
    traits = adapter.traits
    return Serving(
        traits.title, possible=traits.operations, native=traits.native, salted=traits.salted,
        names_tools=traits.names_tools,
    )  # fmt: skip


def able(adapters: list[EngineAdapter], operation: Operation) -> tuple[str, ...]:
    """The titles of the engines that do something for some model, each once, in their order."""
    return tuple(dict.fromkeys(one.traits.title for one in adapters if operation in one.traits.operations))
