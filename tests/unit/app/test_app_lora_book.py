"""Adding LoRA adapters to a data folder, and which of them a model can use."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lora_models
import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.lora_book import LoraBook, free_name
from ansambl.domain.errors import DataFolderError, NotSupportedError, UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.engines.registry import get_engine
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog.lora.limits import refuse_over_limits, refuse_over_settings
from ansambl.model_catalog.lora.records import LoraFile, LoraPair
from ansambl.model_catalog.lora.store import LoraFolders
from ansambl.testing import tiny_checkpoint as tiny


class Finder:
    """Finds one engine for everything."""

    def __init__(self, engine: str | None) -> None:
        self._engine = engine

    def choose(self, name: str, checkpoint: Any) -> Any:
        if self._engine is None:
            raise NotSupportedError(text("{name}: none is installed", name=name))
        return SimpleNamespace(name=self._engine)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.write_tiny_checkpoint(folder / "tiny")
    lora_models.write_as_gguf(folder / "tiny.gguf", lora_models.read_tensors(folder / "tiny" / "model.safetensors"))
    return folder


def book(tmp_path: Path, models: Path, engine: str | None = "llama.cpp-bundled", form: str = "tiny.gguf") -> LoraBook:
    config = tmp_path / "ansambl.toml"
    config.write_text(
        f'[models.main]\ncheckpoint = "{models / form}"\naliases = ["gpt-4o"]\n'
        '[models.far]\naddress = "http://127.0.0.1:9/v1"\n'
    )
    loaded = load_settings(config, environment={})
    return LoraBook(DataPaths(tmp_path / "data"), loaded, Finder(engine))  # type: ignore[arg-type]


def folder(tmp_path: Path, **more: Any) -> Path:
    return lora_models.write_peft(tmp_path / "adapter", **more)


def test_an_adapter_is_added_converted_listed_and_removed(tmp_path, models):
    made = book(tmp_path, models)
    added = made.add("poet", folder(tmp_path), "main")
    adapter = added.adapter
    assert (adapter.name, adapter.model, adapter.rank, added.converted) == ("poet", "main", 8, True)
    assert added.engine == "llama.cpp"
    assert set(adapter.files) == {"peft", "gguf"}
    assert all(Path(one).exists() for one in adapter.files.values())
    assert made.all() == made.for_model("main") == (adapter,)
    assert made.for_model("far") == ()
    assert [note.render() for note in added.notes] == []
    assert made.remove("POET") == adapter
    assert made.all() == ()
    assert list((tmp_path / "data" / "loras").glob("[!.]*")) == []
    assert [one.name for one in (tmp_path / "data" / "loras").iterdir()] == [".lock"]


def test_what_is_kept_is_for_its_owner_alone(tmp_path, models):
    book(tmp_path, models).add("poet", folder(tmp_path), "main")
    for path in (tmp_path / "data" / "loras").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_copy_lives_without_the_original_and_after_a_move(tmp_path, models):
    source = folder(tmp_path)
    first = book(tmp_path, models).add("poet", source, "main").adapter
    for one in source.iterdir():
        one.unlink()
    (tmp_path / "data").rename(tmp_path / "moved")
    (moved,) = LoraFolders(tmp_path / "moved" / "loras").all()
    assert moved.identity == first.identity
    assert moved.files["gguf"] == str(tmp_path / "moved" / "loras" / "poet" / "adapter.gguf")


def test_an_adapter_in_gguf_is_kept_as_it_is(tmp_path, models):
    made = book(tmp_path, models)
    file = Path(made.add("poet", folder(tmp_path), "main").adapter.files["gguf"])
    added = made.add("second", file, "main")
    assert (set(added.adapter.files), added.converted) == ({"gguf"}, False)
    assert Path(added.adapter.files["gguf"]).read_bytes() == file.read_bytes()


def test_a_folder_checkpoint_takes_peft_alone(tmp_path, models):
    made = book(tmp_path, models, "vllm", "tiny")
    added = made.add("poet", folder(tmp_path), "main")
    assert (set(added.adapter.files), added.converted, added.engine) == ({"peft"}, False, "vLLM")
    assert made.for_model("main") == (added.adapter,)


def test_an_engine_that_is_not_installed_yet_is_no_obstacle(tmp_path, models):
    assert book(tmp_path, models, None).add("poet", folder(tmp_path), "main").engine is None


@pytest.mark.parametrize("engine", ["command", "openai-compatible"])
def test_an_engine_without_lora_is_refused(tmp_path, models, engine):
    with pytest.raises(NotSupportedError, match="loads no LoRA adapters through Ansambl"):
        book(tmp_path, models, engine).add("poet", folder(tmp_path), "main")
    assert not list((tmp_path / "data").rglob("poet"))


def test_a_model_elsewhere_and_an_unknown_one_are_refused(tmp_path, models):
    made = book(tmp_path, models)
    with pytest.raises(NotSupportedError, match="does not start the engine of 'far' itself"):
        made.add("poet", folder(tmp_path), "far")
    with pytest.raises(UsageError, match="no model 'mian' in the configuration; nearest: main"):
        made.add("poet", tmp_path / "adapter", "mian")
    assert made.only_model() == "main"


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "x" * 65, "poet.gguf", "поэт", "a\n", "dot."])
def test_a_name_that_cannot_be_one_is_refused(tmp_path, models, name):
    with pytest.raises(UsageError, match="cannot be the name of a LoRA adapter"):
        book(tmp_path, models).add(name, folder(tmp_path), "main")
    assert not list((tmp_path / "data" / "loras").glob("[!.]*"))


@pytest.mark.parametrize(
    ("name", "what"), [("Main", "a model"), ("GPT-4o", "a model"), ("coder", "a role"), ("poet", "a LoRA adapter")]
)
def test_a_name_that_is_taken_is_refused_with_a_free_one(tmp_path, models, name, what):
    made = book(tmp_path, models)
    made.add("Poet", folder(tmp_path), "main")
    with pytest.raises(UsageError, match=f"'{name}' is taken by {what}; free is for example '{name}-lora'"):
        made.add(name, tmp_path / "adapter", "main", taken={"Coder": text("a role")})
    assert len(made.all()) == 1


def test_the_free_name_is_free():
    assert free_name("poet", ["poet"]) == "poet-lora"
    assert free_name("Poet", ["poet", "poet-lora", "poet-2"]) == "Poet-3"
    assert len(free_name("x" * 64, ["x" * 64])) <= 64


def test_an_adapter_for_another_model_leaves_nothing(tmp_path, models):
    source = folder(tmp_path)
    other = tmp_path / "other"
    tensors = {
        name.replace("layers.1", "layers.7"): one
        for name, one in lora_models.read_tensors(source / "adapter_model.safetensors").items()
    }
    other.mkdir()
    (other / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    tiny.write_safetensors(other / "adapter_model.safetensors", tensors)
    with pytest.raises(UsageError, match=r"made for another model: it changes layer 8, .* use it with somebody/tiny"):
        book(tmp_path, models).add("poet", other, "main")
    assert not list((tmp_path / "data").rglob("poet"))


def test_another_checkpoint_makes_an_adapter_unfit_and_not_the_model(tmp_path, models):
    made = book(tmp_path, models)
    adapter = made.add("poet", folder(tmp_path), "main").adapter
    second = book(tmp_path, models, "vllm", "tiny")
    assert second.for_model("main") == (adapter,)
    file = made.add("ready", Path(adapter.files["gguf"]), "main").adapter
    assert second.for_model("main") == (adapter,)
    (unfit,) = second.unfit("main")
    assert unfit.adapter == file
    assert "lies here for another kind of checkpoint" in unfit.reason.render()


def test_an_engine_that_does_not_take_it_leaves_it_out(tmp_path, models):
    made = book(tmp_path, models)
    plain = made.add("poet", folder(tmp_path), "main").adapter
    activated = lora_models.write_peft(tmp_path / "activated", alora_invocation_tokens=[5])
    made.add("late", activated, "main")
    second = book(tmp_path, models, "vllm", "tiny")
    assert second.for_model("main") == (plain,)
    assert "does not load activated" in second.unfit("main")[0].reason.render()
    assert [one.adapter.name for one in book(tmp_path, models, "command").unfit("main")] == ["late", "poet"]


def test_a_checkpoint_that_is_gone_makes_all_unfit(tmp_path, models):
    book(tmp_path, models).add("poet", folder(tmp_path), "main")
    gone = book(tmp_path, models, form="gone.gguf")
    assert gone.for_model("main") == ()
    assert "does not exist" in gone.unfit("main")[0].reason.render()


def test_a_base_of_another_name_is_a_warning(tmp_path, models):
    source = folder(tmp_path)
    config = source / "adapter_config.json"
    config.write_text(config.read_text().replace("somebody/tiny", "somebody/huge-model"))
    (note,) = book(tmp_path, models).add("poet", source, "main").notes
    assert "somebody/huge-model" in note.render()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": "other"}', b"[" * 100_000, b'{"name":"poet","files":3}'])
def test_a_broken_manifest_hides_its_folder_alone(tmp_path, models, content):
    made = book(tmp_path, models)
    made.add("poet", folder(tmp_path), "main")
    kept = made.add("second", tmp_path / "adapter", "main").adapter
    (tmp_path / "data" / "loras" / "poet" / "ansambl-lora.json").write_bytes(content)
    assert made.all() == (kept,)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path, models):
    made = book(tmp_path, models)
    made.add("poet", folder(tmp_path), "main")
    manifest = tmp_path / "data" / "loras" / "poet" / "ansambl-lora.json"
    manifest.write_text(manifest.read_text().replace("adapter.gguf", "../../ansambl.db").replace('"peft"', '"x"'))
    assert made.all() == ()


def test_what_an_interrupted_command_left_goes_with_the_next(tmp_path, models):
    left = tmp_path / "data" / "loras" / ".incoming" / "poet"
    left.mkdir(parents=True)
    (left / "adapter.gguf").write_bytes(b"half")
    made = book(tmp_path, models)
    assert made.all() == ()
    assert made.add("poet", folder(tmp_path), "main").adapter.name == "poet"
    assert not left.parent.exists()


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, models):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "loras").write_text("a file")
    with pytest.raises(DataFolderError, match=r"LoRA adapters cannot be kept in .*loras"):
        book(tmp_path, models).add("poet", folder(tmp_path), "main")


def test_what_was_not_added_is_not_removed(tmp_path, models):
    made = book(tmp_path, models)
    with pytest.raises(UsageError, match="no LoRA adapter 'poet'; see"):
        made.remove("poet")
    made.add("poet", folder(tmp_path), "main")
    with pytest.raises(UsageError, match="nearest: poet"):
        made.remove("poets")
    with pytest.raises(UsageError, match="no LoRA adapter"):
        made.remove("../models")


def test_the_limits_of_engines():
    large = LoraFile("peft", "", "", Bytes(1), (LoraPair("a", 1, 1, 513, 1.0),), 1.0, "")
    activated = LoraFile("peft", "", "", Bytes(1), (LoraPair("a", 1, 1, 8, 1.0),), 1.0, "", invocation=(1,))
    with pytest.raises(NotSupportedError, match="rank 513, and vLLM loads at most 512"):
        refuse_over_limits(get_engine("vllm").traits, large)
    for engine in ("vllm", "sglang"):
        with pytest.raises(NotSupportedError, match="does not load activated"):
            refuse_over_limits(get_engine(engine).traits, activated)
    for engine in ("llama.cpp", "llama.cpp-bundled"):
        for adapter in (large, activated):
            refuse_over_limits(get_engine(engine).traits, adapter)


def test_an_adapter_that_the_models_own_settings_leave_no_room_for():
    """vLLM would take it, list it, and fail at its first use."""
    large = LoraFile("peft", "", "", Bytes(1), (LoraPair("a", 1, 1, 64, 1.0),), 1.0, "")
    for most in (16, "16"):
        with pytest.raises(UsageError, match=r"has rank 64, and models\.big\.settings\.max_lora_rank is 16"):
            refuse_over_settings("big", {"max_lora_rank": most}, large)
    for settings in ({}, {"max_lora_rank": 64}, {"max_lora_rank": "128"}):
        refuse_over_settings("big", settings, large)
