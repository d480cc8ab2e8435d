"""Which requests go to an engine untouched, and which are translated although it speaks their dialect."""

from __future__ import annotations

from itertools import product

import pytest

from ansambl.domain.role import ModelName
from ansambl.domain.scheduling import ORDINARY, RequestClass, Standing
from ansambl.domain.serving import Serving
from ansambl.gateway.native import MESSAGES, RESPONSES, passes_natively

BOTH = frozenset({MESSAGES, RESPONSES})
HEARS = Serving("e", native=BOTH, salted=BOTH)
PLAIN = ModelName("m")


def passes(dialect=MESSAGES, serving=HEARS, standing=ORDINARY, model=PLAIN, *, lora=False, body=b"{}"):
    return passes_natively(dialect, serving, standing, model, lora=lora, body=body)


@pytest.mark.parametrize("dialect", [MESSAGES, RESPONSES])
def test_untouched_where_nothing_stands_against_it(dialect):
    assert passes(dialect)
    assert passes(dialect, standing=Standing(RequestClass.BATCH, "k1"))
    assert passes(dialect, model=ModelName("m", sampling={"temperature": 1, "top_p": 1}, output_limit=5))


@pytest.mark.parametrize("dialect", [MESSAGES, RESPONSES])
def test_translated_where_something_would_be_lost(dialect):
    assert not passes(dialect, Serving("e", native=BOTH - {dialect}, salted=BOTH))
    assert not passes(dialect, lora=True)
    assert not passes(dialect, standing=Standing(RequestClass.TASK))
    assert not passes(dialect, model=ModelName("m", sampling={"min_p": 0.1}))


def test_a_keys_request_needs_an_engine_that_hears_whose_it_is():
    for dialect, keyed, salted in product((MESSAGES, RESPONSES), (False, True), (False, True)):
        standing = Standing(RequestClass.INTERACTIVE, "k1") if keyed else ORDINARY
        serving = Serving("e", native=BOTH, salted=BOTH if salted else frozenset())
        assert passes(dialect, serving, standing) is (salted or not keyed)


def test_blocks_that_the_engine_would_refuse():
    body = b'{"messages":[{"role":"user","content":[{"type": "document"}]}]}'
    assert not passes(MESSAGES, body=body)
    assert passes(RESPONSES, body=body)
    assert not passes(MESSAGES, model=ModelName("m", sampling={"temperature": 1, "seed": 2}))
    assert passes(MESSAGES, model=ModelName("m", sampling={"top_k": 1}))
    assert not passes(RESPONSES, model=ModelName("m", sampling={"top_k": 1}))
