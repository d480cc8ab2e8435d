"""What an instance serves, from its engine, its model's kind and its flags."""

from __future__ import annotations

import pytest

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import EngineOptions
from ansambl.domain.plan import Placement
from ansambl.domain.serving import Operation
from ansambl.engines.registry import ENGINES, get_engine
from ansambl.engines.serving import able, serving_elsewhere, serving_of

WRITES = frozenset({Operation.COMPLETIONS, Operation.COUNTING})


def placed(engine, kind=None, *arguments, **more):
    return Placement("m", engine, None, 512, 1, kind=kind, options=EngineOptions(arguments=arguments), **more)


@pytest.mark.parametrize("engine", ["llama.cpp-bundled", "llama.cpp"])
@pytest.mark.parametrize(
    ("kind", "arguments", "does"),
    [
        (None, (), WRITES),
        (ModelKind.INSTRUCT, (), WRITES),
        (ModelKind.EMBEDDING, (), {Operation.EMBEDDINGS}),
        (ModelKind.RERANKER, (), {Operation.RERANK}),
        (None, ("--reranking",), {Operation.RERANK}),
        (None, ("--embeddings", "--pooling", "mean"), WRITES | {Operation.EMBEDDINGS}),
    ],
)
def test_llama_cpp_does_what_it_was_started_for(engine, kind, arguments, does):
    found = serving_of(get_engine(engine), placed(engine, kind, *arguments))
    assert (found.certain, found.possible, found.native) == (does, frozenset(), frozenset())


def test_a_llama_cpp_with_a_projector_may_hear():
    found = serving_of(get_engine("llama.cpp"), placed("llama.cpp", mmproj="/p.gguf"))
    assert found.may(Operation.TRANSCRIPTION)


def test_kinds_decide_where_an_engine_runs_all_of_them():
    vllm = get_engine("vllm")
    assert serving_of(vllm, placed("vllm", ModelKind.EMBEDDING)).certain == {Operation.EMBEDDINGS}
    assert not serving_of(vllm, placed("vllm", ModelKind.EMBEDDING)).may(Operation.COMPLETIONS)
    speech = serving_of(vllm, placed("vllm", ModelKind.SPEECH))
    # It writes speech down and does not speak.
    assert speech.certain == {Operation.TRANSCRIPTION, Operation.TRANSLATION}
    writes = serving_of(vllm, placed("vllm", ModelKind.INSTRUCT))
    assert writes.certain == WRITES
    assert writes.may(Operation.TRANSCRIPTION)
    assert not writes.may(Operation.EMBEDDINGS)
    unknown = serving_of(vllm, placed("vllm"))
    assert not unknown.certain
    assert unknown.possible == vllm.traits.operations


def test_of_a_foreign_server_everything_may_be_tried():
    found = serving_elsewhere(get_engine("openai-compatible"))
    assert not found.certain
    assert all(found.may(one) for one in Operation)


def test_engines_are_named_for_what_they_can_do():
    everyone = [ENGINES.get(name) for name in ENGINES]
    assert "vLLM" in able(everyone, Operation.RERANK)
    # The bundled one and llama-server have one name.
    assert able(everyone, Operation.RERANK).count("llama.cpp") == 1


@pytest.mark.parametrize("name", list(ENGINES))
def test_what_is_passed_untouched_is_a_dialect_that_the_engine_speaks(name):
    traits = get_engine(name).traits
    assert traits.salted <= traits.native <= traits.dialects
    assert "openai_chat" not in traits.native
    assert Operation.COMPLETIONS in traits.operations
