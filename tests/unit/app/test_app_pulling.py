"""Which repository and which format a name stands for."""

import pytest

from ansambl.app.pulling import hub_name, suiting
from ansambl.domain.errors import UnknownNameError, UsageError
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog.download import Suiting

GGUF, FOLDERS = Suiting(("gguf", "safetensors")), Suiting(("safetensors", "gguf"))


@pytest.mark.parametrize(
    ("model", "wanted", "expected"),
    [
        ("own/name:Q8_0", GGUF, "own/name:Q8_0"),
        ("gpt-oss-20b", FOLDERS, "openai/gpt-oss-20b"),
        ("gpt-oss-20b", GGUF, "ggml-org/gpt-oss-20b-GGUF"),
        ("gpt-oss-20b:Q8_0", FOLDERS, "ggml-org/gpt-oss-20b-GGUF:Q8_0"),
        ("gpt-oss-20b:MXFP4", GGUF, "ggml-org/gpt-oss-20b-GGUF:MXFP4"),
    ],
)
def test_a_catalogs_name_stands_for_a_repository_in_the_wanted_format(model, wanted, expected):
    assert hub_name(model, wanted) == expected


def test_an_engine_says_its_formats(tmp_path):
    assert suiting("llama.cpp", DataPaths(tmp_path)).formats == ("gguf",)
    assert suiting("vllm", DataPaths(tmp_path)).formats[0] == "safetensors"
    assert set(suiting(None, DataPaths(tmp_path)).formats) == {"gguf", "safetensors"}
    with pytest.raises(UsageError, match="nearest ones are"):
        suiting("vlm", DataPaths(tmp_path))
    with pytest.raises(UnknownNameError):
        hub_name("no-such-model-anywhere", GGUF)
