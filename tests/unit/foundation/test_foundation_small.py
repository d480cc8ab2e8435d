"""Clock, paths, registry and languages."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.foundation import locales, paths
from ansambl.foundation.clock import RealClock, VirtualClock
from ansambl.foundation.paths import DataPaths, write_atomically
from ansambl.foundation.registry import Registry, UnknownEntryError


async def test_virtual_sleepers_wake_in_order_at_their_moment():
    clock, seen = VirtualClock(100.0), []

    async def sleeper(name, seconds):
        await clock.sleep(seconds)
        seen.append((name, clock.now()))
        await clock.sleep(1)
        seen.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(*one)) for one in (("b", 5), ("a", 2), ("c", 5), ("now", 0))]
    await asyncio.sleep(0)
    await clock.advance(1.5)
    assert seen == [("now", 100.0), ("now", 101.0)]
    await clock.advance(10)
    assert seen[2:] == [("a", 102.0), ("a", 103.0), ("b", 105.0), ("c", 105.0), ("b", 106.0), ("c", 106.0)]
    assert clock.now() == 111.5
    await asyncio.gather(*tasks)


async def test_a_cancelled_virtual_sleeper_disturbs_nobody():
    clock = VirtualClock()
    gone = asyncio.create_task(clock.sleep(1))
    stays = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    gone.cancel()
    await clock.advance(2)
    assert gone.cancelled()
    assert stays.done()


async def test_the_real_clock_moves():
    clock = RealClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now() > 1_600_000_000


def test_writing_replaces_whole_and_private(tmp_path):
    target = tmp_path / "file"
    write_atomically(target, b"one")
    assert target.stat().st_mode & 0o777 == 0o600
    write_atomically(target, b"two", mode=0o644)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_crash_in_the_middle_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, step):
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def crash(*args, **kwargs):
        raise KeyboardInterrupt

    owner = "ansambl.foundation.paths.os.fsync" if step == "fsync" else f"ansambl.foundation.paths.Path.{step}"
    with monkeypatch.context() as patch:
        patch.setattr(owner, crash)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_the_folders_are_private_and_making_them_twice_is_nothing(tmp_path):
    found = DataPaths(tmp_path / "deep" / "data")
    found.create()
    found.create()
    for folder in (found.root, found.models, found.logs, found.backups):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(one.name for one in found.root.iterdir()) == ["backups", "logs", "models"]


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        DataPaths(tmp_path / "file" / "data").create()
    with pytest.raises(FileExistsError):
        DataPaths(tmp_path / "file").create()


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(paths.DATA_VARIABLE, "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.default_data_folder() == tmp_path / "somewhere"
    monkeypatch.setenv(paths.DATA_VARIABLE, "relative")
    assert paths.default_data_folder().is_absolute()
    monkeypatch.delenv(paths.DATA_VARIABLE)
    assert paths.default_data_folder().name == "ansambl"
    assert paths.default_configuration_file().name == "ansambl.toml"


def test_a_registry_makes_things_once_and_only_when_asked():
    registry = Registry({"list": "builtins:list", "broken": "no_such_module_here:thing"})
    assert list(registry) == ["list", "broken"]
    assert "list" in registry
    assert registry.get("list") is registry.get("list")
    with pytest.raises(UnknownEntryError, match="lits"):
        registry.get("lits")
    with pytest.raises(ModuleNotFoundError):
        registry.get("broken")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "en"), ("", "en"), ("ru", "ru"), ("ru-RU,ru;q=0.9,en-US;q=0.8", "ru"), ("en;q=0.2,ru", "ru"),
        ("ru; q=0.9, en;q=0.1", "ru"), ("ru ; q=0.3, en ;q=0.9", "en"), ("ru;q=0", "en"), ("ru;q=0,en;q=0", "en"),
        ("ru;q=nan,en;q=0.1", "en"), ("fr,de;q=0.9,ru;q=0.1", "ru"), ("*", "en"), ("RU;Q=1.000", "ru"),
        (",,;q=1,;;", "en"), ("ru;q=" + "9" * 5000, "en"),
    ],
)  # fmt: skip
def test_the_browsers_languages(header, language):
    assert locales.language_of_header(header) == language


@given(st.text())
def test_any_header_gives_a_language(header):
    assert locales.language_of_header(header) in locales.LANGUAGES


@pytest.mark.parametrize(
    ("tag", "language"),
    [("ru_RU.UTF-8", "ru"), ("ru-RU", "ru"), ("RU", "ru"), ("en.UTF-8", "en"), ("C", None), ("rus", None), ("", None)],
)
def test_tags_of_languages(tag, language):
    assert locales.supported(tag) == language


def test_the_environments_language(monkeypatch):
    for name in ("ANSAMBL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert locales.language_of_environment() == "en"
    monkeypatch.setenv("LANG", "ru_RU.UTF-8")
    assert locales.language_of_environment() == "ru"
    monkeypatch.setenv("LC_ALL", "C")
    assert locales.language_of_environment() == "en"
    monkeypatch.setenv("ANSAMBL_LANG", "ru")
    assert locales.language_of_environment() == "ru"


@pytest.mark.parametrize(
    ("arguments", "language"),
    [
        ([], "en"), (["--lang", "ru"], "ru"), (["up", "--lang=ru"], "ru"), (["--lang"], "en"), (["--lang", "xx"], "en"),
        (["--lang=ru", "--lang", "en"], "en"), (["--language=ru"], "en"),
    ],
)  # fmt: skip
def test_the_command_lines_language(monkeypatch, arguments, language):
    monkeypatch.setattr(locales.speak, "language", "en")
    locales.choose_language(arguments)
    assert locales.speak.language == language


def test_what_is_not_translated_stays_english(monkeypatch):
    monkeypatch.setattr(locales.speak, "language", "ru")
    assert locales.speak("no such sentence {gap}") == "no such sentence {gap}"
    assert locales.translator("en")("as it is") == "as it is"
