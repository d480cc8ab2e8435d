"""The page Traffic in a real Chromium: charts and the same numbers as tables, by what they are divided by."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_admin import FakeAdmin, request_of
from playwright.sync_api import Page, expect
from product import wait_for

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
NASTY = '<img src=x onerror="window.hacked=1">'
# Of eight charts, how many canvases are not blank.
PAINTED = """() => [...document.querySelectorAll("[data-chart]")].filter((one) => {
  const canvas = one.querySelector("canvas");
  const blank = Object.assign(document.createElement("canvas"), { width: canvas?.width, height: canvas?.height });
  return canvas && canvas.toDataURL() !== blank.toDataURL();
}).length"""


def minute(ago: int) -> int:
    return int(time.time()) // 60 * 60 - ago * 60


def row(ago: int, name: str = "coder", model: str = "big", **fields: Any) -> dict[str, Any]:
    return {
        "time": minute(ago), "model": model, "name": name, "requests": 2, "failed": 0, "prompt_tokens": 200,
        "cached_tokens": 150, "output_tokens": 40, "queued_seconds": 0.5, "first_token_seconds": 1.5,
        "first_tokens": 2, "answer_seconds": 6.0, "swaps": 0, **fields,
    }  # fmt: skip


def key_row(ago: int, key: str, **fields: Any) -> dict[str, Any]:
    return {"time": minute(ago), "key": key, "model": "big", "requests": 2, "failed": 0, "prompt_tokens": 200,
            "cached_tokens": 100, "output_tokens": 40, "queued_seconds": 0.5, "first_token_seconds": 3.0,
            "first_tokens": 2, "swaps": 0, **fields}  # fmt: skip


def told(rows: list[dict[str, Any]], keys: list[dict[str, Any]], since: float | None = None) -> dict[str, Any]:
    return {"start": minute(59), "step": 60, "now": time.time(), "counted_since": since or minute(3000),
            "traffic": rows, "by_key": keys}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeAdmin]:
    one = FakeAdmin()
    one.traffic = told(
        [row(40), row(2, first_token_seconds=0.5), row(2, "brief", requests=1, failed=1, cached_tokens=0, swaps=1),
         row(1, "", "", requests=1, failed=1, prompt_tokens=0, cached_tokens=0, output_tokens=0, first_tokens=0,
             first_token_seconds=0.0)],
        [key_row(2, "local"), key_row(1, "k1", requests=5, queued_seconds=2.5, swaps=2)],
    )  # fmt: skip
    one.start()
    yield one
    one.stop()


def drawn(page: Page) -> None:
    expect(page.locator("[data-chart] canvas").last).to_be_visible()
    page.wait_for_function(f"() => ({PAINTED})() > 0")


def cells(page: Page, name: str) -> list[str]:
    return page.locator("#sums tbody tr", has=page.get_by_role("rowheader", name=name, exact=True)).locator(
        "td"
    ).all_inner_texts()  # fmt: skip


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_what_was_asked_is_drawn_and_stands_in_tables(open_page, fake, screenshot):
    page = open_page(f"{fake.address}/console/traffic").page
    drawn(page)
    # Requests, failed, prompt and answer tokens, cached share, first word, queue, waits for a swap.
    assert cells(page, "All") == ["6", "2", "600", "120", "50.0", "0.58", "0.33", "1"]
    assert page.evaluate(PAINTED) == 8
    expect(page.locator("[data-chart=requests] .plot")).to_have_attribute(
        "aria-label", "Requests: 6. The tables below hold all numbers."
    )
    page.locator("#every summary").click()
    expect(page.locator("#numbers tbody tr")).to_have_count(3)
    page.locator("#by").select_option("name")
    expect(page.locator("#sums tbody tr")).to_have_count(3)
    assert cells(page, "coder") == ["4", "0", "400", "80", "75.0", "0.50", "0.25", "0"]
    assert cells(page, "the model itself")[:2] == ["1", "1"]
    expect(page.locator("#groups li")).to_have_text(["coder", "the model itself", "brief"])
    expect(page.locator("#numbers tbody tr")).to_have_count(4)
    page.locator("#by").select_option("model")
    expect(page.locator("#sums tbody th")).to_have_text(["big", "not answered"])
    screenshot(page, "traffic-desktop-en")
    # What was chosen outlives a change of the language.
    page.get_by_role("link", name="RU").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    expect(page.locator("#by")).to_have_value("model")
    drawn(page)
    screenshot(page, "traffic-desktop-ru")


def test_the_pointer_says_what_stands_at_a_time(open_page, fake):
    page = open_page(f"{fake.address}/console/traffic?by=name").page
    drawn(page)
    over = page.locator("[data-chart=requests] .u-over")
    box = over.bounding_box()
    # 40 minutes of 60 ago.
    over.hover(position={"x": box["width"] * 19.5 / 60, "y": 20})
    clock = dt.datetime.fromtimestamp(minute(40)).strftime("%H:%M")  # noqa: DTZ006 - as the browser's clock
    expect(page.locator("[data-chart=requests] .point")).to_have_text(f"{clock}: coder 2")


def test_keys_are_a_choice_of_their_own(open_page, fake):
    page = open_page(f"{fake.address}/console/traffic?by=key").page
    drawn(page)
    expect(page.locator("#sums tbody th")).to_have_text(["k1", "this machine"])
    assert cells(page, "k1") == ["5", "0", "200", "40", "50.0", "1.50", "0.50", "2"]
    # No key exists, so there is none to choose.
    expect(page.locator("#key")).to_have_count(0)


def test_requests_appear_while_the_page_is_open(open_page, fake):
    page = open_page(f"{fake.address}/console/traffic").page
    drawn(page)
    page.wait_for_function("() => document.body.dataset.ready === 'yes'")
    wait_for(lambda: fake.watched, "the event stream")
    fake.traffic = told([row(0, requests=30)], [])
    sums = {"running": 0, "answered": 13, "failed": 1, "left_out": 0}
    fake.push("requests", {"begun": [], "ended": [request_of(3)], **sums})
    expect(page.locator("#sums [data-metric=requests]")).to_have_text("30", timeout=15_000)


def test_days_are_those_of_usage(open_page, fake):
    today = dt.datetime.now(dt.UTC).date()
    sums = {key: value for key, value in row(0).items() if key not in ("time", "model", "name")}
    fake.usage = {
        "usage": [
            {"day": str(today - dt.timedelta(days=ago)), "model": "big", "name": "coder", "saved": 0, "restored": 0,
             **sums} for ago in (0, 3, 20)
        ],
        "by_key": [],
    }  # fmt: skip
    page = open_page(f"{fake.address}/console/traffic").page
    drawn(page)
    page.locator("#range").select_option("7d")
    expect(page.locator("#sums [data-metric=requests]")).to_have_text("4")
    expect(page.get_by_text("Days are those of UTC.")).to_be_visible()
    page.locator("#range").select_option("30d")
    expect(page.locator("#sums [data-metric=requests]")).to_have_text("6")
    assert "range=30d" in page.url


def test_a_young_run_says_since_when_it_counts_and_an_idle_one_that_nothing_was_asked(open_page, fake):
    fake.traffic = told([], [], since=minute(5) + 1)
    page = open_page(f"{fake.address}/console/traffic").page
    expect(page.locator("#since")).to_contain_text("Counted since")
    expect(page.locator("#nothing")).to_be_visible()
    drawn(page)


@pytest.mark.parametrize(("language", "colours"), [("en", "dark"), ("ru", "light")])
def test_a_phone_shows_all_and_names_are_text(open_page, fake, language, colours, screenshot):
    long = "r" * 300
    fake.traffic = told([row(1, NASTY, NASTY), row(1, long), *(row(1, f"role {one}") for one in range(9))], [])
    page = open_page(
        f"{fake.address}/console/traffic?by=name", language=language, color_scheme=colours, has_touch=True, **PHONE
    ).page
    drawn(page)
    expect(page.get_by_role("rowheader", name=NASTY)).to_be_visible()
    # The largest have a line of their own, the others are one together.
    expect(page.locator("#groups li")).to_have_count(6)
    assert fits(page)
    # As wide as its longest choice, which may be a key's name.
    page.locator("#by").evaluate("(one, name) => one.add(new Option(name))", long)
    assert fits(page)
    page.locator("#every summary").click()
    expect(page.locator("#numbers tbody tr")).to_have_count(11)
    assert fits(page)
    assert page.evaluate("window.hacked") is None
    screenshot(page, f"traffic-phone-{colours}-{language}")


def test_charts_take_the_colours_of_the_page(open_page, fake):
    page = open_page(f"{fake.address}/console/traffic", color_scheme="light").page
    drawn(page)
    picture = "() => document.querySelector('[data-chart=requests] canvas').toDataURL()"
    light = page.evaluate(picture)
    page.get_by_role("button", name="Colours: as the system").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.wait_for_function(f"(light) => ({picture})() !== light", arg=light)


def test_a_key_that_may_not_look_is_told_what_it_needs(open_page, fake):
    fake.refusal, fake.endpoints = (403, "This key may not do that; it needs admin:read."), ["chat"]
    watched = open_page(f"{fake.address}/console/traffic")
    watched.expected = ("Failed to load resource",)
    expect(watched.page.locator("#main")).to_contain_text("admin:read")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_an_axis_of_short_times_has_numbers_that_differ(open_page, fake, language):
    fake.traffic = told([row(minute, queued_seconds=0.004) for minute in (2, 3)], [])
    watched = open_page(f"{fake.address}/console/traffic", language=language)
    page = watched.page
    # A canvas keeps no words: what is written on it is noted as it is drawn.
    page.add_init_script(
        """const written = CanvasRenderingContext2D.prototype.fillText;
        window.onCanvas = new Map();
        CanvasRenderingContext2D.prototype.fillText = function (words, ...rest) {
            const chart = this.canvas.closest("[data-chart]")?.dataset.chart;
            window.onCanvas.set(chart, [...(window.onCanvas.get(chart) ?? []), words]);
            return written.call(this, words, ...rest);
        };"""
    )
    page.reload()
    drawn(page)
    labels = page.evaluate("window.onCanvas.get('queue') ?? [...window.onCanvas.values()].flat()")
    mark = "," if language == "ru" else "."
    told_times = [one for one in labels if one.startswith(f"0{mark}00")]
    assert len(set(told_times)) >= 2
    assert labels.count("0") <= 2
