"""What people write for a checkpoint, and which files of a repository are it."""

import pytest

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.model_catalog.references import (
    HubFile,
    HubReference,
    choose_gguf,
    gguf_groups,
    parse_reference,
    projector_of,
    quantization_of,
    require_reference,
    safetensors_files,
    snapshot_files,
)


def files(*paths):
    return [HubFile(path, 10) for path in paths]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("openai/gpt-oss-120b", HubReference("openai/gpt-oss-120b")),
        ("unsloth/gemma-3-27b-it-GGUF:Q4_K_M", HubReference("unsloth/gemma-3-27b-it-GGUF", "Q4_K_M")),
        ("a/b/c.gguf", HubReference("a/b", None, "c.gguf")),
        ("a/b/Q8_0/c-00001-of-00002.gguf", HubReference("a/b", None, "Q8_0/c-00001-of-00002.gguf")),
    ],
)
def test_references_are_read_and_written_back(words, expected):
    assert parse_reference(words) == expected
    assert str(expected) == words


@pytest.mark.parametrize(
    "words",
    ["", "name", "a/", "/a/b", "../b", "a/..", "a/b/../c.gguf", "a/b//c", "a b/c", "a/b:", "a/b:x y", "a/b\n", "a/b#c",
     "folder/model.gguf", "a/b/c\x1b.gguf", "C:\\a\\b", "a/b?c=d", "~/a/b"],
)  # fmt: skip
def test_what_is_no_reference(words):
    assert parse_reference(words) is None
    with pytest.raises(UsageError, match="is no name on a hub"):
        require_reference(words)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "Q4_K_M"),
        ("gemma-3-27b-it-q4_0.gguf", "Q4_0"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("UD-IQ1_S/DeepSeek-V3-UD-IQ1_S-00001-of-00004.gguf", "UD-IQ1_S"),
        ("model-IQ2_XXS.gguf", "IQ2_XXS"),
        ("model-IQ4_NL.gguf", "IQ4_NL"),
        ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", "MXFP4"),
        ("BF16/model-00001-of-00002.gguf", "BF16"),
        ("nomic-embed-text-v1.5.f16.gguf", "F16"),
        ("mistral-fp16.gguf", "F16"),
        ("model.gguf", None),
        ("Q-model.gguf", None),
    ],
)
def test_quantizations_of_real_file_names(path, expected):
    assert quantization_of(path) == expected


def test_parts_are_grouped_and_incomplete_groups_left_out():
    found = gguf_groups(
        files("m-Q8_0-00002-of-00002.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q4_0-00001-of-00002.gguf",
              "mmproj-F16.gguf", "m-Q4_K_M.gguf", "README.md")
    )  # fmt: skip
    assert [(one.quantization, [file.path for file in one.files]) for one in found] == [
        ("Q4_K_M", ["m-Q4_K_M.gguf"]), ("Q8_0", ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"]),
    ]  # fmt: skip


REPOSITORY = files(
    "m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-UD-Q5_K_M.gguf", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf",
    "m-Q6_K-00001-of-00002.gguf", "plain.gguf",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        ("a/b", "m-Q4_K_M"),
        ("a/b:q8_0", "m-Q8_0"),
        ("a/b:Q5_K_M", "m-UD-Q5_K_M"),
        ("a/b/m-Q8_0-00002-of-00002.gguf", "m-Q8_0"),
        ("a/b/plain.gguf", "plain"),
    ],
)
def test_the_checkpoint_that_is_meant(words, stem):
    assert choose_gguf(parse_reference(words), REPOSITORY).stem == stem


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a/b:Q3_K_M", "holds no Q3_K_M; it has: Q2_K, Q4_K_M, Q8_0, UD-Q5_K_M"),
        ("a/b/other.gguf", "holds no other.gguf; it has: m-Q2_K.gguf"),
        ("a/b/m-Q6_K-00001-of-00002.gguf", "other parts are missing"),
    ],
)
def test_what_is_not_there_is_told_with_what_there_is(words, message):
    with pytest.raises(CheckpointError, match=message):
        choose_gguf(parse_reference(words), REPOSITORY)


def test_safetensors_come_first_and_an_empty_repository_has_nothing():
    both = files("model.safetensors", "m-Q4_K_M.gguf")
    assert choose_gguf(HubReference("a/b"), both) is None
    assert choose_gguf(HubReference("a/b", "Q4_K_M"), both).stem == "m-Q4_K_M"
    assert choose_gguf(HubReference("a/b", "safetensors"), both) is None
    with pytest.raises(CheckpointError, match="no other GGUF or safetensors files"):
        choose_gguf(HubReference("a/b", "Q4_K_M"), files("README.md"))


def test_only_what_engines_need_of_a_snapshot():
    repository = files(
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
        "chat_template.jinja", "merges.txt", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "consolidated.safetensors", "original/model.safetensors", "metal/model.bin",
        "pytorch_model.bin", "modeling_x.py", "README.md", "LICENSE", "onnx/model.onnx", "pytorch_model.bin.index.json",
    )  # fmt: skip
    kept = [one.path for one in snapshot_files(repository, safetensors_files(repository))]
    assert kept == [
        "LICENSE", "chat_template.jinja", "config.json", "generation_config.json", "merges.txt",
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    ]  # fmt: skip
    embedding = files(
        "modules.json", "model.safetensors", "1_Pooling/config.json", "2_Dense/model.safetensors", "x/y.json"
    )
    kept = [one.path for one in snapshot_files(embedding, safetensors_files(embedding))]
    assert kept == ["1_Pooling/config.json", "2_Dense/model.safetensors", "model.safetensors", "modules.json"]


def test_the_projector_in_sixteen_bits():
    assert (
        projector_of(files("mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf", "m.gguf")).path
        == "mmproj-F16.gguf"
    )
    assert projector_of(files("m.gguf")) is None
