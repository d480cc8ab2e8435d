"""Engines installed and removed from the page, in a real browser on the real product, with packages of a test's own."""

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
TINY = Path(__file__).resolve().parents[1] / "support" / "tiny_engines.py"
SLOW = 120_000
"""Milliseconds: pip takes its time."""
CONFIGURATION = '[models.embedded]\ncheckpoint = "embedded"\ncontext = 512\nparallel = 1\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def product(folder, embedded_model_folder):
    config = folder / "ansambl.toml"
    config.write_text(CONFIGURATION, encoding="utf-8")
    data = make_data_folder(folder / "data", embedded_model_folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_ENGINES", str(folder))
        started = start_product(data, config, folder / "up.log", program=(str(TINY),))
    yield started
    started.end()
    wait_for(lambda: not alive(started.seen), "no process left", 15)


@pytest.fixture
def engines(open_page, product):
    def open_one(**options):
        watched = open_page(f"{product.address}/console/models#engines", **options)
        expect(watched.page.locator("body[data-ready=yes]")).to_have_count(1)
        expect(watched.page.locator("#engine-list article")).not_to_have_count(0, timeout=SLOW)
        return watched.page

    return open_one


def card(page, name):
    return page.locator("#engine-list article", has=page.locator("h3 .dim", has_text=re.compile(f"^{name}$")))


def findings(page):
    """What axe-core finds serious."""
    page.evaluate(AXE)
    return page.evaluate(RUN_AXE)


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ru", 390)])
def test_an_engine_is_offered_installed_live_in_two_browsers_and_removed(engines, screenshot, language, width):
    page, other = engines(language=language, width=width, height=844), engines()
    mine = card(page, "transformers")
    expect(mine.locator(".pill")).to_have_class(re.compile("stopped"))
    mine.locator("button[hx-get]").click()
    offer = page.locator("#engine-offer")
    expect(offer).to_be_focused(timeout=SLOW)
    expect(offer.locator("h3")).to_have_text("Transformers 1.0 (cpu)")
    expect(offer.locator("dl")).to_contain_text("MIT")
    # A build that this machine cannot use says why.
    offer.locator("summary").click()
    expect(offer.locator(".builds")).to_contain_text("cuda99 1.0")
    expect(offer.locator(".builds")).to_contain_text("GPU")
    assert findings(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    screenshot(page, f"engines-offer-{language}-{width}")
    page.locator("#install").click()
    job, theirs = page.locator("#install-list article").first, other.locator("#install-list article").first
    expect(job).to_have_attribute("data-state", re.compile("waiting|running"))
    expect(theirs).to_have_attribute("data-state", re.compile("waiting|running"), timeout=SLOW)
    screenshot(page, f"engines-installing-{language}-{width}")
    for one in (page, other):
        expect(one.locator("#install-list article").first).to_have_attribute("data-state", "done", timeout=SLOW)
        expect(card(one, "transformers").locator(".pill")).to_have_class(re.compile("ready"), timeout=SLOW)
    mine.locator("summary").click()
    expect(mine.locator("details")).to_contain_text("1.0")
    mine.locator("button.danger").click()
    for one in (page, other):
        expect(card(one, "transformers").locator(".pill")).to_have_class(re.compile("stopped"), timeout=SLOW)
    expect(job).to_have_attribute("data-state", "done")
    assert findings(page) == []


def test_what_hangs_is_stopped_says_so_and_goes_on(engines, folder, product):
    page = engines()
    card(page, "llama.cpp").get_by_role("button", name="Install llama.cpp…").click()
    page.locator("#install").click()
    job = page.locator("#install-list article").first
    expect(job).to_contain_text("trying the engine", timeout=SLOW)
    # Whoever loads the page anew finds it as it stands; it is asked for once more and is the same one.
    page.reload()
    expect(job).to_contain_text("trying the engine")
    headers = {"authorization": f"Bearer {product.token}"}
    again = product.client.post("/admin/api/engines/install", json={"engine": "llama.cpp"}, headers=headers)
    assert (again.status_code, again.json()["state"]) == (202, "running")
    gone = product.client.delete("/admin/api/engines?engine=llama.cpp", headers=headers)
    assert (gone.status_code, gone.json()["error"]["code"]) == (400, "in_use")
    job.get_by_role("button", name="Stop installing llama.cpp 1.0 (cpu)").click()
    expect(job).to_have_attribute("data-state", "stopped", timeout=SLOW)
    expect(card(page, "llama.cpp")).to_contain_text("An installation was broken off", timeout=SLOW)
    (folder / "go").touch()
    job.get_by_role("button", name="Go on…").click()
    expect(page.locator("#engine-offer")).to_contain_text("Left from before", timeout=SLOW)
    page.locator("#install").click()
    expect(page.locator("#install-list article").first).to_have_attribute("data-state", "done", timeout=SLOW)
    expect(page.locator("#engine-offer")).to_be_empty()


def test_what_the_server_refuses_is_one_line(open_page, product):
    watched = open_page(f"{product.address}/console/models#engines")
    watched.expected = ("Failed to load resource",)
    page = watched.page
    expect(page.locator("body[data-ready=yes]")).to_have_count(1)
    page.evaluate("htmx.ajax('GET', '/console/models/install?engine=nothing', '#engine-offer')")
    expect(page.locator("#problem")).to_contain_text("there is no engine 'nothing' to install")
