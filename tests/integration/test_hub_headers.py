"""Headers on a hub: only they are fetched, and a hub that misbehaves gets no more than it should."""

import contextlib
import itertools
import json
import os
import socket
import struct
import threading

import pytest
from model_files import write_gguf, write_safetensors

from ansambl.cli import main as program
from ansambl.domain.errors import AnsamblError, CheckpointError, UnavailableError, UsageError
from ansambl.model_catalog.remote import inspect_remote
from ansambl.model_catalog.web import Web
from ansambl.testing.fake_hub import Habits

FIELDS = {
    "general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2, "llama.embedding_length": 64,
    "llama.attention.head_count": 4, "llama.context_length": 4096,
}  # fmt: skip


@pytest.fixture
def gguf(tmp_path):
    """Makes the content of a file: its header is as long as it has words, its weights have 8 MB."""

    def make(words=0, **fields):
        path = tmp_path / "made.gguf"
        tokens = {"tokenizer.ggml.tokens": ["word" * 5] * words} if words else {}
        write_gguf(path, FIELDS | fields | tokens, {"token_embd.weight": ("F16", (64, 65_536))})
        return path.read_bytes()

    return make


def safetensors(tmp_path, tensors):
    path = tmp_path / "made.safetensors"
    write_safetensors(path, tensors)
    return path.read_bytes()


@pytest.mark.parametrize(("words", "most"), [(0, 600_000), (60_000, 2_200_000)])
def test_a_gguf_header_without_its_weights(hub, gguf, words, most):
    content = gguf(words)
    hub.add("own/tiny-GGUF", {"tiny-Q4_K_M.gguf": content, "README.md": b"x"}, licence="mit")
    found = inspect_remote("own/tiny-GGUF")
    assert (found.size, found.tensor_bytes, found.licence) == (len(content), 64 * 65_536 * 2, "mit")
    assert (found.architecture.layer_count, found.context, found.quantization) == (2, 4096, "Q4_K_M")
    assert hub.sent() < most < len(content)
    assert {one.method for one in hub.served} == {"GET"}


def test_all_parts_of_a_divided_checkpoint(hub, gguf):
    parts = {f"Q8_0/m-Q8_0-0000{one}-of-00003.gguf": gguf(**{"split.count": 3}) for one in (1, 2, 3)}
    hub.add("own/big-GGUF", parts | {"m-Q4_0.gguf": gguf()})
    found = inspect_remote("own/big-GGUF:Q8_0")
    assert (found.files, found.size) == (3, sum(map(len, parts.values())))
    assert found.tensor_bytes == 3 * 64 * 65_536 * 2
    assert inspect_remote("own/big-GGUF/m-Q4_0.gguf").files == 1


def test_a_safetensors_repository_with_its_index(hub, tmp_path):
    shapes = {"model.embed_tokens.weight": ("BF16", (100, 64), 12_800)}
    layer = {f"model.layers.0.mlp.{name}.weight": ("BF16", (64, 128), 16_384) for name in ("up_proj", "down_proj")}
    config = json.dumps({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4})
    names = {**dict.fromkeys(shapes, "model-00001-of-00002.safetensors"),
             **dict.fromkeys(layer, "model-00002-of-00002.safetensors")}  # fmt: skip
    index = json.dumps({"metadata": {"total_size": 45_568}, "weight_map": names})
    hub.add(
        "own/plain",
        {
            "config.json": config.encode(), "model.safetensors.index.json": index.encode(),
            "generation_config.json": b'{"temperature": 0.6, "top_p": 0.95, "top_k": -3}',
            "model-00001-of-00002.safetensors": safetensors(tmp_path, shapes),
            "model-00002-of-00002.safetensors": safetensors(tmp_path, layer),
            "consolidated.safetensors": b"x" * 50_000,
        },
    )  # fmt: skip
    found = inspect_remote("own/plain")
    assert (found.format, found.files, found.tensors, found.tensor_bytes) == ("safetensors", 2, 3, 45_568)
    assert found.weights.embedding == 12_800
    assert found.weights.layers[0].dense == 32_768
    assert [note.render() for note in found.notes] == ["its makers recommend for sampling: temperature 0.6, top_p 0.95"]
    hub.repositories["own/plain"].files.pop("model-00002-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=r"its part model-00002-of-00002\.safetensors is missing"):
        inspect_remote("own/plain")


def test_a_safetensors_header_longer_than_the_first_piece(hub, tmp_path):
    many = {f"model.layers.{index}.x": ("U8", (4,), 4) for index in range(4000)}
    hub.add("own/long", {"model.safetensors": safetensors(tmp_path, many)})
    assert inspect_remote("own/long").tensors == 4000


def test_an_address(hub, gguf):
    hub.add("own/tiny", {"tiny.gguf": gguf()})
    found = inspect_remote(f"{hub.endpoint}/own/tiny/resolve/main/tiny.gguf?download=true")
    assert found.architecture.hidden == 64
    with pytest.raises(UsageError, match=r"neither of a \.gguf nor of a \.safetensors"):
        inspect_remote(f"{hub.endpoint}/own/tiny/resolve/main/README.md")


def test_the_token_goes_to_the_hub_alone(hub, gguf, monkeypatch):
    hub.add("own/gated", {"tiny.gguf": gguf()}, gated=True)
    with pytest.raises(CheckpointError, match="accept it on the model's page, then set HF_TOKEN"):
        inspect_remote("own/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong")
    with pytest.raises(CheckpointError, match="accept it on the model's page, then set HF_TOKEN"):
        inspect_remote("own/gated")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    hub.served.clear()
    assert inspect_remote("own/gated").tensors == 1
    sent = {one.authorization for one in hub.served if "/resolve/" in one.path or "/api/" in one.path}
    assert sent == {f"Bearer {hub.token}"}
    elsewhere = [one.authorization for one in hub.served if "/resolve/" not in one.path and "/api/" not in one.path]
    assert elsewhere == [None]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("own/xyzzy", "has no own/xyzzy, or it is private; check the name"),
        ("openai/gpt-oss-12b", "hub has no openai/gpt-oss-12b, .* nearest names .*: openai/gpt-oss-120b"),
        ("openai/gpt-oss-120b", "has no openai/gpt-oss-120b, or it is private; check the name"),
        ("own/tiny:Q2_K", "holds no Q2_K; it has: Q4_K_M"),
        ("own/tiny/other.gguf", "holds no other.gguf"),
        ("own/words", "holds no model"),
    ],
)
def test_what_is_not_there(hub, gguf, reference, words):
    hub.add("own/tiny", {"tiny-Q4_K_M.gguf": gguf()})
    hub.add("own/words", {"README.md": b"x"})
    with pytest.raises(CheckpointError, match=words):
        inspect_remote(reference)


def test_a_file_that_is_gone_is_named_as_people_write_it(hub, gguf):
    hub.add("own/tiny", {"tiny-Q4_K_M.gguf": gguf()})
    hub.habits = Habits(status=404)
    with pytest.raises(CheckpointError) as refusal:
        inspect_remote("own/tiny")
    assert "resolve/" not in str(refusal.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "has no"),
        (403, "accepted its licence"),
        (429, "too many requests"),
        (500, "status 500"),
        (302, "redirect"),
    ],
)
def test_each_status_is_one_sentence(hub, gguf, status, words):
    hub.add("own/tiny", {"tiny-Q4_K_M.gguf": gguf()})
    hub.habits = Habits(status=status)
    with pytest.raises(AnsamblError, match=words) as refusal:
        inspect_remote("own/tiny")
    assert len(str(refusal.value).splitlines()) == 1


def test_a_hub_that_ignores_ranges_sends_little_more(hub, gguf):
    hub.add("own/tiny", {"tiny.gguf": gguf(60_000)})
    hub.habits = Habits(ignore_ranges=True)
    assert inspect_remote("own/tiny").architecture.vocabulary == 65_536


@pytest.mark.parametrize(
    ("habits", "words"),
    [
        (Habits(claimed_total=1000), "goes on beyond the end of the file"),
        (Habits(claimed_total=3_000_000), "truncated: it has 3000000 bytes"),
        (Habits(shifted=64), "other bytes than those that were asked for"),
        (Habits(cut_after=70_000), "cannot be reached"),
        (Habits(redirect_to="file:///etc/hostname"), "redirects to file:///etc/hostname, which is not followed"),
        (Habits(redirect_to="ftp://127.0.0.1/x"), "which is not followed"),
        (Habits(redirect_to=""), "again and again"),
    ],
)
def test_a_hostile_hub_is_refused_in_words(hub, gguf, habits, words):
    hub.add("own/tiny", {"tiny.gguf": gguf(60_000)})
    hub.habits = habits
    with pytest.raises(AnsamblError, match=words) as refusal:
        inspect_remote("own/tiny")
    assert len(str(refusal.value).splitlines()) == 1


def test_a_hub_that_sends_without_end_is_cut_off(hub, gguf):
    hub.add("own/tiny", {"tiny.gguf": gguf(60_000)})
    hub.habits = Habits(endless=True)
    assert inspect_remote("own/tiny").architecture.hidden == 64
    assert hub.sent() < 40_000_000


def test_a_header_without_end_stops_at_the_limit(hub, monkeypatch):
    monkeypatch.setattr("ansambl.model_catalog.gguf.MAX_HEADER", 2 << 20)
    text = struct.pack("<Q", 1 << 40)
    hub.add("own/tiny", {"tiny.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text + b"\0" * 6_000_000})
    with pytest.raises(CheckpointError, match="its header is longer than"):
        inspect_remote("own/tiny")
    assert hub.sent() < 3_000_000


def test_an_answer_of_the_hub_that_is_too_long_or_no_json(hub):
    hub.add("own/tiny", {"tiny.gguf": b"x"})
    with Web() as web, pytest.raises(CheckpointError, match="sends more than 10 bytes"):
        web.whole(f"{hub.endpoint}/api/models/own/tiny", 10)
    hub.repositories["own/tiny"].licence = "\x1b[2J" * 100
    with pytest.raises(CheckpointError) as refusal:
        inspect_remote("own/tiny")
    assert str(refusal.value).isprintable()


def test_a_slow_server_is_given_up(hub, gguf):
    hub.add("own/tiny", {"tiny.gguf": gguf(60_000)})
    ticks = itertools.count(step=40)
    with Web(seconds=100, now=lambda: next(ticks)) as web, pytest.raises(UnavailableError, match="too slowly"):
        web.piece(f"{hub.endpoint}/own/tiny/resolve/main/tiny.gguf", 0, 1 << 20)


def test_a_head_that_comes_letter_by_letter_is_given_up():
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle():
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not stop.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with Web(seconds=0.4) as web, pytest.raises(UnavailableError, match="too slowly"):
                web.whole(f"http://127.0.0.1:{listening.getsockname()[1]}/", 100)
        finally:
            stop.set()
            thread.join()


def test_nothing_listens_and_no_such_host(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        inspect_remote("own/tiny")
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    with pytest.raises(UnavailableError, match=r"no-such-host\.invalid cannot be reached"):
        inspect_remote("own/tiny")


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_sends_nothing(hub, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(UnavailableError, match="nothing is requested from the network"):
        inspect_remote("own/tiny")
    monkeypatch.delenv(variable)
    with pytest.raises(UnavailableError, match="nothing is requested from the network"):
        inspect_remote("own/tiny", offline=True)
    assert hub.served == []


def test_the_fake_is_a_hub_for_the_hubs_own_client(hub, gguf, monkeypatch, tmp_path):
    """What our reader is tried against is what the official client takes for a hub."""
    from huggingface_hub import HfApi, constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    content = gguf()
    hub.add("own/tiny", {"tiny.gguf": content, "config.json": b"{}"}, gated=True)
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    info = api.model_info("own/tiny", files_metadata=True)
    assert {one.rfilename: one.size for one in info.siblings} == {"tiny.gguf": len(content), "config.json": 2}
    assert [one.path for one in api.list_repo_tree("own/tiny")] == ["tiny.gguf", "config.json"]
    for name, expected in (("tiny.gguf", content), ("config.json", b"{}")):
        path = hf_hub_download(
            "own/tiny", name, cache_dir=tmp_path / "cache", endpoint=hub.endpoint, token=hub.token
        )  # fmt: skip
        with open(os.path.realpath(path), "rb") as file:  # noqa: PTH123
            assert file.read() == expected


def test_fit_reads_the_headers_of_a_checkpoint_on_a_hub_and_nothing_else(hub, gguf, capsys):
    content = gguf()
    hub.add("own/tiny-GGUF", {"tiny-Q8_0.gguf": content})
    code = program.main(["fit", "own/tiny-GGUF", "--quantization", "Q8_0", "--machine", "rtx-4090-64g", "--remote",
                         "--context", "512", "--json"])  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert (code, found["fits"], found["model"]) == (0, True, "own/tiny-GGUF")
    assert found["checkpoint"]["bytes"] == len(content)
    assert hub.sent() < len(content)


def test_fit_of_a_checkpoint_on_a_hub_says_how_to_fetch_it(hub, gguf, capsys):
    hub.add("own/tiny-GGUF", {"tiny-Q8_0.gguf": gguf(padding=1 << 20), "tiny-F16.gguf": gguf()})
    arguments = ["fit", "own/tiny-GGUF", "--quantization", "Q8_0", "--machine", "rtx-4090-64g", "--remote"]
    assert program.main([*arguments, "--context", "512"]) == 0
    out = capsys.readouterr().out
    assert "ansambl models pull own/tiny-GGUF:Q8_0" in out
    # The catalog does not know it, so no command could be made of its name.
    assert "ansambl command" not in out


def test_without_remote_fit_asks_nobody(hub, gguf, capsys):
    hub.add("own/tiny-GGUF", {"tiny-Q8_0.gguf": gguf()})
    assert program.main(["fit", "own/tiny-GGUF", "--machine", "rtx-4090-64g"]) == 2
    assert "with --remote" in capsys.readouterr().err
    assert hub.served == []
