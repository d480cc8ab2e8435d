"""``status`` and ``instances`` as people see them, and usage read from the database without a running Ansambl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ansambl.app
from ansambl.api.schemas import InstanceDocument, SpeedDocument
from ansambl.cli.instance_words import device_name, print_devices, print_instances, progress
from ansambl.cli.main import main
from ansambl.foundation.clock import RealClock
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.runtime.usage import UsageBook

GIB = 2**30


def instance(**fields: Any) -> dict[str, Any]:
    return InstanceDocument(model="big", engine="llama.cpp", state="ready", **fields).model_dump()


def test_memory_waiting_and_speed_of_an_instance_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_instances([
        instance(
            reserved={"gpu0": 60 * GIB, "ram": GIB}, waiting=3, waiting_by_class={"batch": 2, "interactive": 1},
            speed=SpeedDocument(decode=41.26), cached_share=0.875, load_seconds=65.4, residency="loading", swaps=2,
        )
    ])  # fmt: skip
    # The last column may be folded.
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "GPU 0 60.0 GiB, RAM 1.0 GiB (forecast)", "41.3 tokens/s", "0 running, 3 waiting (batch 2, interactive 1)",
        "88% of prompts from the cache", "loaded in 65.4 s", "is loading", "swaps: 2",
    ):  # fmt: skip
        assert words in shown


def test_memory_that_was_measured_is_not_called_a_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    print_instances([instance(reserved={"ram": GIB}, measured=True)])
    shown = capsys.readouterr().out
    assert "RAM 1.0 GiB" in shown
    assert "forecast" not in shown


@pytest.mark.parametrize(
    ("residency", "wanted", "words"),
    [
        ("in", None, ""),
        ("loading", None, "is loading"),
        ("draining", "code", "finishes its answers, then makes room for code"),
        ("draining", None, "finishes its answers, then rests"),
        ("leaving", "code", "makes room for code"),
    ],
)
def test_how_a_swap_goes_is_said(residency: str, wanted: str | None, words: str) -> None:
    assert progress(instance(residency=residency, wanted=wanted)) == words


def test_a_device_is_a_bar_of_what_is_reserved_and_what_others_hold(capsys: pytest.CaptureFixture[str]) -> None:
    print_devices([{"device": "gpu0", "capacity": 8 * GIB, "reserved": 4 * GIB, "foreign": 2 * GIB}])
    shown = capsys.readouterr().out
    assert "GPU 0" in shown
    assert shown.count("█") == 16 + 1  # half of 32 letters, and the legend
    assert shown.count("▓") == 8 + 1
    assert "4.0 GiB reserved, 2.0 GiB held by others, of 8.0 GiB" in shown


def test_nothing_is_drawn_where_nobody_counts_memory(capsys: pytest.CaptureFixture[str]) -> None:
    print_devices([])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("device", "name"), [("gpu10", "GPU 10"), ("ram", "RAM"), ("amd-gpu1", "amd-gpu1")])
def test_devices_have_names_for_people(device: str, name: str) -> None:
    assert device_name(device) == name


def test_usage_is_read_without_a_running_ansambl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path))
    database = Database(DataPaths(tmp_path).database, load_migrations(Path(ansambl.app.__file__).parent / "migrations"))
    book = UsageBook(database, RealClock())
    used = book.of("big", "coder")
    used.requests, used.prompt_tokens, used.cached_tokens, used.queued_seconds = 4, 100, 60, 2.0
    book.write()
    database.close()
    assert main(["instances", "usage", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["usage"]
    assert (row["model"], row["name"], row["requests"], row["cached_tokens"]) == ("big", "coder", 4, 60)
    assert main(["instances", "usage"]) == 0
    shown = capsys.readouterr().out
    assert "60%" in shown
    assert "0.50 s" in shown


def test_usage_of_nothing_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path))
    assert main(["instances", "usage", "--days", "3"]) == 0
    assert main(["instances", "usage", "--days", "0"]) == 2


def test_without_a_running_ansambl_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path))
    for words in (["list"], ["wake", "big"], ["sleep", "big", "--level", "2"], ["stop", "big"]):
        assert main(["instances", *words]) == 1
        assert capsys.readouterr().err == "error: Ansambl is not running; start it with: ansambl up\n"
