"""Every registered engine against the contract suite and its recorded data."""

from pathlib import Path

import pytest

from ansambl.domain.errors import UsageError
from ansambl.engines.registry import ALIASES, ENGINES, engine_names, get_engine
from ansambl.testing.engine_suite import EngineContract


class TestEngines(EngineContract):
    data = Path(__file__).resolve().parent.parent / "data" / "engines"


def test_aliases_name_engines():
    assert set(ALIASES.values()) <= set(ENGINES)
    assert {"auto", "llama.cpp"} <= set(engine_names())
    assert get_engine("auto").traits.name == "llama.cpp-bundled"


def test_an_unknown_engine_names_the_nearest():
    with pytest.raises(UsageError, match="nearest one is command"):
        get_engine("comand")
