"""Putting a plan into effect: what it would do, and how the file is written so that nothing is lost."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.plan_change import change_for, checkpoint_of, option_of, with_references
from ansambl.app.plan_question import PlanQuestion, answer_plan
from ansambl.app.plan_writing import PlanChangedError, check_change, put_back, write_configuration
from ansambl.app.planning import catalog_candidates, source_of
from ansambl.domain.errors import CheckpointError, ConfigurationError, NotFoundError, NotSupportedError
from ansambl.domain.planning import Goal
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths

WRITTEN = """# Mine.
[models.mine]
checkpoint = "mine.gguf"

[models.far]
address = "http://127.0.0.1:9/v1"

[roles.coder]
model = "mine"
instruction = "Short."  # as I like it
"""


@pytest.fixture(scope="module")
def plan():
    question = PlanQuestion(
        machines=("cpu-13900k-64g",), goal=Goal.BALANCED, roles=("coder", "brief"), context=4096, helpers=False,
        fetchable=True,
    )  # fmt: skip
    return answer_plan(question)


@pytest.fixture
def paths(tmp_path):
    found = DataPaths(tmp_path / "data")
    found.create()
    return found


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "ansambl.toml"
    made.write_text(WRITTEN, encoding="utf-8")
    made.chmod(0o640)
    return made


@pytest.fixture
def change(plan, paths, file):
    return change_for(plan.best, load_settings(file), paths)


def left(folder):
    return sorted(one.name for one in folder.iterdir() if one.is_file())


def test_it_is_told_what_goes_what_stays_and_what_is_fetched(change, plan, file):
    assert change.replaced == change.stops == ("mine",)
    assert change.kept == ("far",)
    assert change.file == file
    assert not change.creates
    assert [one.here for one in change.fetches] == [False] * len(plan.best.placements)
    assert change.size == sum(one.candidate.size for one in plan.best.placements)
    made = tomllib.loads(change.source)
    names = list(change.models)
    assert list(made["models"]) == [*names, "far"]
    assert all(one["checkpoint"].count("/") >= 1 for one in change.models.values())
    # Nobody is left with a model that is gone.
    assert made["roles"]["coder"].get("model") in {None, *names}
    assert made["roles"]["coder"]["instruction"] == "Short."
    assert tomllib.loads(change.text)["models"] == dict(change.models)


def test_the_old_file_is_kept_beside_and_its_mode_and_line_ends_too(plan, paths, file):
    file.write_bytes(WRITTEN.replace("\n", "\r\n").encode())
    before = file.read_bytes()
    change = change_for(plan.best, load_settings(file), paths)
    backup = write_configuration(change, load_settings)
    assert backup is not None
    assert backup.read_bytes() == before
    assert (file.stat().st_mode & 0o777, backup.stat().st_mode & 0o777) == (0o640, 0o640)
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n")
    assert set(load_settings(file).settings.models) == {*change.models, "far"}
    put_back(change, backup)
    assert (file.read_bytes(), left(file.parent)) == (before, ["ansambl.toml"])


def test_a_configuration_that_cannot_be_used_is_never_written(change, file):
    def refuses(path):
        raise ConfigurationError("no")

    with pytest.raises(ConfigurationError):
        write_configuration(change, refuses)
    with pytest.raises(ConfigurationError):
        write_configuration(replace(change, source="[models.x]\nnonsense = 1\n"), load_settings)
    assert (file.read_text(encoding="utf-8"), left(file.parent)) == (WRITTEN, ["ansambl.toml"])


@pytest.mark.parametrize("now", [WRITTEN + "# later\n", "", None])
def test_a_file_that_was_changed_meanwhile_is_left_alone(change, file, now):
    if now is None:
        file.unlink()
    else:
        file.write_text(now, encoding="utf-8")
    with pytest.raises(PlanChangedError):
        write_configuration(change, load_settings)
    assert (file.read_text(encoding="utf-8") if file.exists() else None) == now


def test_a_link_and_a_mark_of_the_encoding_stay(plan, paths, tmp_path):
    target, link = tmp_path / "elsewhere.toml", tmp_path / "ansambl.toml"
    target.write_text("\ufeff" + WRITTEN, encoding="utf-8")
    link.symlink_to(target)
    change = change_for(plan.best, load_settings(link), paths)
    write_configuration(change, load_settings)
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "\ufeff" + change.source


def test_names_that_the_hub_gives_change_the_plan_s_tables_alone(plan, paths, file):
    planned = change_for(plan.best, load_settings(file), paths).fetches[0].reference
    mine = f'# checkpoint = "{planned}"\n[roles.copier]\ninstruction = \'checkpoint = "{planned}"\'\n'
    file.write_text(WRITTEN + mine, encoding="utf-8")
    change = with_references(change_for(plan.best, load_settings(file), paths), {planned: "other/repo:Q4_K_M"})
    made = tomllib.loads(change.source)
    assert mine in change.source
    assert "other/repo:Q4_K_M" in {one.get("checkpoint") for one in made["models"].values()}
    assert planned not in {one.get("checkpoint") for one in made["models"].values()}


def test_without_a_file_the_user_s_own_is_made_and_taken_back(plan, paths, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    change = change_for(plan.best, load_settings(), paths)
    assert change.creates
    assert change.stops == ("embedded",)
    assert change.file == tmp_path / "config" / "ansambl" / "ansambl.toml"
    assert write_configuration(change, load_settings) is None
    assert load_settings().file == change.file
    assert change.file.stat().st_mode & 0o777 == 0o600
    put_back(change, None)
    assert not change.file.exists()


def test_what_cannot_be_written_or_has_no_room_is_refused(change, tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_configuration(replace(change, file=blocked / "ansambl.toml"), load_settings)
    with pytest.raises(CheckpointError, match="free"):
        check_change(replace(change, free=Bytes(change.size)))
    check_change(replace(change, free=Bytes(change.size + 2**30)))


def test_agreement_is_to_just_this(change):
    assert change.digest == replace(change).digest
    assert change.digest != replace(change, source=change.source + "#").digest
    assert change.digest != replace(change, old="").digest


def test_an_option_that_does_not_fit_or_exist_is_refused(plan):
    with pytest.raises(NotFoundError, match="one-big"):
        option_of(plan, "nothing")
    with pytest.raises(NotSupportedError):
        option_of(plan, next(one.id for one in plan.options if not one.fits))


def test_a_checkpoint_that_no_source_has_is_said_and_a_plan_can_do_without(plan):
    nowhere = next(one for one in catalog_candidates() if source_of(one) is None)
    with pytest.raises(NotSupportedError, match="no source names"):
        checkpoint_of(nowhere)
    assert all(source_of(one.candidate) for option in plan.options for one in option.placements)
