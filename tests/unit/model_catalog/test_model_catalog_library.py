"""Which checkpoints are found on this machine, and which are not whole."""

from pathlib import Path

import pytest
from model_files import write_gguf, write_safetensors

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.domain.units import Bytes
from ansambl.model_catalog.library import (
    MANIFEST,
    Manifest,
    Origin,
    cache_folder,
    installed,
    installed_to_json,
    read_manifest,
    remove,
    write_manifest,
)

FIELDS = {"general.architecture": "llama", "general.file_type": 7}


@pytest.fixture
def nowhere(tmp_path):
    return {"HF_HOME": str(tmp_path / "nowhere")}


def gguf(path, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(path, FIELDS | fields, {"token_embd.weight": ("F16", (64, 32))})
    return path


def fetched(models, quantization="Q8_0", repo="own/name"):
    path = gguf(models / repo / quantization / "a.gguf")
    sizes = {"a.gguf": path.stat().st_size}
    name = f"{repo}:{quantization}"
    write_manifest(path.parent, Manifest(name, repo, "0" * 40, "gguf", quantization, "mit", "a.gguf", sizes))
    return path


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HF_HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/h"}, "/old"),
        ({"HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"}, "/new"),
    ],
)
def test_the_hubs_cache_is_where_the_hubs_own_tools_put_it(environment, expected):
    assert cache_folder(environment) == Path(expected).expanduser()


def test_a_fetched_checkpoint_is_listed_while_it_is_whole(tmp_path, nowhere):
    path = fetched(tmp_path)
    (found,) = installed(tmp_path, environment=nowhere)
    assert installed_to_json(found) == {
        "reference": "own/name:Q8_0", "path": str(path), "repo": "own/name", "format": "gguf", "quantization": "Q8_0",
        "size": path.stat().st_size, "files": 1, "origin": "ansambl", "revision": "0" * 40, "licence": "mit",
    }  # fmt: skip
    path.write_bytes(path.read_bytes()[:-1])
    assert installed(tmp_path, environment=nowhere) == ()


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 50_000, b'{"repo": 1}', b"\xff"])
def test_a_manifest_that_is_none_declares_nothing(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    assert read_manifest(tmp_path) is None


def test_files_of_the_user(tmp_path, nowhere):
    models, more = tmp_path / "models", tmp_path / "more"
    gguf(models / "mine.gguf")
    gguf(models / ".incoming" / "own--name--Q8_0" / "half.gguf")
    gguf(more / "deep" / "er" / "m-Q8_0-00001-of-00002.gguf", **{"split.count": 2})
    gguf(more / "deep" / "er" / "m-Q8_0-00002-of-00002.gguf", **{"split.count": 2})
    gguf(more / "lost-Q8_0-00001-of-00002.gguf", **{"split.count": 2})
    gguf(more / "mmproj-F16.gguf")
    cut = gguf(more / "cut.gguf")
    cut.write_bytes(cut.read_bytes()[:-8])
    (more / "words.gguf").write_bytes(b"no model")
    (more / "again").symlink_to(more)
    found = installed(models, folders=[more, tmp_path / "missing"], environment=nowhere)
    assert [(one.path, one.files, one.quantization) for one in found] == [
        (str(models / "mine.gguf"), 1, "Q8_0"), (str(more / "deep" / "er" / "m-Q8_0-00001-of-00002.gguf"), 2, "Q8_0"),
    ]  # fmt: skip
    assert {one.origin for one in found} == {Origin.FOLDER}
    assert found[1].size == 2 * Bytes(found[0].size + 32)


def test_the_newest_commit_of_the_hubs_cache(tmp_path):
    cache = tmp_path / "hub"
    model = cache / "models--own--name--with--dashes"
    for commit in ("a" * 40, "b" * 40):
        gguf(model / "snapshots" / commit / "m-Q8_0.gguf")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("a" * 40)
    plain = cache / "models--own--plain" / "snapshots" / ("c" * 40)
    plain.mkdir(parents=True)
    (plain / "config.json").write_text("{}")
    write_safetensors(plain / "model-00001-of-00002.safetensors", {"x": ("U8", (4,), 4)})
    found = installed(tmp_path / "models", environment={"HF_HUB_CACHE": str(cache)})
    assert [one.reference for one in found] == ["own/name--with--dashes:Q8_0", "own/plain"]
    assert found[0].revision == "a" * 40
    # An index that names a file that is not there: the download was not finished.
    (plain / "model.safetensors.index.json").write_text(
        '{"weight_map": {"x": "model-00001-of-00002.safetensors", "y": "model-00002-of-00002.safetensors"}}'
    )
    assert len(installed(tmp_path / "models", environment={"HF_HUB_CACHE": str(cache)})) == 1


def test_only_what_was_fetched_is_removed(tmp_path, nowhere):
    path, other = fetched(tmp_path), fetched(tmp_path, "Q4_0")
    mine = gguf(tmp_path / "mine.gguf")
    with pytest.raises(UsageError, match="means several checkpoints"):
        remove("own/name", tmp_path, confirmed=True)
    with pytest.raises(UsageError, match="is a file of yours; delete it yourself"):
        remove(str(mine), tmp_path, confirmed=True)
    with pytest.raises(UsageError, match="has not fetched"):
        remove("own/another", tmp_path, confirmed=True)
    assert remove("own/name:Q8_0", tmp_path, confirmed=False).path == str(path)
    assert path.is_file()
    remove("own/name:Q8_0", tmp_path, confirmed=True)
    assert not path.parent.exists()
    assert other.is_file()
    assert remove("own/name", tmp_path, confirmed=True).path == str(other)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine.gguf"]


def test_a_removal_that_fails_says_why(tmp_path, monkeypatch):
    fetched(tmp_path)

    def refuses(_folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuses)
    with pytest.raises(CheckpointError, match=r"cannot be removed \(Permission denied\)"):
        remove("own/name", tmp_path, confirmed=True)
    # What is left is no checkpoint any more.
    assert installed(tmp_path, environment={"HF_HOME": "/nowhere"})[0].origin is Origin.FOLDER
