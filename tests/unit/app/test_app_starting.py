"""Which models are there before anybody asks."""

from types import SimpleNamespace

import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.starting import start_instances
from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.runtime.scheduling.records import DeviceView, InstanceFacts, InstanceView, Residency


class Stage:
    """A machine with 8 GiB for models, of which `used` are reserved; the models need 5 GiB each."""

    def __init__(self, folder, pinned=(), *, used=0, there=(), failing=()):
        file = folder / "ansambl.toml"
        file.write_text(
            "".join(f'[models.{one}]\ncheckpoint = "/{one}"\npinned = {str(one in pinned).lower()}\n' for one in "abc"),
            encoding="utf-8",
        )
        self.loaded = load_settings(file, environment={})
        self.woken, self.warnings, self.used, self.failing = [], [], used * GIB, failing
        self._there = there
        self.product = SimpleNamespace(
            catalog=SimpleNamespace(models=dict.fromkeys("abc"), default_model="a"), coordinator=self, footprints=self
        )

    async def wake(self, model):
        if model in self.failing:
            raise self.failing[model]
        self.woken.append(model)
        self.used += 5 * GIB

    def views(self):
        return {one: InstanceView(Residency.IN, 0, 0) for one in self._there}

    def devices(self):
        return [DeviceView("ram", Bytes(8 * GIB), Bytes(self.used), Bytes(0))]

    async def facts(self, model):
        return InstanceFacts(model, needs={"ram": Bytes(5 * GIB)})

    async def start(self):
        await start_instances(self.loaded, lambda one: self.warnings.append(one.render()), self.product)


async def test_the_default_model_is_started(tmp_path):
    stage = Stage(tmp_path)
    await stage.start()
    assert stage.woken == ["a"]


async def test_pinned_models_come_first_and_the_default_takes_no_place_of_theirs(tmp_path):
    stage = Stage(tmp_path, pinned=("c",))
    await stage.start()
    assert stage.woken == ["c"]


async def test_the_default_does_not_unload_an_engine_that_was_adopted(tmp_path):
    stage = Stage(tmp_path, used=5, there=("b",))
    await stage.start()
    assert stage.woken == []
    stage = Stage(tmp_path, used=5, there=("a",))
    await stage.start()
    assert stage.woken == ["a"]


@pytest.mark.parametrize("error", [UnavailableError(text("'a' is gone")), CheckpointError(text("no file"))])
async def test_what_does_not_start_is_told_and_the_rest_goes_on(tmp_path, error):
    stage = Stage(tmp_path, pinned=("a", "b"), failing={"a": error})
    await stage.start()
    assert stage.woken == ["b"]
    assert len(stage.warnings) == 1
