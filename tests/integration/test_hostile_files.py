"""Files made to harm: each is refused in one line by a process that may use little memory and little time."""

import json
import os
import re
import struct
import subprocess
import sys

import pytest

MEMORY, SECONDS = 600 << 20, 60
CHILD = """
import json, resource, sys
from pathlib import Path
from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.library import installed
memory, seconds = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
answers = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    file = next(iter(folder.iterdir()))
    try:
        found = inspect_checkpoint(folder if file.suffix == ".json" else file)
        answers[folder.name] = "read: " + " ".join(note.render() for note in found.notes)
    except CheckpointError as refusal:
        answers[folder.name] = str(refusal)
# The header is whole; that its numbers make no sense is told when it is inspected.
listed = {Path(one.path).parent.name for one in installed(Path(sys.argv[1]), environment={"HF_HOME": sys.argv[1]})}
assert listed <= {"layers without end"}, listed
print(json.dumps(answers))
"""


def text(value):
    return struct.pack("<Q", len(value)) + value


def head(tensors, fields):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, fields)


def gguf_files():
    """Name: content, words of the refusal."""
    named = [text(b"%08x" % index) for index in range(140_000)]
    tensor = struct.pack("<IQIQ", 1, 0, 0, 0)
    loop = struct.pack("<IQ", 9, 1)
    return {
        "count of tensors": (head(2**64 - 1, 0) + bytes(99), "more tensors or fields"),
        "count of fields": (head(0, 2**63) + bytes(99), "more tensors or fields"),
        "length of a name": (head(0, 1) + struct.pack("<Q", 2**64 - 1) + bytes(99), "beyond the end"),
        "length of a list": (head(0, 1) + text(b"x") + struct.pack("<IIQ", 9, 10, 2**61), "beyond the end"),
        "lists in lists": (head(0, 1) + text(b"x") + struct.pack("<I", 9) + loop * 100_000, "unknown kind or too long"),
        "many texts": (
            head(0, 16_384) + b"".join(one + struct.pack("<I", 8) + text(b"\xff" * 4096) for one in named[:16_384]),
            "names and texts of the header are longer",
        ),
        "many empty words": (
            head(0, 1) + text(b"x") + struct.pack("<IIQ", 9, 8, 3_000_000) + bytes(24_000_000),
            "read: .*does not say 'general.architecture'",
        ),
        "many lists": (
            head(0, 16_384) + b"".join(one + struct.pack("<IIQ", 9, 0, 2000) + bytes(2000) for one in named[:16_384]),
            "read: .*does not say 'general.architecture'",
        ),
        "many tensors": (
            head(131_072, 0) + b"".join(one + tensor for one in named[:131_072]) + bytes(64),
            "read: .*does not say 'general.architecture'",
        ),
        "a shape beyond all": (
            head(1, 0) + text(b"a") + struct.pack("<I4QIQ", 4, *[2**64 - 1] * 4, 0, 0), "has a shape that no model has"
        ),
        "an offset beyond the file": (
            head(1, 0) + text(b"a") + struct.pack("<IQIQ", 1, 8, 0, 2**64 - 32), "is truncated: it has"
        ),
        "tensors that overlap": (
            head(2, 0) + b"".join(text(one) + struct.pack("<IQIQ", 1, 64, 0, at) for one, at in ((b"a", 0), (b"b", 32)))
            + bytes(999),
            "'a' and 'b' overlap",
        ),
        "layers without end": (
            head(0, 3) + text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
            + b"".join(text(b"llama." + one) + struct.pack("<II", 4, 2**32 - 1)
                       for one in (b"block_count", b"embedding_length")),
            "'llama.embedding_length' is 4294967295",
        ),
    }  # fmt: skip


def with_length(header):
    return struct.pack("<Q", len(header)) + header + bytes(64)


def safetensors_files():
    wide = ",".join(f'"{index:x}":0' for index in range(700_000))
    entry = '"%s":{"dtype":"U8","shape":[8],"data_offsets":[%s]}'
    return {
        "length of the header": (struct.pack("<Q", 2**64 - 1) + bytes(99), "cut off inside its header"),
        "length over the limit": (struct.pack("<Q", 9 << 20) + bytes(10 << 20), "more than any model needs"),
        "nested lists": (with_length(b"[" * 4_000_000), "not as the format wants it"),
        "nested tables": (with_length(b'{"a":' * 1_000_000), "more entries than any model|not as the format"),
        "nested where nothing is read": (
            with_length(b'{"__metadata__":' + b"[" * 2_000_000 + b"}"), "not as the format wants it"
        ),
        "many entries": (with_length(f"{{{wide}}}".encode()), "more entries than any model"),
        "many entries with spaces": (with_length(f"{{{wide.replace(':', ' :')}}}".encode()), "more entries than any"),
        "negative offsets": (with_length(f"{{{entry % ('a', '-8,0')}}}".encode()), "data_offsets"),
        "offsets of a float": (with_length(f"{{{entry % ('a', '0,1e300')}}}".encode()), "data_offsets"),
        "offsets of thousands of digits": (with_length(f"{{{entry % ('a', '0,' + '9' * 9000)}}}".encode()), "format"),
        "offsets beyond the file": (with_length(f"{{{entry % ('a', '64,72')}}}".encode()), "ends at byte 72 of 64"),
        "offsets turned round": (with_length(f"{{{entry % ('a', '8,0')}}}".encode()), "does not fit its shape"),
        "tensors that share bytes": (
            with_length(f"{{{entry % ('a', '0,8')},{entry % ('b', '4,12')}}}".encode()), "'a' and 'b' overlap"
        ),
    }  # fmt: skip


def config_files():
    base = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}

    def changed(**fields):
        return json.dumps(base | fields).encode()

    return {
        "nested": (b"[" * 2_000_000, "no JSON"),
        "nested inside": (b'{"model_type":' * 140_000, "no JSON"),
        "too large": (b" " * (3 << 20), "larger than any model needs"),
        "many lists": (b"[" + b"[]," * 690_000 + b"[]]", "no JSON object"),
        "not a number": (changed().replace(b"64", b"NaN"), "no JSON"),
        "infinite": (changed().replace(b"64", b"1e999"), "hidden_size|no JSON"),
        "digits": (changed().replace(b"64", b"9" * 1_000_000), "hidden_size|no JSON"),
        "negative": (changed(hidden_size=-64), "'hidden_size' is -64"),
        "a float": (changed(num_hidden_layers=2.5), "'num_hidden_layers' is 2.5"),
        "layers": (changed(num_hidden_layers=2**62), "'num_hidden_layers' is 4611686018427387904"),
        "a yes": (changed(hidden_size=True), "'hidden_size' is True"),
        "kinds of layers": (changed(layer_types=["full_attention"] * 100_000), "'layer_types' is not a list of 2"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "name"),
    [(gguf_files, "model.gguf"), (safetensors_files, "model.safetensors"), (config_files, "config.json")],
    ids=["gguf", "safetensors", "config.json"],
)
def test_every_hostile_file_is_refused(tmp_path, files, name):
    made = files()
    for folder, (content, _) in made.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(MEMORY), str(SECONDS)],
        capture_output=True, text=True, check=False, timeout=150, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    answers = json.loads(child.stdout)
    assert set(answers) == set(made)
    for folder, (_, words) in made.items():
        assert re.search(words, answers[folder]), (folder, answers[folder])
        assert answers[folder].isprintable()
        assert len(answers[folder]) < 700
