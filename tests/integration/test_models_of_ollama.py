"""A model of Ollama's store answers through the gateway, taken over by one command, and stays where it lies."""

import hashlib
import json
import tomllib

import pytest
from product import run_command

from ansambl.model_catalog import embedded

SYSTEM = b"Answer in one short sentence."


@pytest.fixture
def store(tmp_path, embedded_model_folder, monkeypatch):
    """What Ollama would have written had it fetched the small model, the weights being a link."""
    folder = tmp_path / "ollama"
    weights = embedded.embedded_path(embedded_model_folder)
    (folder / "blobs").mkdir(parents=True)
    digest = embedded.load_embedded().sha256
    (folder / "blobs" / f"sha256-{digest}").symlink_to(weights)
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}",
               "size": weights.stat().st_size}]  # fmt: skip
    for kind, content in (("system", SYSTEM), ("params", b'{"temperature": 0.0, "num_ctx": 2048, "stop": ["X#"]}')):
        name = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / f"sha256-{name}").write_bytes(content)
        layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{name}",
                       "size": len(content)})  # fmt: skip
    place = folder / "manifests" / "registry.ollama.ai" / "library" / "smol"
    place.mkdir(parents=True)
    (place / "135m").write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    monkeypatch.setenv("OLLAMA_MODELS", str(folder))
    return folder


def test_weights_that_two_names_share_are_counted_once(store, data_folder):
    place = store / "manifests" / "registry.ollama.ai" / "library" / "smol"
    (place / "latest").write_bytes((place / "135m").read_bytes())
    found = json.loads(run_command("models", "list", "--json", data=data_folder).stdout)
    own = [one for one in found["installed"] if one["origin"] == "Ollama"]
    assert len(own) == 2
    assert found["installed_size"] == sum(one["size"] for one in found["installed"]) - own[0]["size"]


def test_every_command_takes_the_reference_that_the_list_shows(store, data_folder):
    fits = run_command("fit", "ollama:smol:135m", "--context", "2048", "--json", data=data_folder)
    assert fits.returncode == 0, fits.stderr
    assert json.loads(fits.stdout)["checkpoint"]["bytes"] == embedded.load_embedded().size
    inspected = run_command("models", "inspect", "ollama:smol:135m", data=data_folder)
    assert (inspected.returncode, str(store) in inspected.stdout) == (0, True)
    missing = run_command("fit", "ollama:nosuch", data=data_folder)
    assert (missing.returncode, "ollama pull nosuch" in missing.stderr) == (1, True)


@pytest.mark.engine
def test_it_answers_by_the_name_that_it_had(store, start, data_folder):
    before = {one: one.stat().st_mtime_ns for one in store.rglob("*")}
    taken = run_command("import-config", "ollama", "default", data=data_folder)
    assert taken.returncode == 0, taken.stderr
    document = tomllib.loads(taken.stdout)
    assert document["models"] == {"smol-135m-weights": {"checkpoint": "ollama:smol:135m", "context": 2048}}
    assert document["roles"]["smol-135m"]["instruction"] == SYSTEM.decode()
    product = start(taken.stdout)
    answer = product.chat("smol:135m", {"role": "user", "content": "What is the capital of France?"}, max_tokens=16)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"].strip()
    listed = product.command("models", "list", "--json")
    (found,) = [one for one in json.loads(listed.stdout)["installed"] if one["origin"] == "Ollama"]
    assert found["reference"] == "ollama:smol:135m"
    refused = product.command("models", "remove", "ollama:smol:135m", "--yes")
    assert (refused.returncode, "ollama rm smol:135m" in refused.stderr) == (2, True)
    assert {one: one.stat().st_mtime_ns for one in store.rglob("*")} == before
