"""``ansambl buy`` as users call it, for machines that nobody here owns."""

import json

import pytest
from called_commands import called

from ansambl.app import purchase
from ansambl.app.planning import candidates_of
from ansambl.model_catalog.catalog import find_model

FEW = tuple(
    one for name in ("gpt-oss-20b", "qwen3-8b", "qwen3-32b", "qwen3-embedding-0.6b")
    for one in candidates_of(find_model(name)) if one.quantization in {"MXFP4", "Q4_K_M", "Q8_0", "BF16"}
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(autouse=True)
def few_models(monkeypatch):
    # A few models say as much about the command as all of them, and sooner.
    monkeypatch.setattr(purchase, "catalog_candidates", lambda: FEW)


def run(capsys, *arguments):
    return called(capsys, "buy", *arguments)


def test_the_document_has_the_promised_keys_and_its_sums_are_right(capsys):
    code, out, _ = run(capsys, "--machine", "rtx-4080-64g", "--budget", "$4,000", "--json")
    assert code == 0
    found = json.loads(out)
    assert {"machines", "goal", "budget", "prices_date", "options", "recommended"} <= found.keys()
    assert (found["machines"], found["goal"], found["budget"]) == (["rtx-4080-64g"], "balanced", 4000.0)
    ids = [one["id"] for one in found["options"]]
    assert ids[-2:] == ["no-gpu", "nothing"]
    assert found["recommended"] in ids
    for one in found["options"]:
        assert {
            "id", "title", "parts", "usd", "watts", "machine", "adds", "against", "gain", "gain_per_1000_usd",
            "plan_recommended",
        } <= one.keys()  # fmt: skip
        assert one["usd"]["high"] <= 4000
        assert one["usd"]["low"] == pytest.approx(sum(part["usd"]["low"] for part in one["parts"]))
        assert one["usd"]["high"] == pytest.approx(sum(part["usd"]["high"] for part in one["parts"]))
        assert all(part["date"] and part["source"] and part["count"] >= 1 for part in one["parts"])
        assert all(reason["text"] and reason["source"] for reason in (*one["adds"], *one["against"]))
        if one["gain"] > 0:
            middle = (one["usd"]["low"] + one["usd"]["high"]) / 2
            assert one["gain_per_1000_usd"] == pytest.approx(one["gain"] * 1000 / middle, abs=0.02)
            assert one["plan_recommended"]["fits"]


def test_people_read_a_table_with_reasons_and_how_to_use_their_own_prices(capsys):
    code, out, err = run(capsys, "--machine", "rtx-4080-64g", "--budget", "3000")
    assert code == 0
    for words in (
        "What to buy",
        "Recommended: ",
        "No GPU: search, knowledge and interface only",
        "Buy nothing",
        "Parts",
    ):
        assert words in out
    assert "--prices FILE" in err
    assert "Prices are data of 2026" in err


def test_prices_of_the_user_go_over_the_shipped_ones(capsys, tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text("small-mini-pc = 99\n")
    code, out, _ = run(capsys, "--machine", "rtx-4080-64g", "--budget", "0", "--prices", str(file), "--json")
    assert code == 0
    search = next(one for one in json.loads(out)["options"] if one["id"] == "no-gpu")
    assert search["usd"] == {"low": 99.0, "high": 99.0}
    assert search["parts"][0]["date"] is None
    assert search["parts"][0]["source"] == str(file)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--budget", "-1"), "--budget is -1.0"),
        (("--budget", "much"), "is not an amount of US dollars"),
        (("--budget", "1e12"), "--budget is"),
        (("--goal", "wealth"), "there is no goal 'wealth'"),
        (("--machine", "rtx-4090-64gb"), "did you mean rtx-4090-64g"),
        (("--context", "0"), "context is 0"),
        (("--prices", "none.toml"), "none.toml cannot be read"),
    ],
)
def test_wrong_input_is_one_line_with_what_to_do(capsys, arguments, told):
    code, out, err = run(capsys, *(() if "--machine" in arguments else ("--machine", "rtx-4090-64g")), *arguments)
    assert code == 2
    assert not out
    assert told in err
    assert len(err.strip().splitlines()) == 1


def test_without_a_machine_the_advice_is_for_this_one(capsys):
    code, out, _ = run(capsys, "--budget", "0", "--json")
    assert code == 0
    assert len(json.loads(out)["machines"]) == 1
