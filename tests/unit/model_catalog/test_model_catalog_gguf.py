"""GGUF headers, honest and hostile."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.gguf import GgufError, read_header


def string(value):
    return struct.pack("<Q", len(value)) + value.encode()


def field(name, kind, value):
    return string(name) + struct.pack("<I", kind) + value


def tensor(name, dimensions, kind, offset):
    sizes = b"".join(struct.pack("<Q", one) for one in dimensions)
    return string(name) + struct.pack("<I", len(dimensions)) + sizes + struct.pack("<IQ", kind, offset)


FIELDS = (
    field("general.architecture", 8, string("llama")),
    field("llama.context_length", 4, struct.pack("<I", 4096)),
    field("general.file_type", 4, struct.pack("<I", 15)),
    field("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + string("a") + string("bc")),
    field("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 2) + struct.pack("<ff", 1, 2)),
    field("general.quantized", 7, b"\x01"),
)
TENSORS = (tensor("a", (32, 2), 2, 0), tensor("b", (5,), 0, 64))


def header(fields=FIELDS, tensors=TENSORS, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields)) + b"".join(fields) + b"".join(tensors)


def whole(content=None, extra=None):
    content = header() if content is None else content
    content += b"\0" * (-len(content) % 32)
    # 64 elements of Q4_0 are two blocks of 18 bytes; the second tensor stands at 64 and has five floats.
    return content + b"\0" * (64 + 20 if extra is None else extra)


def written(tmp_path, content, name="model.gguf"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_header_is_read(tmp_path):
    found = read_header(written(tmp_path, whole()))
    assert (found.version, found.architecture, found.context, found.quantization) == (3, "llama", 4096, "Q4_K_M")
    assert (found.tensors, found.parameters) == (2, 69)
    assert found.expected_size == len(whole())
    assert found.split_count == 1


def test_a_whole_file_becomes_a_checkpoint(tmp_path):
    path = written(tmp_path, whole())
    found = open_checkpoint(str(path), tmp_path / "models")
    assert (found.path, found.size, found.context, found.quantization) == (str(path), len(whole()), 4096, "Q4_K_M")
    changed = open_checkpoint(str(written(tmp_path, whole() + b"\0")), tmp_path)
    assert changed.identity != found.identity


def test_a_bare_name_is_looked_for_in_the_models_folder(tmp_path):
    path = written(tmp_path, whole())
    assert open_checkpoint("model.gguf", tmp_path).path == str(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "too short"),
        (b"PK\x03\x04" + b"\0" * 100, "does not begin with 'GGUF'"),
        (header(version=99), "version 99 is not known"),
        (header()[:100], "beyond the end of the file"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "more tensors or fields"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "more tensors or fields"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**63) + b"x" * 50, "beyond the end"),
        (header((field("x", 77, b""),)), "unknown kind"),
        (header((field("x", 9, struct.pack("<IQ", 9, 1)),)), "unknown kind or too long"),
        (header((field("x", 9, struct.pack("<IQ", 8, 2**60)),)), "unknown kind or too long"),
        (header((field("x", 9, struct.pack("<IQ", 10, 2**60)),)), "beyond the end"),
        (header(tensors=(tensor("a", (1,) * 5, 0, 0),)), "tensor 'a' has 5 dimensions"),
        (header((field("general.alignment", 4, struct.pack("<I", 0)),)), "'general.alignment' is 0"),
        (header((field("general.alignment", 4, struct.pack("<I", 48)),)), "'general.alignment' is 48"),
        (header((field("x", 7, b"\x01"), field("x", 7, b"\x01"))), "says 'x' twice"),
        (header(tensors=(tensor("a", (2**62, 2), 0, 0),)), "'a' has a shape that no model has"),
        (header(tensors=(tensor("a", (2**30,) * 2, 0, 0),)), "'a' has a shape that no model has"),
        (header(tensors=(tensor("a", (33,), 2, 0),)), "'a' has rows of 33, not of blocks of 32"),
        (header(tensors=(tensor("a", (8,), 0, 4),)), "'a' begins at byte 4, which is no multiple of 32"),
        (header(tensors=(tensor("a", (16,), 0, 0), tensor("b", (8,), 0, 32))), "'a' and 'b' overlap"),
        (header(tensors=(tensor("a", (8,), 0, 0), tensor("a", (8,), 0, 32))), "two tensors 'a'"),
        (header((field("a\x1b[2J\nb", 77, b""),)), r"'a\?\[2J\?b'"),
    ],
)
def test_what_is_no_model_is_refused_in_words(tmp_path, content, words):
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(str(written(tmp_path, content)), tmp_path)


def test_truncation_is_told_with_both_sizes(tmp_path):
    path = written(tmp_path, whole()[:-1])
    with pytest.raises(CheckpointError, match=f"has {len(whole()) - 1} bytes, its header speaks of {len(whole())}"):
        open_checkpoint(str(path), tmp_path)
    huge = written(tmp_path, header(tensors=(tensor("a", (2**20, 2**20), 0, 2**63),)))
    with pytest.raises(CheckpointError, match="truncated"):
        open_checkpoint(str(huge), tmp_path)


def test_references_that_cannot_be_opened(tmp_path):
    for reference in ("owner/name", "owner/name:Q4_K_M", "owner/name/file.gguf"):
        with pytest.raises(CheckpointError, match=f"ansambl models pull {reference}"):
            open_checkpoint(reference, tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint("folder/model.gguf", tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(str(tmp_path / "no.gguf"), tmp_path)
    with pytest.raises(CheckpointError, match="holds no model"):
        open_checkpoint(str(tmp_path), tmp_path)
    with pytest.raises(CheckpointError, match="ansambl models pull embedded"):
        open_checkpoint("embedded", tmp_path)


def test_a_divided_checkpoint_needs_all_its_parts(tmp_path):
    split = header((*FIELDS, field("split.count", 2, struct.pack("<H", 2))))
    first = written(tmp_path, whole(split), "m-00001-of-00002.gguf")
    with pytest.raises(CheckpointError, match=r"its part m-00002-of-00002.gguf is missing"):
        open_checkpoint(str(first), tmp_path)
    second = written(tmp_path, whole(split), "m-00002-of-00002.gguf")
    assert open_checkpoint(str(first), tmp_path).size == 2 * len(whole(split))
    assert open_checkpoint(str(second), tmp_path).path == str(first)
    second.write_bytes(whole(split)[:-1])
    with pytest.raises(CheckpointError, match=r"m-00002-of-00002.gguf is truncated"):
        open_checkpoint(str(first), tmp_path)
    second.write_bytes(whole(split))
    first.unlink()
    with pytest.raises(CheckpointError, match=r"its part m-00001-of-00002.gguf is missing"):
        open_checkpoint(str(second), tmp_path)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("gguf") / "fuzzed.gguf"


@given(position=st.integers(4, len(whole()) - 9), value=st.binary(min_size=1, max_size=8))
def test_no_change_of_a_header_crashes_the_reader(scratch, position, value):
    content = bytearray(whole())
    content[position : position + len(value)] = value
    scratch.write_bytes(content)
    assert outcome(scratch)


def outcome(path):
    try:
        return read_header(path)
    except GgufError as refusal:
        return str(refusal)
