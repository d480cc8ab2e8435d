"""What of a plan is refused before anything starts, and what is only told."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansambl.app import first_plan
from ansambl.app.configuration.settings import BudgetSettings
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.model_memory import devices_of
from ansambl.app.plan_checks import check_plan, misfits
from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.engine import Installed, NotUsable
from ansambl.domain.errors import CheckpointError, ConfigurationError, NotSupportedError
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.runtime.scheduling.records import InstanceFacts

MACHINE = Machine(
    "t", "Linux", Cpu("x", "x86_64", 2, 2, 2, None), Memory(Bytes(16 * GIB), Bytes(16 * GIB)),
    gpus=(Gpu(0, "nvidia", "card", Bytes(8 * GIB)),),
)  # fmt: skip


class Facts:
    """Facts of models whose needs a test states in GiB; a model without any cannot be made."""

    def __init__(self, loaded, needs, silent=()):
        self.devices = devices_of(MACHINE, loaded.settings.budget)
        self._needs, self._silent, self._models = needs, silent, loaded.settings.models

    async def facts(self, model):
        if model not in self._needs:
            raise CheckpointError(text("missing"))
        needs = {device: Bytes(int(size * GIB)) for device, size in self._needs[model].items()}
        return InstanceFacts(model, needs=needs, pinned=self._models[model].pinned, chats=model not in self._silent)


@pytest.fixture
def plan(tmp_path):
    def make(needs, more="", *, pinned=("a", "b"), silent=()):
        names = ("a", "b", "c")
        tables = "\n".join(
            f'[models.{one}]\ncheckpoint = "/{one}"\npinned = {"true" if one in pinned else "false"}' for one in names
        )
        file = tmp_path / "ansambl.toml"
        file.write_text(f"{tables}\n{more}", encoding="utf-8")
        loaded = load_settings(file, environment={})
        return loaded, Facts(loaded, needs, silent)

    return make


def check(found):
    asyncio.run(check_plan(*found))


def warnings(found):
    async def gather():
        return [one.render() async for one in misfits(*found)]

    return asyncio.run(gather())


def test_pinned_models_that_fit_together_are_accepted(plan):
    check(plan({"a": {"ram": 10}, "b": {"ram": 6}, "c": {"ram": 99}}))


def test_pinned_models_that_do_not_fit_are_named_with_the_figures(plan):
    with pytest.raises(NotSupportedError) as refused:
        check(plan({"a": {"ram": 10}, "b": {"ram": 7, "gpu0": 1}, "c": {}}))
    assert refused.value.exit_code == 3
    words = str(refused.value)
    assert "RAM together: a 10.0 GiB, b 7.0 GiB are 17.0 GiB, and there are 16.0 GiB" in words
    assert "\n" not in words


def test_the_gpu_is_judged_too_and_so_is_the_budget(plan):
    with pytest.raises(NotSupportedError, match=r"GPU 0 together: b 9.0 GiB are 9.0 GiB"):
        check(plan({"a": {"ram": 1}, "b": {"gpu0": 9}}))
    with pytest.raises(NotSupportedError, match=r"a 3.0 GiB, b 2.0 GiB are 5.0 GiB, and budget.ram is 4.0 GiB"):
        check(plan({"a": {"ram": 3}, "b": {"ram": 2}}, '[budget]\nram = "4GiB"'))


def test_a_pinned_model_that_cannot_be_made_is_left_to_its_own_error(plan):
    check(plan({"a": {"ram": 10}}))


def test_pinned_models_that_may_not_be_together_are_refused_with_the_line(plan):
    with pytest.raises(ConfigurationError, match=r"line 11: scheduling.together: 'a' and 'b' are pinned"):
        check(plan({}, '[scheduling]\ntogether = [["a", "c"], ["b", "c"]]'))
    # One that is in no set may be there with any other.
    check(plan({}, '[scheduling]\ntogether = [["a", "c"]]'))


def test_the_model_for_tasks_must_chat(plan):
    needs = {"a": {}, "b": {}, "c": {}}
    check(plan(needs, '[tasks]\nmodel = "c"'))
    with pytest.raises(ConfigurationError, match=r"line 11: tasks.model: 'c' does not chat"):
        check(plan(needs, '[tasks]\nmodel = "c"', silent=("c",)))


def test_a_model_that_is_larger_than_the_machine_is_told_once_with_figures(plan):
    found = warnings(plan({"a": {"ram": 17}, "b": {"ram": 2}, "c": {"gpu0": 9}}, pinned=()))
    assert len(found) == 2
    assert found[0].startswith("models.a needs 17.0 GiB of RAM, and at most 16.0 GiB can be free for it")
    assert found[1].startswith("models.c needs 9.0 GiB of GPU 0, and at most 8.0 GiB")


def test_what_pinned_models_hold_is_not_free_for_others(plan):
    found = plan({"a": {"ram": 3}, "b": {"ram": 2}, "c": {"ram": 1}}, '[budget]\nram = "4GiB"', pinned=("a",))
    (one,) = warnings(found)
    assert one.startswith("models.b needs 2.0 GiB of RAM, and the [budget] leaves it 1.0 GiB")


def test_a_first_plan_counts_on_no_more_than_the_budget(monkeypatch):
    ram, card = (
        PlannedDevice(kind, DeviceModel("x", "x", "nvidia", kind=kind), Bytes(size * GIB))
        for kind, size in ((DeviceKind.RAM, 64), (DeviceKind.GPU, 24))
    )
    monkeypatch.setattr(first_plan, "this_machine", lambda: PlannedMachine("t", "t", (card,), ram))
    monkeypatch.setattr(first_plan.psutil, "virtual_memory", lambda: SimpleNamespace(available=32 * GIB))
    builds = {"llama.cpp": Installed("1", build="cuda"), "vllm": NotUsable(text("no"), text("install"))}
    finder = SimpleNamespace(find=builds.get)
    free = first_plan._machine_now(finder, BudgetSettings())
    assert (free.ram.memory, [one.memory for one in free.gpus]) == (32 * GIB, [24 * GIB])
    less = first_plan._machine_now(finder, BudgetSettings(ram="8GiB", gpu="10GiB"))
    assert (less.ram.memory, [one.memory for one in less.gpus]) == (8 * GIB, [10 * GIB])
    builds["llama.cpp"] = replace(builds["llama.cpp"], build="cpu")
    assert first_plan._machine_now(finder, BudgetSettings()).gpus == ()
