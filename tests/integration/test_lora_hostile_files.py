"""LoRA adapters made to harm: each is refused in one line by a process that may use little memory and time."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

from model_files import write_gguf, write_safetensors

MEMORY, SECONDS = 600 << 20, 60
CHILD = """
import json, resource, sys
from pathlib import Path
from ansambl.domain.errors import AnsamblError
from ansambl.model_catalog.lora.base_model import read_base
from ansambl.model_catalog.lora.convert import convert_to_gguf
from ansambl.model_catalog.lora.reading import read_adapter
memory, seconds = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
root = Path(sys.argv[1])
base = read_base(root / "base.gguf", "gguf")
answers = {}
for folder in sorted(one for one in root.iterdir() if one.is_dir()):
    try:
        found = read_adapter(folder)
        convert_to_gguf(found, base, root / "out.gguf")
        answers[folder.name] = "taken"
    except AnsamblError as refusal:
        answers[folder.name] = str(refusal)
print(json.dumps(answers))
"""
PREFIX = "base_model.model.model.layers.0.self_attn"
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
FIELDS = {
    "general.architecture": "llama", "llama.block_count": 1, "llama.embedding_length": 16, "llama.context_length": 64,
    "llama.attention.head_count": 4, "llama.feed_forward_length": 32,
}  # fmt: skip


def peft(folder: Path, tensors: dict, config: bytes | None = None) -> None:
    folder.mkdir()
    write_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_bytes(json.dumps(CONFIG).encode() if config is None else config)


def pair(name: str = "q_proj", inputs: int = 16, outputs: int = 16, rank: int = 4) -> dict:
    return {
        f"{PREFIX}.{name}.lora_A.weight": ("F32", (rank, inputs), 4 * rank * inputs),
        f"{PREFIX}.{name}.lora_B.weight": ("F32", (outputs, rank), 4 * rank * outputs),
    }


def make_all(root: Path) -> dict[str, str]:
    """Folders by name, with words of their refusals."""
    write_gguf(
        root / "base.gguf", FIELDS, {"blk.0.attn_q.weight": ("F32", (16, 16)), "token_embd.weight": ("F32", (16, 9))}
    )
    peft(root / "sound", pair())
    peft(root / "nested", pair(), b'{"rank_pattern":' * 60_000)
    peft(root / "a pattern that never ends", pair(), json.dumps({**CONFIG, "alpha_pattern": {"((a+)+)+$": 1}}).encode())
    peft(
        root / "many patterns",
        pair(),
        json.dumps({**CONFIG, "rank_pattern": {f"{n:x}": 1 for n in range(20_000)}}).encode(),
    )
    halves = (("lora_A.weight", (1, 0)), ("lora_B.weight", (0, 1)))
    peft(root / "many matrices", {
        f"{number:x}.{half}": ("F32", shape, 0) for number in range(40_000) for half, shape in halves
    })  # fmt: skip
    peft(root / "wide", {})
    header = json.dumps({
        f"{PREFIX}.q_proj.lora_A.weight": {"dtype": "F32", "shape": [4, 1 << 46], "data_offsets": [0, 64]},
        f"{PREFIX}.q_proj.lora_B.weight": {"dtype": "F32", "shape": [1 << 46, 4], "data_offsets": [64, 128]},
    }).encode()  # fmt: skip
    (root / "wide" / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(128))
    peft(root / "an escape code", pair("q_proj\x1b[2J"))
    peft(root / "a deep layer", {name.replace("layers.0", "layers.9999"): one for name, one in pair().items()})
    peft(root / "a huge rank", pair(rank=20_000), json.dumps({**CONFIG, "r": 16_384}).encode())
    (root / "gguf").mkdir()
    write_gguf(root / "gguf" / "one.gguf", {"general.type": "adapter", "adapter.type": "lora"}, {
        f"blk.0.{number:x}.weight.{part}": ("F32", (0, 0)) for number in range(5_000) for part in ("lora_a", "lora_b")
    })  # fmt: skip
    return {
        "sound": "taken", "nested": "not as PEFT writes it", "a pattern that never ends": "regular expression",
        "many patterns": "not as PEFT writes it", "many matrices": "not two tables", "wide": "does not fit its shape",
        "an escape code": "cannot convert", "a deep layer": "changes layer 10000", "a huge rank": "rank is 20000",
        "gguf": "not two tables",
    }  # fmt: skip


def test_every_hostile_adapter_is_refused(tmp_path):
    expected = make_all(tmp_path)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(MEMORY), str(SECONDS)],
        capture_output=True, text=True, check=False, timeout=150, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    answers = json.loads(child.stdout)
    assert set(answers) == set(expected)
    for name, words in expected.items():
        assert words in answers[name], (name, answers[name])
        assert answers[name].isprintable()
        assert len(answers[name]) < 700
