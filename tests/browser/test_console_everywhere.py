"""Every page of the console, in both languages, on a desktop and a phone, light and dark, on one lived-in product.

No page says an error, asks another host, scrolls sideways or leaves somebody out: axe-core looks at each of them.
"""

from __future__ import annotations

import re
from pathlib import Path

import axe_playwright_python
import pytest
from console_stage import seed
from playwright.sync_api import expect
from product import environment, running_product

from ansambl.console.pages import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.engine]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
    .map((one) => [one.impact, one.id, ...one.nodes.slice(0, 3).map((node) => node.target.join(" "))])"""
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
STATES = {
    **{page.key: page.path for page in PAGES},
    "role": "/console/roles/edit?name=tutor",
    "not-there": "/console/knowledge/documents/0123456789",
}
"""What is looked at beside the pages themselves: the editor of a role, and a problem within the frame."""
NARROW = (320, 640)
"""What a desktop shows at 400 %, and a small phone: WCAG's reflow."""
UNFOLD = "for (const one of document.querySelectorAll('main details')) one.open = true"
SMALL = """() => [...document.querySelectorAll(["button", "[role=button]", "select", "summary", "textarea", ".top a",
    "input:not([type=checkbox], [type=radio], [type=file])", "label:has(> :is([type=checkbox], [type=radio]))"].join())]
    .filter((one) => one.checkVisibility())
    .map((one) => [one.getBoundingClientRect().height, one.outerHTML.slice(0, 120)])
    .filter(([height]) => height > 1 && height < 39.5)"""
"""Controls that are less than 40 pixels high; links within sentences may be."""
NAMELESS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((one) => one.checkVisibility() && !(one.getAttribute("aria-label") || one.getAttribute("aria-labelledby")
        || one.labels?.length || one.title || one.innerText?.trim() || one.querySelector("img[alt]:not([alt=''])")))
    .map((one) => one.outerHTML.slice(0, 200))"""
REACHABLE = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0 && one.type !== "radio").length"""
FOCUSED = """() => {
    const one = document.activeElement;
    if (one === document.body) return null;
    one.dataset.walked = one.dataset.walked ?? String(document.querySelectorAll("[data-walked]").length);
    const box = one.getBoundingClientRect();
    // Or the form around it says so: a field may lend it its border.
    const looks = () => [one, one.closest("form")].map((each) => each && getComputedStyle(each)).map(
        (style) => style && [style.outlineStyle, style.boxShadow, style.borderColor].join()).join();
    const now = looks();
    one.blur();
    const seen = now !== looks();
    one.focus();
    return [one.dataset.walked, one.tagName, box.width > 0 && box.height > 0, seen, one.outerHTML.slice(0, 160)];
}"""


@pytest.fixture(scope="module")
def product(tmp_path_factory, embedded_model_folder):
    folder = tmp_path_factory.mktemp("everywhere")
    with running_product(folder, embedded_model_folder, "", "--offline") as started:
        seed(started.address, started.data, folder, environment(started.data), keys=True)
        yield started


@pytest.fixture(scope="module")
def session(chromium, product):
    """The cookies of a browser that signed in once."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{product.address}/console/keys")
    page.locator("#key").fill(product.token)
    page.keyboard.press("Enter")
    expect(page.locator("#sign-out")).to_be_visible(timeout=20_000)
    state = context.storage_state()
    context.close()
    return state


def opened(open_page, product, session, path, **more):
    watched = open_page(product.address + path, storage_state=session, **more)
    expect(watched.page.locator("body")).to_have_attribute("data-ready", "yes")
    return watched


def settled(page):
    """What a page loads and draws after it is ready is there: nothing has changed for a moment."""
    page.evaluate("""() => new Promise((end) => {
        const over = () => { watcher.disconnect(); end(); };
        let timer = setTimeout(over, 250);
        const limit = setTimeout(over, 3000);
        const watcher = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(over, 250); });
        watcher.observe(document.body, { childList: true, subtree: true });
    })""")


def findings(page):
    page.evaluate(AXE)
    return page.evaluate(RUN_AXE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("state", STATES)
def test_every_page_is_whole(open_page, product, session, screenshot, state, language, size):
    width, height = SIZES[size]
    watched = opened(open_page, product, session, STATES[state], language=language, width=width, height=height)
    if state == "not-there":
        watched.expected = ("Failed to load resource: the server responded with a status of 404",)
    page = watched.page
    settled(page)
    screenshot(page, f"{state}-{language}-{size}")
    assert page.locator("html").get_attribute("lang") == language
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert page.evaluate(NAMELESS) == []
    assert findings(page) == []


@pytest.mark.parametrize("state", STATES)
def test_every_page_is_legible_in_the_dark(open_page, product, session, screenshot, state):
    watched = opened(open_page, product, session, STATES[state], color_scheme="dark")
    if state == "not-there":
        watched.expected = ("Failed to load resource: the server responded with a status of 404",)
    settled(watched.page)
    screenshot(watched.page, f"{state}-en-dark")
    assert findings(watched.page) == []


def _ask_to_remove_a_role(page):
    page.locator("#remove").click()


def _ask_to_remove_a_collection(page):
    page.locator("[data-remove=collection]").first.click()


def _ask_to_revoke(page):
    page.get_by_role("button", name=re.compile("^(Revoke|Отозвать)")).first.click()


def _save_without_a_name(page):
    page.locator("#save").click()
    expect(page.locator("#e-name, #save-problem").filter(has_text=re.compile(".")).first).to_be_visible()


def _try_without_a_question(page):
    page.locator("#ask").click()
    expect(page.locator("#trial-problem")).not_to_be_empty()


def _make_a_key_of_a_wrong_limit(page):
    page.locator("[name=name]").fill("wrong")
    page.locator("[name=limit]").fill("sometimes")
    page.locator("form [type=submit]").first.click()
    expect(page.locator("[role=alert]").filter(visible=True).first).to_be_visible()


def _search(words):
    def act(page):
        page.locator("#q").fill(words)
        page.keyboard.press("Enter")
        expect(page.locator("#hits")).not_to_be_empty()

    return act


def _filter_all_lines_away(page):
    page.locator("#filter").fill("no line says this")


def _open_the_menu(page):
    page.locator(".pages-menu summary").click()


def _fetch_nothing_that_exists(page):
    page.locator("#wanted").fill("nobody/nothing-like-this")
    page.keyboard.press("Enter")
    expect(page.locator(".problem").filter(visible=True).first).to_be_visible()


ACTS = {
    "role-removal": ("/console/roles/edit?name=tutor", _ask_to_remove_a_role),
    "role-nameless": ("/console/roles/edit", _save_without_a_name),
    "role-trial-empty": ("/console/roles/edit?name=tutor", _try_without_a_question),
    "collection-removal": ("/console/knowledge", _ask_to_remove_a_collection),
    "hits": ("/console/knowledge", _search("rent of the workshop")),
    "no-hits": ("/console/knowledge?collection=papers&author=nobody", _search("rent")),
    "key-removal": ("/console/keys", _ask_to_revoke),
    "key-wrong": ("/console/keys", _make_a_key_of_a_wrong_limit),
    "logs-filtered": ("/console/logs", _filter_all_lines_away),
    "pull-refused": ("/console/models", _fetch_nothing_that_exists),
    "menu": ("/console/keys", _open_the_menu),
}
"""States that somebody brings about: what asks once more, what was refused, what was found, what is open."""
ASKS = ("role-removal", "collection-removal", "key-removal")


@pytest.mark.parametrize("state", ACTS)
def test_every_state_is_whole(open_page, product, session, screenshot, state):
    path, act = ACTS[state]
    width, height = SIZES["phone"]
    watched = opened(
        open_page, product, session, path, language="ru", width=width, height=height, color_scheme="dark",
        reduced_motion="reduce",
    )  # fmt: skip
    watched.expected = ("Failed to load resource",)
    page = watched.page
    settled(page)
    act(page)
    settled(page)
    screenshot(page, f"state-{state}")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert page.evaluate(NAMELESS) == []
    assert findings(page) == []


@pytest.mark.parametrize("state", ASKS)
def test_a_question_closes_by_escape_and_gives_the_focus_back(open_page, product, session, state):
    path, act = ACTS[state]
    page = opened(open_page, product, session, path).page
    settled(page)
    act(page)
    dialog = page.locator("dialog[open]")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.activeElement.closest('dialog[open]') !== null")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement !== document.body")


@pytest.mark.parametrize("page_of", PAGES, ids=[one.key for one in PAGES])
def test_every_page_unfolds_on_a_narrow_screen(open_page, product, session, screenshot, page_of):
    """All that is folded is open, at 320 pixels, in Russian and in the dark: nothing is cut, small or illegible."""
    width, height = NARROW
    page = opened(
        open_page, product, session, page_of.path, language="ru", width=width, height=height, color_scheme="dark"
    ).page
    settled(page)
    page.evaluate(UNFOLD)
    settled(page)
    screenshot(page, f"{page_of.key}-ru-narrow")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert page.evaluate(SMALL) == []
    assert findings(page) == []


@pytest.mark.parametrize("page_of", PAGES, ids=[one.key for one in PAGES])
def test_the_keyboard_reaches_everything(open_page, product, session, page_of):
    page = opened(open_page, product, session, page_of.path, reduced_motion="reduce").page
    settled(page)
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    wanted = page.evaluate(REACHABLE)
    assert wanted >= len(PAGES)
    page.mouse.click(2, 400)
    page.evaluate("getSelection().removeAllRanges(); document.body.tabIndex = -1; document.body.focus()")
    walked = set()
    for _ in range(wanted * 2 + 20):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            break
        number, _tag, is_there, is_seen, shown = found
        assert is_there, shown
        assert is_seen, shown
        walked.add(number)
    assert len(walked) >= min(wanted, 60)


def test_the_first_stop_of_the_keyboard_leads_past_the_navigation(open_page, product, session):
    page = opened(open_page, product, session, "/console/keys").page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_the_menu_of_a_phone_opens_and_closes_by_keys(open_page, product, session):
    page = opened(open_page, product, session, "/console/keys", width=390, height=844).page
    summary = page.locator(".pages-menu summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".pages-menu li").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".pages-menu li").first).to_be_hidden()
    expect(summary).to_be_focused()


def test_a_change_of_the_language_keeps_the_address_and_stays(open_page, product, session):
    page = opened(open_page, product, session, "/console/keys?from=here&again=1#made").page
    page.locator("[data-language=ru]").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    assert "from=here" in page.url
    assert "again=1" in page.url
    assert page.url.endswith("#made")
    page.goto(f"{product.address}/console/logs")
    expect(page.locator("html")).to_have_attribute("lang", "ru")


def test_chosen_colours_stay_and_come_before_the_first_paint(open_page, product, session):
    page = opened(open_page, product, session, "/").page
    page.locator("#theme").click()
    page.locator("#theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(f"{product.address}/console/keys", wait_until="commit")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert max(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 60


def test_all_files_of_all_pages_stay_within_what_is_promised(open_page, product, session):
    """What travels to a browser that opens every page once, as the browser counts it, is below 150 kB of scripts,
    styles and pictures."""
    page = opened(open_page, product, session, "/").page
    travelled = {}
    for one in PAGES:
        page.goto(product.address + one.path)
        expect(page.locator("body")).to_have_attribute("data-ready", "yes")
        for name, size in page.evaluate(
            "performance.getEntriesByType('resource').map((one) => [one.name, one.encodedBodySize])"
        ):
            if "/console/static/" in name:
                travelled[name] = max(size, travelled.get(name, 0))
    assert len(travelled) > 10
    assert sum(travelled.values()) < 150_000
