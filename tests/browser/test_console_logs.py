"""The page Logs in a real browser, on the real product: followed, filtered, bounded, and never a line twice."""

from __future__ import annotations

import re
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import expect
from product import alive, make_data_folder, start_product, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => [one.impact, one.id, ...one.nodes.slice(0, 3).map((node) => node.target.join(" "))])"""

LIMIT = 40_000
MOST = 3000
NASTY = (
    '\x1b[31m<img src=x onerror="window.hacked=1">\x1b[0m\x1b]0;title\x07 {{ 7 * 7 }} <script>window.hacked=1</script>'
)
CONFIGURATION = """\
[models.embedded]
checkpoint = "embedded"
context = 512
parallel = 1

[models.elsewhere]
address = "http://127.0.0.1:9/v1"
"""
GONE = (
    "Failed to load resource: net::ERR",
    "Failed to load resource: the server responded with a status of",
    "EventSource's response has a MIME type",
)
"""What Chromium says while a server is away, or refuses; they are what is tested here."""


class Place:
    """A product that can be started again on the same data and port."""

    def __init__(self, folder, embedded_model_folder):
        self.folder = folder
        self.config = folder / "ansambl.toml"
        self.config.write_text(CONFIGURATION, encoding="utf-8")
        self.data = make_data_folder(folder / "data", embedded_model_folder)
        self.product = start_product(self.data, self.config, folder / "up.log", "--offline")
        # The engine says a last word when it likes; one that has ended says none between the test's lines.
        headers = {"authorization": f"Bearer {self.product.token}"}
        assert self.product.client.post("/admin/api/instances/embedded/unload", headers=headers).status_code == 200
        wait_for(lambda: self.product.instance()["pid"] is None, "the end of the engine", 30)

    def again(self):
        port = self.product.port
        self.product = start_product(self.data, self.config, self.folder / "again.log", "--offline", port=port)

    def write(self, *lines):
        """What the engine would write, if it ran."""
        with (self.data / "logs" / "engine-embedded.log").open("a", encoding="utf-8") as file:
            file.write("".join(f"{one}\n" for one in lines))


@pytest.fixture(scope="module")
def place(tmp_path_factory, embedded_model_folder):
    found = Place(tmp_path_factory.mktemp("logs"), embedded_model_folder)
    yield found
    found.product.end()
    wait_for(lambda: not alive(found.product.seen), "no process left", 15)


@pytest.fixture
def logs(open_page, place):
    def open_one(query="?model=embedded", **options):
        watched = open_page(f"{place.product.address}/console/logs{query}", **options)
        expect(watched.page.locator("body[data-ready=yes]")).to_have_count(1)
        return watched

    return open_one


def findings(page):
    """What axe-core finds serious."""
    page.evaluate(AXE)
    return page.evaluate(RUN_AXE)


def shown(page):
    return page.locator("#log > div").all_inner_texts()


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ru", 390)])
def test_a_log_is_followed_filtered_and_never_runs(logs, place, screenshot, language, width):
    page = logs(language=language, width=width, height=844).page
    expect(page.locator("#log")).to_contain_text("listening on http://127.0.0.1")
    mark = f"mark-{language}"
    place.write(f"plain words {mark}", f"0.00.001 W careful {mark}", f"0.00.002 E broken {mark}", f"{mark} {NASTY}")
    expect(page.locator("#log > div").last).to_contain_text("<img src=x")
    last = page.locator("#log > div").last.inner_text()
    assert last == f'{mark} <img src=x onerror="window.hacked=1"> {{{{ 7 * 7 }}}} <script>window.hacked=1</script>'
    page.locator("#filter").fill(mark.upper())
    expect(page.locator("#log > div")).to_have_count(4)
    page.locator("#level").select_option("warning")
    expect(page.locator("#log > div")).to_have_text([re.compile("careful"), re.compile("broken")])
    page.locator("#level").select_option("error")
    expect(page.locator("#log > div")).to_have_text([re.compile("broken")])
    place.write(f"0.00.003 I quiet {mark}", f"0.00.004 E again {mark}")
    expect(page.locator("#log > div")).to_have_text([re.compile("broken"), re.compile("again")])
    page.locator("#level").select_option("all")
    page.locator("#filter").fill("")
    # A long line is behind the edge until lines are wrapped, and never makes the page wider.
    place.write(f"long {mark} " + "word " * 300)
    expect(page.locator("#log > div").last).to_contain_text(f"long {mark}")
    wider = "log => log.scrollWidth > log.clientWidth + 1"
    # On a phone lines are wrapped from the beginning.
    expect(page.locator("#wrap")).to_be_checked(checked=width < 640)
    page.locator("#wrap").uncheck()
    assert page.locator("#log").evaluate(wider)
    page.locator("#wrap").check()
    assert not page.locator("#log").evaluate(wider)
    expect(page.locator("#log > div").last).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert findings(page) == []
    screenshot(page, f"logs-{language}-{width}")
    # Ansambl's own log is the first of the list; the address follows the choice.
    page.locator("#source").select_option("")
    expect(page.locator("#log")).to_contain_text("event=started")
    assert "model=" not in page.url
    page.locator("#wrap").uncheck()


def test_what_comes_while_it_is_paused_waits(logs, place):
    page = logs().page
    place.write("before the pause")
    expect(page.locator("#log > div").last).to_have_text("before the pause")
    page.locator("#pause").click()
    place.write(*(f"held {number}" for number in range(7)))
    expect(page.locator("#counts")).to_contain_text("7 new lines wait")
    assert shown(page)[-1] == "before the pause"
    expect(page.locator("#following")).to_have_text("paused")
    page.locator("#pause").click()
    expect(page.locator("#log > div").last).to_have_text("held 6")
    # Whoever reads further up is not pulled away.
    page.locator("#log").evaluate("log => { log.scrollTop = 0; }")
    expect(page.locator("#newest")).to_be_enabled()
    place.write("not in sight")
    expect(page.locator("#log > div").last).to_have_text("not in sight")
    assert page.locator("#log").evaluate("log => log.scrollTop") == 0
    page.locator("#newest").click()
    expect(page.locator("#log > div").last).to_be_in_viewport()


def flood(place, first, count):
    place.write(*(f"flood {first + number} of words that an engine writes" for number in range(count)))


def test_an_engine_that_writes_without_end_does_not_kill_the_page(logs, place):
    page = logs().page
    expect(page.locator("#following")).to_have_text("live")
    last = page.locator("#log > div").last
    for part in range(3):
        flood(place, part * 2000, 2000)
        expect(last).to_contain_text(f"flood {part * 2000 + 1999} ", timeout=LIMIT)
    found = shown(page)
    assert len(found) == MOST
    numbers = [int(one.split()[1]) for one in found if one.startswith("flood")]
    assert numbers == list(range(3000, 6000))
    expect(page.locator("#counts")).to_contain_text("older lines are not kept here")
    # What comes faster than it can be read is left out, and that is said.
    flood(place, 6000, 60_000)
    place.write("the end of the flood")
    expect(last).to_have_text("the end of the flood", timeout=LIMIT)
    expect(page.locator("#log > div.told")).to_contain_text("left out here")
    assert page.locator("#log > div").count() <= MOST
    page.locator("#filter").fill("the end of")
    expect(page.locator("#log > div:not(.told)")).to_have_text(["the end of the flood"])


def test_lines_are_copied_and_downloaded(logs, place, tmp_path):
    page = logs(permissions=["clipboard-read", "clipboard-write"]).page
    place.write("copy this one")
    page.locator("#filter").fill("copy this")
    expect(page.locator("#log > div").last).to_have_text("copy this one")
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "copy this one\n"
    with page.expect_download() as download:
        page.locator("#download").click()
    assert download.value.suggested_filename == "embedded.log"
    download.value.save_as(tmp_path / "log")
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("copy this one\n")


def test_what_somebody_else_runs_says_that_its_log_is_there(logs):
    watched = logs()
    watched.expected = GONE
    page = watched.page
    expect(page.locator("#source option", has_text="elsewhere (attached)")).to_have_count(1)
    page.locator("#source").select_option("elsewhere")
    expect(page.locator(".problem[role=alert]", has_text="is not Ansambl's to start")).to_be_visible()
    expect(page.locator("#following")).to_have_text("not followed")
    assert shown(page) == []
    page.locator("#source").select_option("embedded")
    expect(page.locator("#following")).to_have_text("live")


def test_a_lost_stream_comes_back_and_shows_no_line_twice(logs, place):
    watched = logs()
    watched.expected = GONE
    page = watched.page
    place.write("unique line before")
    expect(page.locator("#log > div").last).to_have_text("unique line before")
    # The browser puts the page away and takes it out again.
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pagehide'))")
    place.write("written meanwhile")
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.locator("#log > div").last).to_have_text("written meanwhile")
    assert shown(page).count("unique line before") == 1
    # Ansambl goes away and comes back; its own log goes on in the same file.
    page.locator("#source").select_option("")
    expect(page.locator("#log")).to_contain_text("event=started")
    place.product.end()
    expect(page.locator("#following")).to_have_text("lost; trying again", timeout=LIMIT)
    place.again()
    starts = page.locator("#log > div", has_text="event=started")
    before = (place.data / "logs" / "ansambl.log").read_text(encoding="utf-8").count("event=started")
    expect(starts).to_have_count(before, timeout=LIMIT)
    expect(page.locator("#following")).to_have_text("live")
    found = shown(page)
    assert len(found) == len(set(found))
