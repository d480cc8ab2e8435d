"""The page Models and engines: lines for a configuration from any reference, and rows that say the same as one."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.console.pages.models import _grouped, configuration_lines


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("own/Model-7B-GGUF:Q4_K_M", "model-7b-gguf"),
        ("own/name/part-00001.gguf", "part-00001"),
        ("/data/models/My Model v1.5.gguf", "my-model-v1-5"),
        ("embedded", "embedded"),
        ("ollama:llama3.2:3b", "ollama"),
        ("own/модель", "model"),
    ],
)
def test_the_name_is_made_from_the_reference(reference, name):
    assert tomllib.loads(configuration_lines(reference)) == {"models": {name: {"checkpoint": reference}}}


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_whatever_a_path_is_called_the_lines_are_read_back(reference):
    (model,) = tomllib.loads(configuration_lines(reference))["models"].values()
    assert model == {"checkpoint": reference}


def row(engine, quantization, verdict, text="because"):
    return {
        "engine": engine, "format": "gguf", "quantization": quantization, "device": "ram", "ui": None,
        "verdict": verdict, "since": None, "reasons": [{"code": "c", "text": text, "source": "s"}],
    }  # fmt: skip


def test_rows_that_differ_in_the_quantization_alone_are_one_and_what_works_comes_first():
    found = _grouped([
        row("a", "Q4", "no"), row("b", "Q4", "yes"), row("b", "Q8", "yes"), row("b", "Q4", "yes"),
        row("b", "Q5", "yes", "another reason"), row("c", None, "slow"), row("d", "Q4", "unknown"),
    ])  # fmt: skip
    assert [(one["engine"], one["quantizations"]) for one in found] == [
        ("b", ["Q4", "Q8"]), ("b", ["Q5"]), ("c", []), ("d", ["Q4"]), ("a", ["Q4"]),
    ]  # fmt: skip
