"""``ansambl models find``: what the hub has, and which of it the machine can run."""

import json
import socket
from urllib.parse import parse_qs, urlsplit

import pytest
from model_files import write_gguf, write_safetensors

from ansambl.app.model_search import find_models
from ansambl.cli import main as program
from ansambl.domain.errors import UnavailableError, UsageError
from ansambl.foundation.locales import speak
from ansambl.testing.fake_hub import Habits

FIELDS = {
    "general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2, "llama.embedding_length": 64,
    "llama.attention.head_count": 4, "llama.attention.head_count_kv": 4, "llama.feed_forward_length": 128,
    "llama.context_length": 4096, "llama.vocab_size": 32,
}  # fmt: skip
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64,
    "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 64, "max_position_embeddings": 2048,
}  # fmt: skip


def gguf(tmp_path, rows=8192):
    write_gguf(tmp_path / "made.gguf", FIELDS, {"token_embd.weight": ("F16", (64, rows))})
    return (tmp_path / "made.gguf").read_bytes()


@pytest.fixture
def filled(hub, tmp_path):
    hub.add("own/Small-Chat-GGUF", {"s-Q4_K_M.gguf": gguf(tmp_path), "s-Q8_0.gguf": gguf(tmp_path, 16384)},
            licence="mit", downloads=5000)  # fmt: skip
    write_safetensors(tmp_path / "made", {"model.embed_tokens.weight": ("BF16", (64, 64), 8192)})
    hub.add("own/small-chat", {"config.json": json.dumps(CONFIG).encode(),
                               "model.safetensors": (tmp_path / "made").read_bytes()}, downloads=9000)  # fmt: skip
    hub.add("own/small-chat-broken-GGUF", {"x-Q4_K_M.gguf": b"GGUF" + b"\xff" * 9000}, downloads=20)
    hub.add("own/small-chat-adapter", {"README.md": b"x"}, downloads=10)
    hub.add("own/something-else-GGUF", {"e-Q4_K_M.gguf": gguf(tmp_path)})
    return hub


def test_a_search_names_repositories_with_sizes_by_downloads(filled):
    found = find_models("  Small   chat ", limit=10, machine=None, fits=False, offline=False)
    assert [one.repo for one in found] == ["own/small-chat", "own/Small-Chat-GGUF", "own/small-chat-broken-GGUF"]
    assert [name for name, _ in found[1].sizes] == ["Q4_K_M", "Q8_0"]
    assert found[1].sizes[0][1] == len(filled.repositories["own/Small-Chat-GGUF"].files["s-Q4_K_M.gguf"])
    assert (found[1].licence, found[0].format) == ("mit", "safetensors")
    asked = parse_qs(urlsplit(filled.served[0].path).query)
    assert asked == {"search": ["Small chat"], "sort": ["downloads"], "direction": ["-1"], "limit": ["30"]}
    assert not [one for one in filled.served if "/resolve/" in one.path]


def test_what_the_machine_can_run_is_judged_and_the_rest_says_why(filled):
    found = find_models("small chat", limit=10, machine="rtx-4090-64g", fits=True, offline=False)
    by_repo = {one.repo: one for one in found}
    best = by_repo["own/Small-Chat-GGUF"]
    quantization = best.placement.candidate.quantization
    assert (best.fits, best.reference) == (True, f"own/Small-Chat-GGUF:{quantization}")
    assert best.placement.candidate.size == dict(best.sizes)[quantization]
    assert best.placement.context == 4096
    assert by_repo["own/small-chat"].placement.candidate.quantization == "BF16"
    broken = by_repo["own/small-chat-broken-GGUF"]
    assert (broken.fits, broken.placement) == (None, None)
    assert "cannot be used" in broken.reason.render()
    assert found[-1] is broken
    # Headers only: no weights of the large files were fetched whole.
    assert all(one.range for one in filled.served if one.status == 206)


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(speak, "language", "en")

    def run(*arguments):
        code = program.main(["models", "find", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_command(filled, command):
    code, out, _ = command("small", "chat", "--machine", "rtx-4090-64g")
    assert code == 0
    assert "ansambl models pull own/" in out
    assert "own/small-chat-broken-GGUF" in out
    code, out, _ = command("small", "chat", "--fits", "--machine", "rtx-4090-64g", "--json")
    answer = json.loads(out)
    assert (code, [one["fits"] for one in answer["found"]]) == (0, [True, True, None])
    judged = answer["found"][0]
    assert judged["speed"]["low"] <= judged["speed"]["expected"] <= judged["speed"]["high"]
    code, out, err = command("nothing", "like", "this")
    assert (code, out, "try fewer words" in err) == (0, "", True)


def test_a_hub_that_answers_nonsense_is_one_line(filled, command):
    filled.habits = Habits(status=503)
    code, _, err = command("...")
    assert (code, "nothing to search for" in err) == (2, True)
    with pytest.raises(UsageError):
        find_models("a\x1bb", limit=3, machine=None, fits=False, offline=False)


def test_offline_nothing_is_searched(filled, command, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was made"))
    code, out, err = command("small", "--offline")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    with pytest.raises(UnavailableError):
        find_models("small", limit=3, machine=None, fits=True, offline=True)
    assert filled.served == []
