"""Another configuration for a running Ansambl: what it changes, what it keeps, and what keeps it from being applied."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.configuration.settings_records import attachments
from ansambl.app.instance_making import InstanceMaker, Workshop
from ansambl.app.looked_up import LookedUp
from ansambl.app.reloading import Reloader, joined_with_plan
from ansambl.app.templates import ModelTemplates
from ansambl.domain.errors import ConfigurationError, EngineError, NotSupportedError
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.domain.plan import Attachment
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.foundation.clock import RealClock
from ansambl.foundation.paths import DataPaths
from ansambl.runtime.events import EventLog

MACHINE = Machine("t", "Linux", Cpu("x", "x86_64", 2, 2, 2, None), Memory(Bytes(8 * GIB), Bytes(8 * GIB)))


def here(name, command="run {port}", more=""):
    return f'[models.{name}]\ncommand = "{command}"\n{more}\n'


def there(name, port=9):
    return f'[models.{name}]\naddress = "http://127.0.0.1:{port}/v1"\n'


class Coordinator:
    """Notes what it is told; the instances that are `busy` are replaced when a test lets them."""

    def __init__(self, instances):
        self.instances = instances
        self.told, self.busy, self.failing = [], {}, set()

    @property
    def names(self):
        return list(self.instances)

    def instance(self, name):
        return self.instances[name]

    def statuses(self):
        return [SimpleNamespace(model=one) for one in self.instances]

    def use(self, rules, totals, limits):
        assert limits["ram"] <= totals["ram"]
        self.told.append(("use", rules.queue_limit, limits["ram"]))

    async def renew(self, name):
        self.told.append(("renew", name))

    async def replace(self, name, instance):
        if name in self.busy:
            await self.busy[name].wait()
        if name in self.failing:
            raise EngineError(text("it does not end"))
        self.told.append(("replace", name, type(instance).__name__ if instance is not None else None))
        self.instances = {one: found for one, found in {**self.instances, name: instance}.items() if found is not None}


class Stage:
    def __init__(self, folder, source, made=()):
        self.file = folder / "ansambl.toml"
        self.paths = DataPaths(folder / "data")
        self.events = EventLog()
        loaded = self.read(source)
        none = None
        shop = Workshop(self.paths, none, none, self.events, RealClock(), none,
                        SimpleNamespace(on_ready=none, on_work=none), lambda: MACHINE)  # fmt: skip
        maker = InstanceMaker.of(loaded, shop)
        self.coordinator = Coordinator(
            {one: maker.deferred(one) if one in maker.models() else object() for one in loaded.settings.models}
        )
        self.asked = []
        self.product = SimpleNamespace(
            maker=maker, footprints=none, attached={one.model: one for one in attachments(loaded)},
            coordinator=self.coordinator, events=self.events, lora_source=none, catalog=catalog_of(loaded),
            resolver=SimpleNamespace(use=lambda catalog: self.asked.append(sorted(catalog.models))),
            conversations=SimpleNamespace(use=self.keep), service=SimpleNamespace(use=lambda *_: None),
            templates=ModelTemplates({}), details=LookedUp({}, what="details"),
            front=SimpleNamespace(check=lambda _: [], use=lambda _: None),
            knowledge=SimpleNamespace(follow=lambda _: False), keeper=SimpleNamespace(wake=lambda: None),
            gateway=SimpleNamespace(use=lambda **settings: self.asked.append(settings)),
        )  # fmt: skip
        for name in made:
            self.coordinator.instance(name).prepare()
        self.reloader = Reloader(self.product)

    async def keep(self, budget):
        self.kept_bytes = budget

    def read(self, source):
        self.file.write_text(source, encoding="utf-8")
        return load_settings(self.file, environment={})

    async def reload(self, source):
        loaded = self.read(source)
        prepared = await self.reloader.prepare(loaded)
        await self.reloader.apply(prepared, catalog_of(loaded))
        return prepared


@pytest.fixture
def stage(tmp_path):
    return lambda *models, made=(): Stage(tmp_path, "".join(models), made)


async def test_models_that_are_as_they_were_keep_their_engines(stage):
    found = stage(here("a"), here("b"), there("x"), made=("a", "b"))
    # Written otherwise, with another time to live and more beside them.
    prepared = await found.reload(
        there("x") + here("b") + here("a", more='ttl = "5m"') + "[scheduling]\nqueue_limit = 7\n"
        "[conversations]\nbudget = 5\n"
    )
    assert sorted(prepared.kept) == ["a", "b", "x"]
    assert (prepared.added, prepared.changed, prepared.fresh, prepared.removed) == ([], [], [], [])
    assert found.coordinator.told[0] == ("use", 7, 8 * GIB)
    assert found.kept_bytes == 5
    # The scheduler hears of the new time to live.
    assert set(found.coordinator.told[1:]) == {("renew", name) for name in "abx"}


async def test_what_changed_is_replaced_what_is_new_is_there_at_once_what_is_gone_goes(stage):
    found = stage(here("a"), here("b"), here("c"), there("x"), there("y"), made=("a", "b", "c"))
    prepared = await found.reload(here("a") + here("b", "run-other {port}") + here("d") + there("x", 10) + there("y"))
    await found.reloader.settled()
    assert (prepared.added, sorted(prepared.changed), prepared.removed) == (["d"], ["b", "x"], ["c"])
    assert sorted(prepared.kept) == ["a", "y"]
    assert next(one for one in found.coordinator.told if one[0] == "replace") == ("replace", "d", "DeferredInstance")
    assert {one for one in found.coordinator.told if one[0] == "replace"} == {
        ("replace", "d", "DeferredInstance"), ("replace", "b", "DeferredInstance"), ("replace", "c", None),
        ("replace", "x", "AttachedInstance"),
    }  # fmt: skip
    assert {(one.model, one.kind) for one in found.events.recent()} >= {("b", "replaced"), ("c", "removed")}


async def test_a_model_that_was_never_started_takes_its_new_settings_without_a_word(stage):
    found = stage(here("a"))
    prepared = await found.reload(here("a", "run-other {port}"))
    await found.reloader.settled()
    assert (prepared.fresh, prepared.changed) == (["a"], [])
    assert [one.kind for one in found.events.recent()] == ["unknown_memory"]


async def test_names_are_gone_and_there_while_engines_still_answer(stage):
    found = stage(here("a"), here("b"), made=("a", "b"))
    found.coordinator.busy = {"a": asyncio.Event(), "b": asyncio.Event()}
    await asyncio.wait_for(found.reload(here("b", "run-other {port}") + here("c")), 5)
    assert ["b", "c"] in found.asked
    assert found.coordinator.names == ["a", "b", "c"]
    for one in found.coordinator.busy.values():
        one.set()
    await found.reloader.settled()
    assert sorted(found.coordinator.names) == ["b", "c"]


async def test_a_second_reload_waits_for_what_the_first_one_still_replaces(stage):
    found = stage(here("a"), made=("a",))
    found.coordinator.busy = {"a": asyncio.Event()}
    await found.reload(here("a", "second {port}"))
    again = asyncio.create_task(found.reload(here("a", "third {port}")))
    await asyncio.sleep(0)
    assert not again.done()
    found.coordinator.busy.pop("a").set()
    await asyncio.wait_for(again, 5)
    await found.reloader.settled()
    assert [one for one in found.coordinator.told if one[0] == "replace"] == [("replace", "a", "DeferredInstance")] * 2


async def test_what_is_still_being_removed_is_there_anew_when_it_is_wanted_again(stage):
    found = stage(here("a"), here("b"), made=("a", "b"))
    found.coordinator.busy = {"a": asyncio.Event(), "b": asyncio.Event()}
    await found.reload(here("b", "second {port}"))
    # Back to what there was: the old engine of neither is what is wanted by then.
    again = asyncio.create_task(found.reload(here("a") + here("b")))
    await asyncio.sleep(0)
    for one in found.coordinator.busy.values():
        one.set()
    prepared = await asyncio.wait_for(again, 5)
    await found.reloader.settled()
    assert (prepared.added, prepared.changed, prepared.kept) == (["a"], ["b"], [])
    replaced = [one for one in found.coordinator.told if one[0] == "replace"]
    assert sorted(replaced[:2]) == sorted([("replace", "a", None), ("replace", "b", "DeferredInstance")])
    assert replaced[2:] == [("replace", "a", "DeferredInstance"), ("replace", "b", "DeferredInstance")]
    assert sorted(found.coordinator.names) == ["a", "b"]


async def test_an_engine_that_does_not_end_is_told_and_the_rest_goes_on(stage):
    found = stage(here("a"), here("b"), made=("a", "b"))
    found.coordinator.failing = {"a"}
    await found.reload(here("b"))
    await found.reloader.settled()
    assert [(one.model, one.kind) for one in found.events.recent() if one.kind != "unknown_memory"] == [("a", "failed")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[tasks]\nmodel = 'z'", "line 5: tasks.model: there is no"),
        ("[budget]\nram = 0", "line 5: budget.ram is 0"),
        (there("x") + 'key_env = "ANSAMBL_NO_SUCH_KEY"', "ANSAMBL_NO_SUCH_KEY is not set"),
        (here("b", more="pinned = true") + here("c", more="pinned = true")
         + '[scheduling]\ntogether = [["b"], ["c"]]', "'b' and 'c' are pinned, and no set has both"),
    ],
)  # fmt: skip
async def test_a_configuration_that_cannot_be_used_changes_nothing(stage, more, message):
    found = stage(here("a"), made=("a",))
    before = found.product.maker
    with pytest.raises((ConfigurationError, NotSupportedError), match=message):
        await found.reload(here("a", "other {port}") + more)
    assert (found.coordinator.told, found.asked, found.product.maker) == ([], [], before)


async def test_open_webui_takes_its_table_at_the_next_start_and_that_is_said_once(stage):
    found = stage(here("a"), made=("a",))
    changed = here("a") + "[open_webui]\nport = 9000\n"
    words = "The table [open_webui] has changed; that holds from the next start of Ansambl"
    assert [one.render() for one in (await found.reload(changed)).warnings] == [words]
    assert (await found.reload(changed)).warnings == []


async def test_a_server_that_was_offered_stands_in_until_a_model_is_configured(tmp_path):
    stage = Stage(tmp_path, "")
    offered = Attachment("found", "http://127.0.0.1:9/v1", "found")
    stage.coordinator.instances, stage.product.attached = {"found": object()}, {"found": offered}
    stage.reloader = Reloader(stage.product, offered)
    prepared = await stage.reloader.prepare(stage.read("[scheduling]\nqueue_limit = 3\n"))
    assert (prepared.kept, prepared.removed, prepared.added) == (["found"], [], [])
    prepared = await stage.reloader.prepare(stage.read(here("a")))
    assert (prepared.kept, prepared.removed, prepared.added) == ([], ["found"], ["a"])


def settings(tmp_path: Path, source: str):
    file = tmp_path / "ansambl.toml"
    file.write_text(source, encoding="utf-8")
    return load_settings(file, environment={})


@pytest.mark.parametrize(
    ("source", "tables"),
    [
        ("[gateway]\nport = 1", "[gateway]"), ("[gateway]\nhost = '::1'", "[gateway]"),
        ("[data]\nfolder = 'x'", "[data]"), ("[data]\nfolder = 'x'\n[gateway]\nport = 1", "[gateway], [data]"),
        ("[gateway]\nmax_body = '1MiB'\ndrain = 3", None), ("[budget]\nram = '1GiB'", None),
        ("[recovery]\nsilence = 9\n[conversations]\npersist = false", None),
    ],
)  # fmt: skip
def test_only_the_address_and_the_data_folder_need_a_restart(tmp_path, source, tables):
    before = settings(tmp_path, here("a"))
    after = settings(tmp_path, here("a") + source)
    if tables is None:
        assert joined_with_plan(before, after, before).settings == after.settings
        return
    with pytest.raises(ConfigurationError) as refused:
        joined_with_plan(before, after, before)
    assert f"because {tables} changed too" in str(refused.value)


def test_what_was_planned_stays_until_the_file_names_models(tmp_path):
    before = settings(tmp_path, "")
    planned = settings(tmp_path, here("planned") + "[roles.coder]\nmodel = 'planned'\n")
    after = settings(tmp_path, "[roles.brief]\nmax_tokens = 9\n[budget]\nram = '1GiB'\n")
    found = joined_with_plan(before, after, planned).settings
    assert list(found.models) == ["planned"]
    assert (found.roles["coder"].model, found.roles["brief"].max_tokens, found.budget.ram) == ("planned", 9, GIB)
    found = joined_with_plan(before, settings(tmp_path, here("own")), planned).settings
    assert (list(found.models), dict(found.roles)) == (["own"], {})
