"""The stores of Ollama and LM Studio: found, read, never touched."""

import hashlib
import json

import pytest
from model_files import write_gguf, write_safetensors

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.foreign_stores import (
    find_ollama,
    full_name,
    lm_studio_folders,
    ollama_folders,
    ollama_models,
    read_text,
)
from ansambl.model_catalog.library import Origin, installed, remove

FIELDS = {"general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2}
LAYER = "application/vnd.ollama.image."


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return folder


def gguf_bytes(tmp_path, **fields):
    write_gguf(tmp_path / "made", FIELDS | fields, {"token_embd.weight": ("F16", (64, 32))})
    return (tmp_path / "made").read_bytes()


def blob(store, content):
    digest = hashlib.sha256(content).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{digest}").write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def manifest(store, place, *layers):
    path = store / "manifests" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"mediaType": LAYER + kind, **blob(store, content)} for kind, content in layers]
    path.write_text(json.dumps({"schemaVersion": 2, "config": {}, "layers": listed}))
    return path


def store_with_models(tmp_path, home):
    store = home / ".ollama" / "models"
    weights = gguf_bytes(tmp_path)
    manifest(store, "registry.ollama.ai/library/llama3.2/3b", ("model", weights), ("template", b"{{ .Prompt }}"),
             ("params", b'{"temperature": 0.5}'), ("system", b"Be brief."), ("license", b"x"))  # fmt: skip
    manifest(store, "registry.ollama.ai/me/seeing/latest", ("model", weights), ("projector", gguf_bytes(tmp_path, a=1)))
    manifest(store, "hf.co/own/name-GGUF/Q4_K_M", ("model", weights))
    return store


def snapshot(folder):
    return {one: (one.stat().st_size, one.stat().st_mtime_ns) for one in folder.rglob("*")}


def test_ollamas_models_are_found_by_what_ollama_calls_them(tmp_path, home):
    store = store_with_models(tmp_path, home)
    before = snapshot(store)
    found = {one.name: one for one in ollama_models(store)}
    assert set(found) == {"llama3.2:3b", "me/seeing:latest", "hf.co/own/name-GGUF:Q4_K_M"}
    one = found["llama3.2:3b"]
    assert (read_text(one.system), read_text(one.template), read_text(one.settings)) == (
        "Be brief.", "{{ .Prompt }}", '{"temperature": 0.5}',
    )  # fmt: skip
    seeing = found["me/seeing:latest"]
    assert seeing.size == one.weights.stat().st_size + seeing.projector.stat().st_size
    opened = open_checkpoint("ollama:llama3.2:3b", tmp_path)
    assert (opened.path, opened.format, opened.architecture, opened.layers) == (str(one.weights), "gguf", "llama", 2)
    assert open_checkpoint("ollama:me/seeing", tmp_path).path == str(seeing.weights)
    listed = {item.reference: item for item in installed(tmp_path / "models")}
    assert set(listed) == {f"ollama:{name}" for name in found}
    assert {item.origin for item in listed.values()} == {Origin.OLLAMA}
    assert listed["ollama:llama3.2:3b"].quantization == "Q4_K_M"
    with pytest.raises(UsageError, match=r"belongs to Ollama; remove it there: ollama rm llama3\.2:3b"):
        remove("ollama:llama3.2:3b", tmp_path / "models", confirmed=True)
    assert snapshot(store) == before


def test_another_folder_comes_before_the_users_own(tmp_path, home):
    store_with_models(tmp_path, home)
    other = tmp_path / "elsewhere"
    manifest(other, "registry.ollama.ai/library/llama3.2/3b", ("model", gguf_bytes(tmp_path, b=2)))
    environment = {"HOME": str(home), "OLLAMA_MODELS": str(other)}
    assert ollama_folders(environment)[:2] == (other, home / ".ollama" / "models")
    assert find_ollama("llama3.2:3b", environment).weights.parent == other / "blobs"
    assert find_ollama("llama3.2", environment) is None


def test_what_is_not_whole_is_no_model(tmp_path, home):
    store = store_with_models(tmp_path, home)
    place = store / "manifests" / "registry.ollama.ai" / "library" / "broken"
    place.mkdir()
    outside = '{"layers": [{"mediaType": "x", "digest": "../x", "size": 1}]}'
    for name, content in (("a", "{"), ("b", "[" * 90_000), ("c", outside), ("d", '{"layers": []}')):
        (place / name).write_text(content)
    manifest(store, "registry.ollama.ai/library/two/latest", ("model", b"GGUFx"), ("model", b"GGUFy"))
    partial = manifest(store, "registry.ollama.ai/library/partial/latest", ("model", b"GGUF" * 9))
    digest = json.loads(partial.read_text())["layers"][0]["digest"].replace(":", "-")
    (store / "blobs" / digest).write_bytes(b"GGUF")
    assert {one.name for one in ollama_models(store)} == {
        "llama3.2:3b", "me/seeing:latest", "hf.co/own/name-GGUF:Q4_K_M",
    }  # fmt: skip
    for name in ("partial", "two", "none", "", "../../x", "a\x1bb"):
        with pytest.raises(CheckpointError, match=r"Ollama has no .* here that Ansambl can read") as failed:
            open_checkpoint(f"ollama:{name}", tmp_path)
        assert "\x1b" not in failed.value.message.render()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("llama3.2", "llama3.2:latest"), ("llama3.2:3b", "llama3.2:3b"), ("me/x", "me/x:latest"),
     ("registry.ollama.ai/library/x:1b", "x:1b"), ("hf.co/a/b:Q8_0", "hf.co/a/b:Q8_0"),
     ("localhost:5000/a/b", "localhost:5000/a/b:latest")],
)  # fmt: skip
def test_names_are_as_ollama_completes_them(name, expected):
    assert full_name(name) == expected


def test_lm_studios_models_are_found(tmp_path, home):
    root = home / ".lmstudio" / "models"
    (root / "pub" / "repo-GGUF").mkdir(parents=True)
    (root / "pub" / "repo-GGUF" / "x-Q4_K_M.gguf").write_bytes(gguf_bytes(tmp_path))
    (root / "mlx-community" / "y-4bit").mkdir(parents=True)
    (root / "mlx-community" / "y-4bit" / "config.json").write_text('{"quantization": {"bits": 4, "group_size": 64}}')
    write_safetensors(root / "mlx-community" / "y-4bit" / "model.safetensors", {"a": ("U32", (4, 4), 64)})
    before = snapshot(root)
    found = {one.reference: one for one in installed(tmp_path / "models")}
    reference = "lmstudio:pub/repo-GGUF/x-Q4_K_M.gguf"
    assert {one: (item.format, item.repo, item.origin) for one, item in found.items()} == {
        reference: ("gguf", "pub/repo-GGUF", Origin.LM_STUDIO),
        "lmstudio:mlx-community/y-4bit": ("mlx", "mlx-community/y-4bit", Origin.LM_STUDIO),
    }
    opened = open_checkpoint(reference, tmp_path)
    assert (opened.repo, opened.path) == ("pub/repo-GGUF", found[reference].path)
    assert open_checkpoint("lmstudio:pub/repo-GGUF", tmp_path).path == opened.path
    assert open_checkpoint("lmstudio:mlx-community/y-4bit", tmp_path).format == "mlx"
    for name in ("pub/none", "", "../../x", "/etc"):
        with pytest.raises(CheckpointError, match="LM Studio has no"):
            open_checkpoint(f"lmstudio:{name}", tmp_path)
    with pytest.raises(UsageError, match="belongs to LM Studio"):
        remove(reference, tmp_path / "models", confirmed=True)
    assert snapshot(root) == before


def test_lm_studios_own_settings_say_where(tmp_path, home):
    environment = {"HOME": str(home)}
    assert lm_studio_folders(environment) == ()
    old = home / ".cache" / "lm-studio" / "models"
    old.mkdir(parents=True)
    assert lm_studio_folders(environment) == (old,)
    chosen = tmp_path / "big disk"
    chosen.mkdir()
    (old.parent / "settings.json").write_text(json.dumps({"downloadsFolder": str(chosen), "other": [1]}))
    assert lm_studio_folders(environment) == (chosen, old)
    for nonsense in ("{", '{"downloadsFolder": 3}', '{"downloadsFolder": "a\\u0000b"}'):
        (old.parent / "settings.json").write_text(nonsense)
        assert lm_studio_folders(environment) == (old,)
    moved = tmp_path / "moved"
    (moved / "models").mkdir(parents=True)
    (home / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    assert lm_studio_folders(environment) == (moved / "models", old)


def test_a_name_of_the_catalog_is_what_lies_here_of_it(tmp_path, home):
    with pytest.raises(CheckpointError, match="fetch it with: ansambl models pull gpt-oss-20b"):
        open_checkpoint("gpt-oss-20b", tmp_path)
    root = home / ".lmstudio" / "models" / "ggml-org" / "gpt-oss-20b-GGUF"
    root.mkdir(parents=True)
    (root / "gpt-oss-20b-mxfp4.gguf").write_bytes(gguf_bytes(tmp_path, **{"general.file_type": 38}))
    assert open_checkpoint("gpt-oss-20b", tmp_path).path == str(root / "gpt-oss-20b-mxfp4.gguf")
    with pytest.raises(CheckpointError, match="ansambl models pull gpt-oss-20b:Q8_0"):
        open_checkpoint("gpt-oss-20b:Q8_0", tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint("no-such-model", tmp_path)
