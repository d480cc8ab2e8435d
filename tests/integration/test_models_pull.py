"""``ansambl models pull``: several at once, only what an engine needs, licences accepted, disks that become full."""

import errno
import io
import json
import os
import socket
import threading

import pytest
from called_commands import models_command
from model_files import write_gguf, write_safetensors

from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.model_catalog import fetching
from ansambl.model_catalog.acceptance import FILE, accept, is_accepted, wanted_licence
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.download import Suiting, announce, fetch
from ansambl.model_catalog.library import INCOMING, find_installed, installed
from ansambl.model_catalog.several import fetch_all
from ansambl.testing.fake_hub import Habits

FIELDS = {"general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2}


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "data" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def command(monkeypatch, models, tmp_path, capsys):
    return models_command(monkeypatch, models.parent, tmp_path, capsys)


def gguf(tmp_path, rows=8192, **fields):
    path = tmp_path / "made.gguf"
    write_gguf(path, FIELDS | fields, {"token_embd.weight": ("F16", (64, rows))})
    return path.read_bytes()


def weights(tmp_path, name, size=8192):
    write_safetensors(tmp_path / "made", {name: ("F16", (size // 128, 64), size)})
    return (tmp_path / "made").read_bytes()


def folder_of(tmp_path, parts=3):
    names = [f"model-0000{one}-of-0000{parts}.safetensors" for one in range(1, parts + 1)]
    files = {name: weights(tmp_path, f"model.layers.{index}.x", 256 << 10) for index, name in enumerate(names)}
    index = {"weight_map": {f"model.layers.{index}.x": name for index, name in enumerate(names)}}
    return files | {
        "model.safetensors.index.json": json.dumps(index).encode(), "tokenizer.json": b"{}",
        "config.json": json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}).encode(),
    }  # fmt: skip


def quiet(*_):
    """Nobody watches."""


def test_the_files_of_one_checkpoint_come_at_once_and_resume_over_all(hub, models, tmp_path):
    files = folder_of(tmp_path, 4)
    hub.add("own/plain", files)
    announced = announce("own/plain", models)
    busy, both = set(), threading.Event()

    def gate():
        busy.add(threading.get_ident())
        if len(busy) > 1:
            both.set()
        assert both.wait(20), "the second file waits for the first"

    hub.habits = Habits(gate=gate, cut_after=100_000)
    seen, told = [], {}
    together = fetching.Together(files=lambda path, done, size: told.update({path: (done, size)}))
    path = fetch(announced, lambda done, _: seen.append(done), pause=quiet, together=together)
    assert {one.name: one.read_bytes() for one in path.iterdir() if one.name in files} == files
    assert (seen[-1], seen) == (announced.size, sorted(seen))
    assert told == {name: (len(content), len(content)) for name, content in files.items()}
    begun = [one.range for one in hub.served if one.status == 206 and not one.range.startswith("bytes=0-")]
    assert len(begun) == 4 * 2, "each of the large files goes on where it was cut off"
    assert open_checkpoint("own/plain", models).architecture == "LlamaForCausalLM"


def test_several_checkpoints_and_one_that_fails(hub, models, tmp_path):
    contents = {name: gguf(tmp_path, **{"general.name": name}) for name in ("a", "b", "c")}
    for name, content in contents.items():
        hub.add(f"own/{name}", {f"{name}-Q4_K_M.gguf": content})
    announced = [announce(f"own/{name}", models) for name in contents]
    hub.repositories["own/b"].files["b-Q4_K_M.gguf"] = b"GGUF" + bytes(10)
    seen = []
    ended = fetch_all(announced, lambda done, total: seen.append((done, total)))
    assert [one.announcement.reference for one in ended] == ["own/a:Q4_K_M", "own/b:Q4_K_M", "own/c:Q4_K_M"]
    assert [one.failure is None for one in ended] == [True, False, True]
    assert [one.path.read_bytes() for one in ended if one.path] == [contents["a"], contents["c"]]
    assert seen[-1][1] == sum(map(len, contents.values()))
    assert find_installed("own/b", models) is None


def test_the_command_fetches_several_and_tells_of_each(hub, command, models, tmp_path):
    for name in ("a", "b"):
        hub.add(f"own/{name}", {f"{name}-Q4_K_M.gguf": gguf(tmp_path, **{"general.name": name})})
    code, out, _ = command("pull", "own/a", "own/b", "own/a", "--yes")
    assert (code, out.count("Fetched: ")) == (0, 2)
    code, out, _ = command("pull", "own/a", "own/b", "--yes")
    assert (code, out.count("is here already")) == (0, 2)


class FullDisk:
    """A file on a disk that takes so many bytes and no more."""

    def __init__(self, file, room):
        self._file, self._room = file, room

    def write(self, content):
        if self._room[0] < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room[0] -= len(content)
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


@pytest.mark.parametrize("many", [False, True])
def test_a_disk_that_becomes_full_leaves_nothing_that_is_used(hub, models, tmp_path, monkeypatch, many):
    files = folder_of(tmp_path) if many else {"x-Q4_K_M.gguf": gguf(tmp_path)}
    hub.add("own/big", files)
    announced = announce("own/big", models)
    room, real = [300_000], type(models).open

    def opened(path, mode="r", *more, **named):
        file = real(path, mode, *more, **named)
        return FullDisk(file, room) if mode == "ab" else file

    with monkeypatch.context() as patch:
        patch.setattr(type(models), "open", opened)
        with pytest.raises(CheckpointError, match=r"became full while own/big.*the same command goes on") as failed:
            fetch(announced, quiet, pause=quiet)
    assert "\n" not in failed.value.message.render()
    assert installed(models) == ()
    with pytest.raises(CheckpointError, match="is not on this machine"):
        open_checkpoint("own/big", models)
    again = announce("own/big", models)
    assert 0 < again.here <= 300_000
    path = fetch(again, quiet, pause=quiet)
    folder = path if many else path.parent
    assert {name: (folder / name).read_bytes() for name in files} == files


GPT_OSS = [f"model-{one:05d}-of-00014.safetensors" for one in range(15)]


def test_of_a_repository_with_its_weights_three_times_one_copy_is_fetched(hub, models, tmp_path):
    index = {"weight_map": {f"model.layers.{one}.x": name for one, name in enumerate(GPT_OSS)}}
    needed = {
        **{name: weights(tmp_path, f"model.layers.{one}.x") for one, name in enumerate(GPT_OSS)},
        "model.safetensors.index.json": json.dumps(index).encode(), "tokenizer.json": b"{}",
        "config.json": json.dumps({"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss",
                                   "quantization_config": {"quant_method": "mxfp4"}}).encode(),
        "chat_template.jinja": b"x", "tokenizer_config.json": b"{}", "special_tokens_map.json": b"{}",
        "generation_config.json": b"{}", "LICENSE": b"x",
    }  # fmt: skip
    original = {f"original/model--{one:05d}-of-00007.safetensors": b"x" * 9000 for one in range(1, 8)}
    hub.add("openai/gpt-oss-120b", needed | original | {
        "original/config.json": b"{}", "original/dtypes.json": b"{}", "original/model.safetensors.index.json": b"{}",
        "metal/model.bin": b"x" * 50_000, "README.md": b"x", "USAGE_POLICY": b"x", ".gitattributes": b"x",
    })  # fmt: skip
    announced = announce("openai/gpt-oss-120b", models)
    assert {one.path for one in announced.files} == set(needed)
    path = fetch(announced, quiet, pause=quiet)
    found = open_checkpoint("openai/gpt-oss-120b", models)
    assert (found.path, found.quantization, found.architecture) == (str(path), "MXFP4", "GptOssForCausalLM")
    assert not list(path.glob("original*"))


def test_the_engine_decides_which_of_two_formats(hub, command, models, tmp_path):
    hub.add("own/both", folder_of(tmp_path) | {"both-Q4_K_M.gguf": gguf(tmp_path), "both-Q8_0.gguf": b"x" * 5000})
    hub.add("own/gguf", {"gguf-Q4_K_M.gguf": gguf(tmp_path)})
    assert announce("own/both", models).format == "safetensors"
    first = announce("own/both", models, suiting=Suiting(("gguf", "safetensors")))
    assert (first.format, first.quantization, first.reference) == ("gguf", "Q4_K_M", "own/both:Q4_K_M")
    assert announce("own/both", models, suiting=Suiting(("safetensors", "gguf"))).format == "safetensors"
    assert announce("own/both:Q8_0", models, suiting=Suiting(("safetensors", "gguf"))).format == "gguf"
    assert announce("own/gguf", models, suiting=Suiting(("safetensors",))).format == "gguf"
    code, _, err = command("pull", "own/gguf", "--engine", "exllamav3", "--yes")
    assert (code, len(err.splitlines()), "is in another format" in err) == (1, 1, True)
    code, out, _ = command("pull", "own/both", "--engine", "llama.cpp", "--yes")
    assert (code, "own/both/Q4_K_M/both-Q4_K_M.gguf" in out) == (0, True)
    code, out, _ = command("pull", "own/both", "--engine", "vllm", "--yes")
    assert (code, out.strip().endswith("own/both/safetensors")) == (0, True)
    code, _, err = command("pull", "own/both", "--engine", "vlm", "--yes")
    assert (code, "nearest ones are vllm" in err) == (2, True)


def test_a_licence_that_wants_it_is_accepted_by_name_and_remembered(hub, command, models, tmp_path):
    hub.add("own/Llama-GGUF", {"x-Q4_K_M.gguf": gguf(tmp_path)}, licence="llama3.3")
    code, out, err = command("pull", "own/Llama-GGUF", "--yes")
    assert (code, out) == (2, "")
    assert "--accept-licence llama3.3" in err.splitlines()[-1]
    assert f"{hub.endpoint}/own/Llama-GGUF" in err
    code, _, err = command("pull", "own/Llama-GGUF", "--yes", "--accept-licence", "mit")
    assert (code, installed(models)) == (2, ())
    code, _, _ = command("pull", "own/Llama-GGUF", "--yes", "--accept-licence", "Llama3.3")
    assert (code, len(installed(models))) == (0, 1)
    assert json.loads((models.parent / FILE).read_text())["accepted"][0]["licence"] == "llama3.3"
    command("remove", "own/Llama-GGUF", "--yes")
    assert command("pull", "own/Llama-GGUF", "--yes")[0] == 0
    hub.add("own/other", {"x-Q4_K_M.gguf": gguf(tmp_path)}, licence="llama3.3")
    assert command("pull", "own/other", "--yes")[0] == 2, "it is accepted for one repository, not for all"


class Terminal(io.StringIO):
    """Somebody who sits there and types."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("typed", "code", "accepted"), [("n\n", 1, False), ("", 1, False), ("y\ny\n", 0, True)])
def test_at_a_terminal_the_licence_is_asked_for(hub, command, models, tmp_path, monkeypatch, typed, code, accepted):
    hub.add("own/Llama-GGUF", {"x-Q4_K_M.gguf": gguf(tmp_path)}, licence="llama3.3")
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    found, _, err = command("pull", "own/Llama-GGUF")
    assert (found, is_accepted(models.parent, "own/Llama-GGUF", "llama3.3")) == (code, accepted)
    assert "Llama 3.3 Community License" in err
    assert len(installed(models)) == accepted


@pytest.mark.parametrize(
    ("licence", "gated", "expected"),
    [("mit", False, None), (None, False, None), ("mit", True, "mit"), (None, True, "other"),
     ("llama3.1", False, "llama3.1"), ("gemma", False, "gemma"), ("cc-by-nc-4.0", False, "cc-by-nc-4.0")],
)  # fmt: skip
def test_which_licences_want_to_be_accepted(licence, gated, expected):
    assert wanted_licence(licence, "own/name", gated=gated) == expected


def test_a_damaged_book_of_acceptance_asks_again(tmp_path):
    accept(tmp_path, "own/name", "llama3.1")
    assert is_accepted(tmp_path, "Own/Name", "Llama3.1")
    (tmp_path / FILE).write_bytes(b"[" * 9000)
    assert not is_accepted(tmp_path, "own/name", "llama3.1")


def test_offline_nothing_is_asked_of_the_network(hub, command, models, tmp_path, monkeypatch):
    hub.add("own/a", {"a-Q4_K_M.gguf": gguf(tmp_path)})
    assert command("pull", "own/a", "--yes")[0] == 0

    def refuse(*_):
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    code, out, _ = command("pull", "own/a", "--offline", "--yes")
    assert (code, "is here already" in out) == (0, True)
    code, _, err = command("pull", "own/a", "own/b", "--offline", "--yes")
    assert (code, "nothing is requested from the network" in err) == (1, True)
    assert command("list", "--json")[0] == 0
    with pytest.raises(UnavailableError):
        announce("own/b", models, offline=True)


def test_together_they_must_fit_the_disk(hub, models, command, tmp_path, monkeypatch):
    for name in ("a", "b"):
        hub.add(f"own/{name}", {f"{name}-Q4_K_M.gguf": gguf(tmp_path)})
    size = announce("own/a", models).size
    usage = __import__("shutil").disk_usage(models)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(free=(512 << 20) + size + 10))
    code, _, err = command("pull", "own/a", "own/b", "--yes")
    assert (code, "the 2 checkpoints need" in err.splitlines()[-1]) == (1, True)
    assert not (models / INCOMING).exists()
    assert command("pull", "own/a", "--yes")[0] == 0
