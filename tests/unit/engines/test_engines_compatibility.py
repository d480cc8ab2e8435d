"""The shipped facts: each has a source, a version that is one, and names that somebody can ask for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ansambl.domain.compatibility import DeviceClass, Platform, Verdict
from ansambl.domain.versions import version_key
from ansambl.engines.compatibility import compatibility_rows, read_facts, read_selector
from ansambl.engines.compatibility_notes import NOTES
from ansambl.model_catalog.catalog import catalog
from ansambl.planner.compatibility import judge

ROOT = Path(__file__).resolve().parents[3]
FACTS = compatibility_rows()


def test_every_row_names_a_source_and_versions_that_can_be_compared():
    for row in FACTS.rows:
        builds = FACTS.engines[row.engine].builds
        keys = [version_key(one, builds=builds) for one in (row.since or row.seen, row.until) if one]
        assert row.source.strip()
        assert keys == sorted(keys)
        assert not (row.since and row.seen)


def test_no_row_says_nothing():
    # A row without conditions is about the engine as a whole, and then its note is all it has.
    assert all(row.note for row in FACTS.rows if row.subject == "engine")


def test_every_note_is_used_and_every_code_has_its_sentence():
    assert {row.code for row in FACTS.rows if row.code} == set(NOTES)


def test_every_engine_runs_somewhere_and_every_interface_talks_to_somebody():
    for engine in FACTS.engines:
        mine = [row for row in FACTS.rows if row.engine == engine and row.verdict is not Verdict.NO]
        assert {"device", "format", "quantization", "family"} <= {row.subject for row in mine}
    for ui in FACTS.uis:
        assert any(ui in row.ui and row.verdict is Verdict.YES for row in FACTS.rows)


def test_no_combination_is_said_to_work_and_not_to_work_in_the_same_version():
    for engine in FACTS.engines:
        mine = [row for row in FACTS.rows if row.engine == engine]
        for bad in (row for row in mine if row.verdict is Verdict.NO):
            for good in (row for row in mine if row.verdict is not Verdict.NO and row.subject == bad.subject):
                same = all(
                    getattr(good, name) == getattr(bad, name)
                    for name in ("format", "quantization", "family", "device", "ui", "kv_type")
                )
                apart = good.until is not None and good.until == bad.since
                assert not same or apart, (good, bad)


def test_llama_cpp_knows_every_text_family_of_the_catalog():
    # GGUF files of all of them are listed there; what is not a text model, or newer than our build, may be unknown.
    unknown = {
        model.family for model in catalog().values()
        if judge(FACTS, "llama.cpp", family=model.family).verdict is not Verdict.YES
    }  # fmt: skip
    assert unknown <= {"whisper", "kimi_k25", "step3p7"}


def test_the_same_object_each_time_so_that_judgements_are_remembered():
    assert compatibility_rows() is FACTS


@pytest.mark.parametrize(("words", "inside", "outside"), [
    ("cuda>=8.0,<8.9", (8, 6), (8, 9)), ("cuda<7.0", (6, 1), (7, 0)), ("cuda>=12.0", (12, 1), (9, 0)),
])  # fmt: skip
def test_ranges_of_capabilities(words: str, inside: tuple[int, int], outside: tuple[int, int]):
    selector = read_selector(words)
    assert selector.accepts(DeviceClass(Platform.CUDA, inside))
    assert not selector.accepts(DeviceClass(Platform.CUDA, outside))
    assert not selector.accepts(DeviceClass(Platform.CUDA, None))
    assert not selector.accepts(DeviceClass(Platform.CPU))


def test_targets_of_amd():
    selector = read_selector("rocm:gfx110*,gfx1151")
    assert [selector.accepts(DeviceClass(Platform.ROCM, target=one)) for one in ("gfx1100", "gfx1151", "gfx1030")] == [
        True, True, False,
    ]  # fmt: skip
    assert not selector.accepts(DeviceClass(Platform.ROCM))


SMALL = {
    "collected": "2026-11-22", "families": {},
    "engines": [{"name": "e", "title": "E", "checked": "1.0"}], "uis": [{"name": "u", "title": "U"}],
}  # fmt: skip


@pytest.mark.parametrize(("row", "words"), [
    ({"engine": "x", "format": "gguf", "source": "s"}, "not listed"),
    ({"engine": "e", "ui": "x", "source": "s"}, "not listed"),
    ({"engine": "e", "format": "gguf"}, "no source"),
    ({"engine": "e", "formt": "gguf", "source": "s"}, "formt"),
    ({"engine": "e", "format": "gguf", "source": "s", "note": "x"}, "no note"),
    ({"engine": "e", "device": "cuda=>8", "source": "s"}, "names no devices"),
    ({"engine": "e", "device": "tpu", "source": "s"}, "tpu"),
    ({"engine": "e", "format": "gguf", "source": "s", "verdict": "maybe"}, "maybe"),
])  # fmt: skip
def test_a_mistake_in_the_data_is_told(row: dict, words: str):
    with pytest.raises(ValueError, match=words):
        read_facts({**SMALL, "rows": [row]})


def test_an_engine_gets_the_rows_of_the_one_that_it_carries_but_not_its_versions():
    table = {
        **SMALL,
        "engines": [{"name": "e", "title": "E", "checked": "b9", "builds": True}, {"name": "f", "title": "F",
                                                                                 "checked": "1.0"}],
        "rows": [{"engine": "e", "family": ["one", "two"], "since": "b7", "source": "s"},
                 {"engine": "f", "family": "two", "since": "0.4", "source": "own"}],
        "followers": [{"engine": "f", "carries": "e", "dimensions": ["family"], "format": "gguf", "source": "t"}],
    }  # fmt: skip
    facts = read_facts(table)
    one = judge(facts, "f", family="one")
    assert (one.verdict, one.since) == (Verdict.YES, None)
    assert one.reasons[0].source == "t; s"
    assert judge(facts, "f", family="two").since == "0.4"


def test_the_page_shows_what_the_data_says():
    path = ROOT / "tools" / "compatibility_page.py"
    spec = importlib.util.spec_from_file_location("compatibility_page", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(FACTS), "run: python tools/compatibility_page.py"
