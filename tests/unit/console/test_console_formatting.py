"""How pages write what others told them."""

import pytest

from ansambl.console.formatting import of


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("the folder of TabbyAPI is not known", "The folder of TabbyAPI is not known"),
        ("где лежит папка, неизвестно", "Где лежит папка, неизвестно"),
        ("llama.cpp is not installed", "llama.cpp is not installed"),
        ("vLLM is not installed", "vLLM is not installed"),
        ("SGLang is not installed", "SGLang is not installed"),
        ("engines.vllm.program names no file", "engines.vllm.program names no file"),
        ("", ""),
    ],
)
def test_a_sentence_begins_with_a_capital_and_a_name_as_it_is_written(words, shown):
    assert of(str, "en").sentence(words) == shown
