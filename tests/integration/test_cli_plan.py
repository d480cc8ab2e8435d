"""``ansambl plan`` as users call it: options side by side for people, for scripts and as a page."""

import json
import re

import pytest
from called_commands import called

from ansambl.foundation.locales import speak

pytestmark = pytest.mark.usefixtures("own_folder")


def run(capsys, *arguments):
    return called(capsys, "plan", *arguments)


def plan(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    return code, json.loads(out)


def test_the_document_has_the_promised_keys(capsys):
    code, found = plan(capsys, "--machine", "rtx-pro-6000-128g")
    assert code == 0
    assert {"machines", "goal", "recommended", "options"} <= found.keys()
    assert (found["machines"], found["goal"]) == (["rtx-pro-6000-128g"], "balanced")
    ids = [one["id"] for one in found["options"]]
    assert ids[:3] == ["one-big", "several", "second-machine"]
    assert "vram-and-ram" in ids
    assert found["recommended"] in ids
    for option in found["options"]:
        assert {"id", "title", "fits", "placements", "roles", "prefix_groups", "swaps_expected_per_hour", "for",
                "against"} <= option.keys()  # fmt: skip
        known = {one["id"] for one in option["placements"]}
        assert set(option["roles"].values()) <= known
        for placement in option["placements"]:
            assert {"id", "model", "quantization", "engine", "machine", "devices", "context", "parallel", "residency",
                    "footprint", "speed"} <= placement.keys()  # fmt: skip
            assert placement["residency"] in {"resident", "swapped"}
            assert placement["fits"]
        assert all(one["code"] and one["text"] and one["source"] for one in (*option["for"], *option["against"]))
    big = found["options"][0]
    assert {"coder", "reasoner", "brief", "philosopher"} <= big["roles"].keys()
    assert len({big["roles"][one] for one in ("coder", "reasoner", "brief", "philosopher")}) == 1
    assert any({"coder", "reasoner", "brief", "philosopher"} <= set(group) for group in big["prefix_groups"])


def test_what_is_resident_together_stays_within_each_device(capsys):
    _, found = plan(capsys, "--machine", "rtx-pro-6000-128g", "--machine", "rtx-4090-64g")
    assert found["machines"] == ["rtx-pro-6000-128g", "rtx-4090-64g"]
    for option in found["options"]:
        needed, usable = {}, {}
        for placement in option["placements"]:
            assert placement["residency"] == "resident"
            for device in placement["footprint"]["devices"]:
                key = (placement["machine"], device["kind"], device["index"])
                needed[key] = needed.get(key, 0) + device["needed_bytes"]
                usable[key] = max(usable.get(key, 0), device["usable_bytes"])
        assert all(size <= usable[key] for key, size in needed.items())
    second = next(one for one in found["options"] if one["id"] == "second-machine")
    assert {one["machine"] for one in second["placements"]} == {"rtx-pro-6000-128g", "rtx-4090-64g"}


def test_two_machines_of_one_kind_are_two(capsys):
    _, found = plan(capsys, "--machine", "rtx-4090-64g", "--machine", "rtx-4090-64g", "--context", "8192")
    assert len(set(found["machines"])) == 2


def test_only_the_models_and_roles_that_are_named(capsys):
    code, found = plan(
        capsys, "--machine", "rtx-pro-6000-128g", "--model", "openai/gpt-oss-120b", "--roles", "coder,brief"
    )
    assert code == 0
    big = found["options"][0]
    assert {"coder", "brief"} <= big["roles"].keys()
    assert "philosopher" not in big["roles"]
    serving = {one["id"]: one["model"] for one in big["placements"]}
    assert serving[big["roles"]["coder"]] == "openai/gpt-oss-120b"


def test_what_fits_nowhere_ends_with_three(capsys, tmp_path):
    (tmp_path / "tiny.toml").write_text('[ram]\nmemory = "2GiB"\n')
    code, found = plan(capsys, "--machine", "tiny.toml", "--model", "meta-llama/Llama-3.3-70B-Instruct")
    assert code == 3
    assert found["recommended"] is None
    assert found["rejected"]


def test_people_see_options_bars_and_the_recommendation(capsys):
    code, out, _ = run(capsys, "--machine", "rtx-4090-64g")
    assert code == 0
    for words in ("One big model that all roles share", "Several models side by side", "A second machine", "█",
                  "Recommended:", "Left out", " +  ", " −  ", "ansambl buy"):  # fmt: skip
        assert words in out


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_page_is_whole_in_itself(capsys, tmp_path, monkeypatch, language):
    monkeypatch.setattr(speak, "language", language)
    code, _, err = run(capsys, "--machine", "rtx-pro-6000-128g", "--html", "plan.html")
    assert code == 0
    assert "plan.html" in err
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert f'<html lang="{language}">' in page
    assert ("План Ansambl" if language == "ru" else "Ansambl plan") in page
    assert "default-src 'none'" in page
    # Nothing is loaded from anywhere and nothing runs.
    assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|\bon\w+=|url\(|@import", page)
    assert page.count("<section") >= 4
    assert page.count('class="bar"') >= 4
    assert list(tmp_path.glob(".plan.html*")) == []


def test_what_was_left_out_is_folded_on_the_page_where_something_fits(capsys, tmp_path):
    (tmp_path / "bare.toml").write_text('[ram]\nmemory = "64GiB"\n')
    (tmp_path / "tiny.toml").write_text('[ram]\nmemory = "2GiB"\n')
    assert run(capsys, "--machine", "bare.toml", "--html", "plan.html")[0] == 0
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert re.search(r'<details id="left-out"><summary>Left out \(\d+\)</summary>', page)
    # A machine whose name is all that is known of it is named once.
    assert "<dd>bare</dd>" in page
    impossible = ("--model", "meta-llama/Llama-3.3-70B-Instruct", "--html", "none.html")
    assert run(capsys, "--machine", "tiny.toml", *impossible)[0] == 3
    page = (tmp_path / "none.html").read_text(encoding="utf-8")
    assert '<details id="left-out" open>' in page


def test_a_name_in_a_machine_file_is_text_on_the_page(capsys, tmp_path):
    (tmp_path / "x.toml").write_text('title = "<script>alert(1)</script>"\n[ram]\nmemory = "64GiB"\n')
    assert run(capsys, "--machine", "x.toml", "--context", "4096", "--html", "x.html")[0] == 0
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--goal", "deepth"), "depth"),
        (("--roles", "codr"), "coder"),
        (("--machine", "rtx-409"), "rtx-4090-64g"),
        (("--model", "gpt-oss-12b"), "gpt-oss-120b"),
        (("--context", "0"), "context is 0"),
        (("--parallel", "0"), "parallel is 0"),
        (("--json", "--html", "x.html"), "--html and --json"),
        (("--html", "no/such/folder/x.html"), "no/such/folder/x.html"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capsys, arguments, words):
    more = () if "--machine" in arguments else ("--machine", "rtx-4090-64g")
    code, out, err = run(capsys, *arguments, *more)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
