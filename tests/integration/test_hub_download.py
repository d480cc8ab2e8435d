"""Downloads from a hub: announced, resumed, checked, and never taken for whole before they are."""

import hashlib
import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from called_commands import models_command
from model_files import write_gguf, write_safetensors
from product import wait_for

from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.model_catalog import library
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.download import announce, check_room, fetch
from ansambl.model_catalog.library import INCOMING, MANIFEST, Origin, find_installed, installed
from ansambl.testing.fake_hub import Habits

REPO = "own/tiny-GGUF"
FIELDS = {
    "general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2, "llama.embedding_length": 64,
    "llama.attention.head_count": 4, "llama.context_length": 4096,
}  # fmt: skip


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "data" / "models"
    folder.mkdir(parents=True)
    return folder


def gguf(tmp_path, **fields):
    path = tmp_path / "made.gguf"
    write_gguf(path, FIELDS | fields, {"token_embd.weight": ("F16", (64, 8192))})
    return path.read_bytes()


def quiet(_done, _total):
    """Nobody watches."""


def never(_seconds):
    pytest.fail("it waited, though nothing was broken")


def test_it_is_announced_then_fetched_then_found(hub, models, tmp_path):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content, "tiny-Q8_0.gguf": b"x" * 9999, "README.md": b"x"}, licence="mit")
    announced = announce(REPO, models)
    assert (announced.size, announced.quantization, announced.licence) == (len(content), "Q4_K_M", "mit")
    assert [one.path for one in announced.files] == ["tiny-Q4_K_M.gguf"]
    assert (announced.gated, announced.installed, announced.here, announced.lacking) == (False, False, 0, 0)
    assert announced.free == pytest.approx(shutil.disk_usage(models).free, rel=0.2)
    assert announced.seconds(50e6 / 8) == pytest.approx(len(content) * 8 / 50e6)
    assert installed(models) == ()
    seen = []
    path = fetch(announced, lambda done, total: seen.append((done, total)), pause=never)
    assert path == models / "own" / "tiny-GGUF" / "Q4_K_M" / "tiny-Q4_K_M.gguf"
    assert path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert [one for one, _ in seen] == sorted(one for one, _ in seen)
    (found,) = installed(models)
    assert (found.reference, found.path, found.origin) == (f"{REPO}:Q4_K_M", str(path), Origin.ANSAMBL)
    assert (found.size, found.licence, found.files) == (len(content), "mit", 1)
    assert open_checkpoint(REPO, models).path == str(path)
    assert open_checkpoint(f"{REPO}:Q4_K_M", models).context == 4096
    assert find_installed(f"{REPO}:Q8_0", models) is None
    hub.served.clear()
    again = announce(REPO, models)
    assert again.installed
    assert fetch(again, quiet, pause=never) == path
    assert [one.path.partition("?")[0] for one in hub.served] == [f"/api/models/{REPO}/revision/main"]


def test_all_parts_and_the_projector(hub, models, tmp_path):
    parts = {f"big-Q8_0-0000{one}-of-00003.gguf": gguf(tmp_path, **{"split.count": 3, "x": one}) for one in (1, 2, 3)}
    hub.add(REPO, parts | {"mmproj-F16.gguf": gguf(tmp_path), "mmproj-F32.gguf": b"x" * 5000, "big-Q4_0.gguf": b"x"})
    announced = announce(f"{REPO}:Q8_0", models)
    path = fetch(announced, quiet, pause=never)
    assert sorted(one.name for one in path.parent.iterdir()) == sorted([*parts, "mmproj-F16.gguf", MANIFEST])
    assert open_checkpoint(f"{REPO}:Q8_0", models).size == sum(map(len, parts.values()))
    assert path.name == "big-Q8_0-00001-of-00003.gguf"


def test_two_models_of_one_repository_and_quantization_lie_side_by_side(hub, models, tmp_path):
    files = {f"{name}.gguf": gguf(tmp_path, **{"general.name": name}) for name in ("a-Q4_K_M", "b-Q4_K_M", "plain")}
    hub.add(REPO, files)
    paths = [fetch(announce(f"{REPO}/{name}", models), quiet, pause=never) for name in files]
    assert [path.read_bytes() for path in paths] == list(files.values())
    assert [one.reference for one in installed(models)] == [
        f"{REPO}/b-Q4_K_M.gguf", f"{REPO}/plain.gguf", f"{REPO}:Q4_K_M",
    ]  # fmt: skip
    assert open_checkpoint(f"{REPO}/b-Q4_K_M.gguf", models).path == str(paths[1])
    assert announce(f"{REPO}:Q4_K_M", models).path == paths[0]


def test_a_snapshot_has_what_engines_need(hub, models, tmp_path):
    write_safetensors(tmp_path / "made", {"model.layers.0.x": ("F16", (64, 64), 8192)})
    weights = (tmp_path / "made").read_bytes()
    hub.add(
        "own/plain",
        {
            "config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "model.safetensors": weights,
            "original/consolidated.pth": b"x" * 9000, "README.md": b"x", "modeling_x.py": b"import os",
        },
    )  # fmt: skip
    announced = announce("own/plain", models)
    path = fetch(announced, quiet, pause=never)
    assert path == models / "own" / "plain" / "safetensors"
    assert sorted(one.name for one in path.iterdir()) == sorted(
        ["config.json", "model.safetensors", "tokenizer.json", MANIFEST]
    )
    (found,) = installed(models)
    assert (found.reference, found.format, found.path) == ("own/plain", "safetensors", str(path))


def test_a_broken_connection_is_mended_within_the_download(hub, models, tmp_path):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content})
    announced = announce(REPO, models)
    hub.habits = Habits(cut_after=300_000)
    waits = []
    path = fetch(announced, quiet, pause=waits.append)
    assert path.read_bytes() == content
    ranges = [one.range for one in hub.served if one.status == 206]
    assert ranges[0] == f"bytes=0-{len(content) - 1}"
    # Each goes on where the one before it broke.
    assert [int(one.removeprefix("bytes=").partition("-")[0]) for one in ranges] == [
        300_000 * index for index in range(len(ranges))
    ]
    assert len(ranges) == -(-len(content) // 300_000)


def test_what_came_stays_when_the_hub_goes_away_for_good(hub, models, tmp_path):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content})
    announced = announce(REPO, models)
    hub.habits = Habits(cut_after=200_000)

    def fails_later(done, _total):
        if done >= 200_000:
            hub.habits.status = 503

    waits = []
    with pytest.raises(UnavailableError, match="status 503"):
        fetch(announced, fails_later, pause=waits.append)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0][: len(waits)]
    assert len(waits) >= 4
    assert installed(models) == ()
    assert find_installed(REPO, models) is None
    again = announce(REPO, models)
    assert (again.here, again.installed) == (200_000, False)
    hub.habits = Habits()
    hub.served.clear()
    assert fetch(again, quiet, pause=never).read_bytes() == content
    assert [one.range for one in hub.served if one.status == 206] == [f"bytes=200000-{len(content) - 1}"]


def test_a_machine_that_stops_at_the_last_step_loses_nothing(hub, models, tmp_path, monkeypatch):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content})
    real = pathlib.Path.rename

    def stops(path, target):
        if path.is_dir():
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "rename", stops)
        with pytest.raises(KeyboardInterrupt):
            fetch(announce(REPO, models), quiet, pause=never)
    assert installed(models) == ()
    again = announce(REPO, models)
    assert again.here == len(content)
    hub.served.clear()
    assert fetch(again, quiet, pause=never).read_bytes() == content
    assert hub.served == []


def test_another_commit_begins_anew_only_what_changed(hub, models, tmp_path):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content})
    hub.habits = Habits(cut_after=200_000, status=None)
    announced = announce(REPO, models)

    def stop(done, _total):
        if done >= 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(announced, stop)
    hub.habits = Habits()
    other = gguf(tmp_path, **{"general.name": "Other"})
    hub.add(REPO, {"tiny-Q4_K_M.gguf": other})
    assert fetch(announce(REPO, models), quiet, pause=never).read_bytes() == other
    # And a checkpoint that is there is replaced when the repository has another.
    third = gguf(tmp_path, **{"general.name": "Third"})
    hub.add(REPO, {"tiny-Q4_K_M.gguf": third})
    announced = announce(REPO, models)
    assert not announced.installed
    assert fetch(announced, quiet, pause=never).read_bytes() == third
    assert len(installed(models)) == 1


@pytest.mark.parametrize("large", [True, False])
def test_damaged_content_is_not_kept(hub, models, tmp_path, large, monkeypatch):
    content = b"{" + b" " * (9000 if large else 90) + b"}"
    write_safetensors(tmp_path / "made", {"model.layers.0.x": ("F16", (64, 64), 8192)})
    hub.add("own/plain", {"config.json": content, "model.safetensors": (tmp_path / "made").read_bytes()})
    announced = announce("own/plain", models)
    honest = hub.repositories["own/plain"].revision
    damaged = content[:-2] + b"!}"
    hub.repositories["own/plain"].files["config.json"] = damaged
    assert hub.repositories["own/plain"].revision != honest
    if large:
        # The content network has another file under the hash that was promised.
        monkeypatch.setattr("ansambl.testing.fake_hub.hashlib", PretendedHash(hashlib, damaged, content))
    with pytest.raises(CheckpointError, match="came damaged"):
        fetch(announced, quiet, pause=never)
    assert not [one for one in models.rglob("config.json*") if one.is_file()]
    assert installed(models) == ()


class PretendedHash:
    """hashlib, but one content has another's SHA-256."""

    def __init__(self, real, content, pretended):
        self._real, self._content, self._pretended = real, content, pretended
        self.sha1 = real.sha1

    def sha256(self, content=b""):
        return self._real.sha256(self._pretended if content == self._content else content)


def test_a_disk_without_room_refuses_with_the_numbers(hub, models, tmp_path, monkeypatch):
    hub.add(REPO, {"tiny-Q4_K_M.gguf": gguf(tmp_path)})
    usage = shutil.disk_usage(models)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(free=100 << 20))
    announced = announce(REPO, models)
    assert announced.lacking == announced.size + (512 << 20) - (100 << 20)
    hub.served.clear()
    with pytest.raises(CheckpointError, match=r"needs 1\.0 MiB more in .*, where 100\.0 MiB are free"):
        check_room(announced)
    with pytest.raises(CheckpointError, match=r"free 413\.0 MiB there"):
        fetch(announced, quiet, pause=never)
    assert hub.served == []


def test_a_gated_repository_says_so_before_and_after(hub, models, tmp_path, monkeypatch):
    hub.add(REPO, {"tiny-Q4_K_M.gguf": gguf(tmp_path)}, gated=True)
    announced = announce(REPO, models)
    assert announced.gated
    with pytest.raises(CheckpointError, match="accept it on the model's page, then set HF_TOKEN"):
        fetch(announced, quiet, pause=never)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert fetch(announced, quiet, pause=never).is_file()


def test_one_process_at_a_time(hub, models, tmp_path):
    hub.add(REPO, {"tiny-Q4_K_M.gguf": gguf(tmp_path)})
    announced = announce(REPO, models)
    inside, leave = threading.Event(), threading.Event()

    def hold(_done, _total):
        inside.set()
        leave.wait(20)

    first = threading.Thread(target=fetch, args=(announced, hold))
    first.start()
    assert inside.wait(20)
    with pytest.raises(UnavailableError, match="another Ansambl is fetching own/tiny-GGUF:Q4_K_M"):
        fetch(announced, quiet, pause=never)
    leave.set()
    first.join(20)
    assert len(installed(models)) == 1


@pytest.mark.parametrize("path", ["../../evil.json", "/etc/evil.json", "a/../../evil.json", "a\\b.json", "x\x1b.json"])
def test_a_repository_cannot_leave_its_folder(hub, models, tmp_path, path):
    hub.add(REPO, {"tiny-Q4_K_M.gguf": gguf(tmp_path), path: b"{}"})
    hub.add("own/plain", {"model.safetensors": b"x" * 100, path: b"{}"})
    assert [one.path for one in announce(REPO, models).files] == ["tiny-Q4_K_M.gguf"]
    assert [one.path for one in announce("own/plain", models).files] == ["model.safetensors"]


def test_ctrl_c_leaves_a_state_from_which_the_command_goes_on(hub, models, tmp_path):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content})
    steps, reached, go_on = itertools.count(), threading.Event(), threading.Event()

    def gate():
        if next(steps) == 6:
            reached.set()
            go_on.wait(30)

    hub.habits = Habits(gate=gate)
    environment = {**os.environ, "ANSAMBL_DATA": str(models.parent), "ANSAMBL_LANG": "en"}
    command = [sys.executable, "-m", "ansambl", "models", "pull", REPO, "--yes"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reached.wait(30)
    wait_for(lambda: any(one.stat().st_size for one in models.rglob("*.part")), "no bytes on the disk", 30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    go_on.set()
    assert process.returncode not in {0, 1}
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert out == ""
    hub.habits = Habits()
    assert installed(models) == ()
    begun = announce(REPO, models).here
    assert 0 < begun < len(content)
    hub.served.clear()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Fetched: " in done.stdout) == (0, True)
    assert [one.range for one in hub.served if one.status == 206] == [f"bytes={begun}-{len(content) - 1}"]
    assert installed(models)[0].size == len(content)
    assert [one.name for one in (models / INCOMING).iterdir() if one.is_dir()] == []


@pytest.fixture
def command(monkeypatch, models, tmp_path, capsys):
    return models_command(monkeypatch, models.parent, tmp_path, capsys)


def test_the_commands_from_pull_to_remove(hub, command, models, tmp_path):
    content = gguf(tmp_path)
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content}, licence="mit")
    # Without a terminal nobody can be asked, so nothing is fetched.
    code, out, err = command("pull", REPO)
    assert (code, out) == (1, "")
    assert f"{REPO}:Q4_K_M: 1.0 MiB, files: 1, licence: mit." in err
    assert "at 50 Mbit/s" in err
    assert "are free" in err
    assert installed(models) == ()
    code, out, _ = command("pull", REPO, "--yes")
    assert (code, out.startswith("Fetched: ")) == (0, True)
    code, out, _ = command("pull", REPO, "--yes")
    assert (code, "is here already" in out) == (0, True)
    _, out, _ = command("list")
    assert f"{REPO}:Q4_K_M" in out
    _, out, _ = command("inspect", f"{REPO}:Q4_K_M")
    assert "2 layers" in out
    code, _, err = command("remove", f"{REPO}:Q4_K_M")
    assert (code, len(installed(models))) == (1, 1)
    assert "will be deleted" in err
    code, out, _ = command("remove", f"{REPO}:Q4_K_M", "--yes")
    assert (code, out.startswith("Deleted: "), installed(models)) == (0, True, ())
    assert not (models / "own").exists()


def test_failures_of_pull_are_one_line(hub, command, models):
    hub.add(REPO, {"tiny-Q4_K_M.gguf": b"x" * 5000})
    for reference, code, words in (
        ("own/none", 1, "or it is private"),
        (f"{REPO}:Q8_0", 1, "it has: Q4_K_M"),
        ("gpt-oss-12b", 2, "the nearest are: gpt-oss-120b"),
        ("own/", 2, "is no name on a hub"),
        ("own/tiny-GGUF/none.gguf", 1, "holds no none.gguf"),
    ):
        found, out, err = command("pull", reference, "--yes")
        assert (found, out, len(err.splitlines())) == (code, "", 1)
        assert words in err


def test_what_the_hubs_own_tool_fetched_is_found(hub, models, tmp_path, monkeypatch):
    from huggingface_hub import constants, snapshot_download

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    content = gguf(tmp_path)
    write_safetensors(tmp_path / "made", {"model.layers.0.x": ("F16", (64, 64), 8192)})
    hub.add(REPO, {"tiny-Q4_K_M.gguf": content, "broken-Q8_0.gguf": content[:-5000]})
    hub.add("own/plain", {"config.json": b"{}", "model.safetensors": (tmp_path / "made").read_bytes()})
    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    for repo in (REPO, "own/plain"):
        snapshot_download(repo, cache_dir=cache, endpoint=hub.endpoint)
    found = installed(models)
    assert [(one.reference, one.origin) for one in found] == [
        ("own/plain", Origin.HUB_CACHE), (f"{REPO}:Q4_K_M", Origin.HUB_CACHE),
    ]  # fmt: skip
    assert open_checkpoint(f"{REPO}:Q4_K_M", models).quantization == "Q4_K_M"
    with pytest.raises(Exception, match="remove it there: hf cache rm model/own/tiny-GGUF"):
        library.remove(f"{REPO}:Q4_K_M", models, confirmed=True)
