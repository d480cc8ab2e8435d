"""Pages behind a bad line: streams cut in the midst of an event, a line that is down for a while, one that is late."""

from __future__ import annotations

from typing import Any

import pytest
from cutting_relay import Line, bad_line
from playwright.sync_api import Page, expect
from product import Started, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

PATIENCE = 30_000
BROKEN = ("Failed to load resource",)


@pytest.fixture
def line(product: Started):
    with bad_line(product.port) as found:
        yield found


def address(line: Line, path: str = "/") -> str:
    return f"http://127.0.0.1:{line.port}{path}"


def ask(product: Started, count: int) -> list[str]:
    """Requests that are over at once; the numbers by which the page knows them."""
    for _ in range(count):
        assert product.chat("nobody", "x").status_code == 404
    newest = told(product, f"requests?limit={count}")["requests"]
    return [str(one["number"]) for one in newest]


def told(product: Started, path: str) -> Any:
    headers = {"authorization": f"Bearer {product.token}"}
    return product.client.get(f"/admin/api/{path}", headers=headers).raise_for_status().json()


def numbers(page: Page) -> list[str]:
    return page.locator("#requests tbody tr").evaluate_all("all => all.map((one) => one.dataset.number)")


def test_an_overview_whose_stream_is_cut_within_an_event_catches_up_and_doubles_nothing(open_page, product, line):
    watched = open_page(address(line))
    watched.expected = BROKEN
    page = watched.page
    expect(page.locator("[data-online=true]")).to_be_visible()
    before = told(product, "state")["requests"]["failed"]

    line.cuts = 1
    found = ask(product, 3)
    wait_for(lambda: line.cut == 1, "a stream that was cut")
    expect(page.locator("#failed")).to_have_text(str(before + 3), timeout=PATIENCE)
    for one in found:
        expect(page.locator(f"#requests tr[data-number='{one}']")).to_have_count(1)

    # Down for a while, and cut again at once when it is back.
    line.down, line.cuts = True, 2
    found += ask(product, 1)
    wait_for(lambda: line.cut == 2, "a stream that was cut")
    expect(page.locator("#connection")).to_have_text("Ansambl does not answer. Trying again…")
    found += ask(product, 3)
    line.down = False
    wait_for(lambda: line.cut == 3, "a stream that was cut when it was back", 30)
    expect(page.locator("#failed")).to_have_text(str(before + 7), timeout=PATIENCE)
    expect(page.locator("#connection")).to_be_hidden(timeout=PATIENCE)

    # Late is not lost.
    line.late = 1.0
    found += ask(product, 1)
    expect(page.locator("#failed")).to_have_text(str(before + 8), timeout=PATIENCE)
    shown = numbers(page)
    assert len(shown) == len(set(shown))
    assert set(found) <= set(shown)


def test_a_log_whose_stream_is_cut_within_a_line_shows_each_line_once(open_page, product, line):
    log = product.data / "logs" / "engine-embedded.log"

    def write(*lines: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write("".join(f"{one}\n" for one in lines))

    watched = open_page(address(line, "/console/logs?model=embedded&lang=en"))
    watched.expected = BROKEN
    page = watched.page
    shown = page.locator("#log > div", has_text="numbered")
    expect(page.locator("#following")).to_have_text("live")

    written = [f"numbered {one} <b>\x1b[31mred\x1b[0m</b>" for one in range(30)]
    line.cuts = 1
    write(*written[:10])
    wait_for(lambda: line.cut == 1, "a stream that was cut")
    expect(shown).to_have_count(10, timeout=PATIENCE)

    line.down, line.cuts = True, 2
    write(*written[10:20])
    wait_for(lambda: line.cut == 2, "a stream that was cut")
    expect(page.locator("#following")).to_have_text("lost; trying again")
    write(*written[20:])
    line.down = False
    wait_for(lambda: line.cut == 3, "a stream that was cut when it was back", 30)
    expect(shown).to_have_count(30, timeout=PATIENCE)
    expect(page.locator("#following")).to_have_text("live", timeout=PATIENCE)
    # Each once, in their order, as text.
    assert shown.all_inner_texts() == [f"numbered {one} <b>red</b>" for one in range(30)]

    # What is no text, and what has no end: the page shows both and goes on.
    with log.open("ab") as file:
        file.write(b"odd \xff\xfe\x80 letters\n" + b"M" * 1_000_000 + b"\nafter the long one\n")
    expect(page.locator("#log > div").last).to_have_text("after the long one", timeout=PATIENCE)
    page.reload()
    expect(page.locator("#log > div").last).to_have_text("after the long one", timeout=PATIENCE)
