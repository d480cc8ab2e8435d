"""``ansambl lora`` as its users call it."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from product import run_command, wait_for

from ansambl.model_catalog.lora.base_model import read_base
from ansambl.model_catalog.lora.gguf_adapter import read_gguf
from ansambl.testing import tiny_checkpoint as tiny
from ansambl.testing.fake_hub import FakeHub

pytestmark = pytest.mark.engine


def write_adapter(folder: Path, model: Path, *, strength: float = 0.5, hidden: int | None = None) -> Path:
    """A PEFT adapter for the first layer of a GGUF model; `hidden` makes it one for a model of another width."""
    folder.mkdir()
    shape = read_base(model, "gguf").weights["blk.0.attn_q"]
    inputs, outputs = hidden or shape.inputs, shape.outputs
    random = np.random.default_rng(5)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    tiny.write_safetensors(folder / "adapter_model.safetensors", {
        f"{prefix}.lora_A.weight": (random.standard_normal((4, inputs)) * strength).astype(np.float32),
        f"{prefix}.lora_B.weight": (random.standard_normal((outputs, 4)) * strength).astype(np.float32),
    })  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
    }))  # fmt: skip
    return folder


@pytest.fixture
def model(data_folder: Path) -> Path:
    return next(data_folder.glob("models/*.gguf"))


def test_an_adapter_is_added_listed_and_removed_while_nothing_runs(tmp_path, data_folder, model):
    folder = write_adapter(tmp_path / "adapter", model)
    added = run_command("lora", "add", "poet", str(folder), "--model", "embedded", "--json", data=data_folder)
    assert added.returncode == 0, added.stderr
    document = json.loads(added.stdout)
    assert (document["name"], document["model"], document["rank"]) == ("poet", "embedded", 4)
    assert (document["converted"], document["activated"], document["effect"]) == (True, False, "start")
    assert document["targets"] == ["q_proj"]
    assert read_gguf(Path(document["files"]["gguf"])).targets == ("attn_q",)
    listed = run_command("lora", "list", "--json", data=data_folder)
    (one,) = json.loads(listed.stdout)["loras"]
    assert (one["name"], one["problem"]) == ("poet", None)
    shown = run_command("lora", "list", data=data_folder).stdout
    assert "poet" in shown
    assert "embedded" in shown
    assert "gguf, peft" in shown
    again = run_command("lora", "add", "Poet", str(folder), data=data_folder)
    assert again.returncode == 2
    assert "taken by a LoRA adapter" in again.stderr
    asked = run_command("lora", "remove", "poet", data=data_folder)
    assert asked.returncode == 1
    assert "add --yes" in asked.stderr
    removed = run_command("lora", "remove", "poet", "--yes", data=data_folder)
    assert removed.returncode == 0, removed.stderr
    assert not list(data_folder.glob("loras/[!.]*"))
    assert "There is no LoRA adapter" in run_command("lora", "list", data=data_folder).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("poet", "wide"), 2, "made for another model: blk.0.attn_q has 64 inputs there, 576 here; use it with"),
        (("coder", "good"), 2, "'coder' is taken by a role; free is for example 'coder-lora'"),
        (("council", "good"), 2, "'council' is taken by an ensemble"),
        (("embedded", "good"), 2, "'embedded' is taken by a model"),
        (("poet", "good", "--model", "embeded"), 2, "nearest: embedded"),
        (("poet", "./nothing"), 2, "nothing does not exist"),
        (("poet", "owner/name", "--offline"), 1, "offline"),
    ],
)
def test_what_cannot_be_added_is_told_in_one_line(tmp_path, data_folder, model, arguments, code, words):
    write_adapter(tmp_path / "good", model)
    write_adapter(tmp_path / "wide", model, hidden=64)
    given = [str(tmp_path / one) if one in {"good", "wide"} else one for one in arguments]
    ended = run_command("lora", "add", *given, data=data_folder)
    assert ended.returncode == code, ended.stderr
    assert words in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not list(data_folder.glob("loras/[!.]*"))


def test_an_adapter_is_fetched_from_the_hub(tmp_path, data_folder, model, hub: FakeHub):
    folder = write_adapter(tmp_path / "adapter", model)
    hub.add("owner/poet", {file.name: file.read_bytes() for file in folder.iterdir()})
    refused = run_command("lora", "add", "poet", "owner/poet", data=data_folder)
    assert refused.returncode == 1
    assert "owner/poet" in refused.stderr
    ended = run_command("lora", "add", "poet", "owner/poet", "--yes", data=data_folder)
    assert ended.returncode == 0, ended.stderr
    assert "Added the LoRA adapter poet to 'embedded': rank 4" in ended.stdout
    kept = data_folder / "loras"
    assert sorted(one.name for one in kept.glob("poet/*")) == ["adapter.gguf", "ansambl-lora.json", "peft"]
    assert not list(kept.rglob("owner/*/*"))


def test_a_running_ansambl_follows(tmp_path, start, model):
    product = start()
    question = "Say one sentence about the sea."

    def ask(name: str) -> httpx.Response:
        return product.chat(name, question, temperature=0, max_tokens=12)

    def answer(name: str) -> str:
        found = ask(name)
        assert found.status_code == 200, found.text
        return str(found.json()["choices"][0]["message"]["content"])

    plain = answer("embedded")
    folder = write_adapter(tmp_path / "adapter", model, strength=3.0)
    added = product.command("lora", "add", "poet", str(folder), "--json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["effect"] == "restart"
    # Until its engine has started again, an answer says so.
    wait_for(lambda: ask("poet").status_code == 200, "the adapter answers", 60)
    other = answer("poet")
    assert other != plain
    assert answer("embedded") == plain
    assert answer("poet") == other
    removed = product.command("lora", "remove", "poet", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert product.chat("poet", question).status_code == 404
    assert answer("embedded") == plain
