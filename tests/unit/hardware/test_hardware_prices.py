"""Prices: what is shipped has date and source, what people write over it is read or refused in one line."""

from __future__ import annotations

import os
import tomllib

import pytest

from ansambl.domain.errors import UsageError
from ansambl.domain.purchase import PartType, PriceKind, UsdRange
from ansambl.domain.units import GIB
from ansambl.hardware.catalog import device_models
from ansambl.hardware.prices import load_parts, read_parts, shipped_parts

CARD = '[[parts]]\nname = "my-card"\ntype = "gpu"\ndevice = "rtx-4090"\nusd = 900\n'


def read(content, known=None):
    return read_parts("mine.toml", tomllib.loads(content), shipped_parts() if known is None else known)


def refused(content):
    with pytest.raises(UsageError) as error:
        read(content)
    message = str(error.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("part", shipped_parts().values(), ids=lambda one: one.name)
def test_every_shipped_price_has_a_date_a_source_and_a_kind(part):
    assert part.price.date is not None
    assert part.price.date.startswith("202")
    assert part.price.sources
    assert all(source.strip() for source in part.price.sources)
    assert part.price.kind is not PriceKind.GIVEN
    assert 0 < part.price.usd.low <= part.price.usd.high


def test_shipped_parts_are_of_every_type_and_their_devices_are_in_the_catalog():
    parts = shipped_parts()
    assert {one.type for one in parts.values()} == set(PartType)
    assert parts["rtx-3090-used"].device == device_models()["rtx-3090"]
    assert parts["rtx-3090-used"].watts == 350
    assert parts["psu-850w"].watts == 850
    spark = parts["dgx-spark"].machine
    assert spark is not None
    assert spark.name == "dgx-spark"
    assert spark.gpus[0].model.unified_memory
    four = parts["four-3090-epyc"].machine
    assert four is not None
    assert [gpu.memory for gpu in four.gpus] == [24 * GIB] * 4
    assert [gpu.index for gpu in four.gpus] == [0, 1, 2, 3]
    small = parts["small-mini-pc"].machine
    assert small is not None
    assert not small.gpus
    assert small.ram.model.bandwidth == pytest.approx(4800e6 * 8)


def test_a_name_with_a_price_is_enough_to_override():
    parts = read('rtx-3090-used = 640\n"DGX-Spark" = [3999, 4200.5]\n')
    mine = parts["rtx-3090-used"].price
    assert (mine.usd, mine.kind, mine.date, mine.sources) == (UsdRange(640, 640), PriceKind.GIVEN, None, ("mine.toml",))
    assert parts["dgx-spark"].price.usd == UsdRange(3999, 4200.5)
    assert parts["rtx-4090-used"] == shipped_parts()["rtx-4090-used"]


def test_a_table_adds_a_part_or_takes_the_place_of_one():
    parts = read(CARD + CARD.replace("my-card", "rtx-3090-used"))
    assert parts["my-card"].device == device_models()["rtx-4090"]
    assert parts["my-card"].watts == 450
    assert parts["rtx-3090-used"].device == device_models()["rtx-4090"]
    assert len(parts) == len(shipped_parts()) + 1


@pytest.mark.parametrize("price", ["0", "-1", "-0.0", "1e9", "[900, 700]", "[-5, 5]", "1" + "0" * 400])
def test_a_price_that_nobody_pays_is_refused(price):
    message = refused(f"rtx-3090-used = {price}")
    assert "rtx-3090-used is " in message
    assert "above 0 and at most 1000000" in message


@pytest.mark.parametrize(
    "price", ["nan", "inf", "[1, nan]", "true", '"700"', "[700]", "[1, 2, 3]", "[]", "{ low = 1 }"]
)
def test_what_is_no_price_is_refused(price):
    assert refused(f"rtx-3090-used = {price}").endswith("write for example 800 or [700, 900]")


def test_an_unknown_part_gets_the_nearest_names():
    assert "did you mean rtx-3090-used" in refused("rtx-3090-usd = 700")
    assert "did you mean parts" in refused("[[part]]\nname = 1")
    assert "describe a new one in a table [[parts]]" in refused("zzzzzzzz = 700")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("usd = 900", "", "parts[1].usd is missing"),
        ("usd = 900", "usd = 0", "parts[1].usd is 0"),
        ('device = "rtx-4090"', "", "parts[1].device is missing"),
        ("rtx-4090", "rtx-4091", "did you mean rtx-4090"),
        ("rtx-4090", "strix-halo", "a card with memory of its own"),
        ('"gpu"', '"card"', "parts[1].type cannot be"),
        ('type = "gpu"', "", "parts[1].type is missing"),
        ("my-card", "My card", "parts[1].name cannot be"),
        ("usd = 900", 'usd = 900\ndate = "May 2026"', "parts[1].date cannot be"),
        ("usd = 900", 'usd = 900\nkind = "cheap"', "choose one of msrp, street, used, given"),
        ("usd = 900", "usd = 900\nwatts = -5", "parts[1].watts is -5"),
        ("usd = 900", "usd = 900\nsocket = 'AM5'", "there is no key parts[1].socket"),
        ("usd = 900", "usd = 900\nsources = 5", "parts[1].sources cannot be 5"),
    ],
)
def test_a_wrong_field_of_a_part_is_named(old, new, told):
    assert told in refused(CARD.replace(old, new, 1))


def test_contradictions_are_told():
    assert "the part my-card stands there twice" in refused(CARD + CARD)
    assert "currency cannot be" in refused('currency = "EUR"')
    machine = '[[parts]]\nname = "box"\ntype = "machine"\nusd = 900\n'
    assert "parts[1].memory contradicts parts[1].machine" in refused(machine + 'machine = "dgx-spark"\nmemory = "8GiB"')
    assert "did you mean dgx-spark" in refused(machine + 'machine = "dgx-sparc"')
    assert "parts[1].memory is missing" in refused(machine)
    assert "parts[1].device is missing" in refused(machine + 'memory = "8GiB"\ngpus = 2')


def test_files_that_cannot_be_read_are_told_in_one_line(tmp_path):
    broken, binary, pipe = tmp_path / "broken.toml", tmp_path / "binary.toml", tmp_path / "pipe"
    broken.write_text("rtx-3090-used = ")
    binary.write_bytes(b"\xff\xfe\x00")
    os.mkfifo(pipe)
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 100_000)
    large = tmp_path / "large.toml"
    large.write_text("#" * 1_000_001)
    for file, told in (
        (tmp_path / "none.toml", "cannot be read"), (tmp_path, "is not a file"), (broken, "is not valid TOML"),
        (binary, "is not valid TOML"), (pipe, "is not a file"), (deep, "is not valid TOML"), (large, "over 1 MB"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=told) as error:
            load_parts(file)
        assert "\n" not in str(error.value)


def test_without_a_file_the_shipped_prices_are_used(tmp_path):
    assert load_parts(None) is shipped_parts()
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert load_parts(empty) == dict(shipped_parts())
