"""The console in Firefox and in WebKit: every page is whole, and what people do there is done."""

from __future__ import annotations

import pytest
from foreign_browsers import OtherBrowser
from product import Started

from ansambl.console.pages import PAGES

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90.0
READY = "return document.body.dataset.ready === 'yes'"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
STATES = {**{page.key: page.path for page in PAGES}, "role": "/console/roles/edit?name=coder"}
DROP = """const transfer = new DataTransfer();
transfer.items.add(new File(["# A lease\\n\\nThe notice period is four months."], "lease.md"));
const event = new DragEvent("drop", { bubbles: true, cancelable: true });
Object.defineProperty(event, "dataTransfer", { value: transfer });
document.querySelector(".drop").dispatchEvent(event);"""
SLIDE = """const slider = document.querySelector("#context-slider");
slider.value = Number(slider.value) + 1;
slider.dispatchEvent(new Event("input", { bubbles: true }));
slider.dispatchEvent(new Event("change", { bubbles: true }));"""


def opened(browser: OtherBrowser, product: Started, path: str) -> OtherBrowser:
    browser.go(product.address + path)
    browser.until(lambda: browser.run(READY), f"{path} is ready")
    return browser


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("state", STATES)
def test_every_page_is_ready_and_whole(browser, product, picture, state, size):
    browser.resize(*size)
    opened(browser, product, STATES[state])
    assert browser.run("return document.querySelectorAll('h1').length") == 1
    assert not browser.is_visible("#sign-in-page")
    if state == "plan":
        browser.sees("#fit .verdict")
    if state == "traffic":
        product.chat("brief", "Say hello.", max_tokens=1)
        opened(browser, product, STATES[state])
        browser.until(
            lambda: browser.run("return document.querySelectorAll('[data-chart] canvas').length"),
            "the charts are drawn",
        )
    if state == "overview":
        browser.sees("[data-online=true]")
    picture(f"{state}-{'desktop' if size[0] > 600 else 'phone'}")
    assert browser.run(OVERFLOW) <= 0


def test_what_happens_shows_without_a_reload(browser, product):
    opened(browser, product, "/")
    browser.sees("[data-online=true]")
    answered = int(browser.run("return document.querySelector('#answered').textContent"))
    assert product.chat("brief", "Say hello.", max_tokens=2).status_code == 200
    browser.sees("#answered", str(answered + 1))
    browser.sees("#requests tbody tr", "brief")


def test_an_answer_is_streamed_and_counted(browser, product, picture):
    opened(browser, product, "/console/chat?to=coder&q=Why%20is%20the%20sky%20blue%3F")
    browser.until(lambda: not browser.run("return document.querySelector('#send').disabled"), "somebody can be asked")
    browser.type("#message", "\ue007")
    browser.sees("article.answer .figures", "cached", ANSWER_LIMIT)
    assert browser.run("return document.querySelector('article.answer .text').textContent.trim().length") > 0
    picture("chat-answered")


def test_stop_frees_the_engine(browser, product):
    opened(browser, product, "/console/chat?to=council&q=Describe%20the%20sea%20at%20length.")
    browser.until(lambda: not browser.run("return document.querySelector('#send').disabled"), "somebody can be asked")
    browser.type("#message", "\ue007")
    browser.until(lambda: product.instance()["running"] > 0, "the instance is at work", ANSWER_LIMIT)
    browser.click("#stop")
    browser.sees("article.answer", "Stopped.")
    browser.until(lambda: product.instance()["running"] == 0, "the instance has nothing to do")


def test_a_role_is_edited_and_saved(browser, product):
    name = f"{browser.name}-pilot"
    headers = {"authorization": f"Bearer {product.token}"}
    made = product.client.put(f"/admin/api/roles/{name}", json={"fields": {"instruction": "Fly."}}, headers=headers)
    assert made.status_code < 300, made.text
    opened(browser, product, f"/console/roles/edit?name={name}")
    browser.type("#f-instruction", "Fly low.", anew=True)
    browser.sees("#dirty", "Unsaved changes")
    browser.click("#save")
    browser.sees("#dirty", "version 2")
    saved = product.client.get(f"/admin/api/roles/{name}", headers=headers).json()
    assert "Fly low." in str(saved)


def test_files_are_chosen_and_dropped_into_knowledge(browser, product, tmp_path):
    opened(browser, product, "/console/knowledge")
    chosen = tmp_path / f"{browser.name}.md"
    chosen.write_text(f"# Pruning\n\nPrune the maple of {browser.name} in late summer.\n", encoding="utf-8")
    browser.type("#files", str(chosen))
    browser.sees(".sending [role=status]", "1 ", ANSWER_LIMIT)
    browser.sees("#holdings tbody tr", "documents", ANSWER_LIMIT)
    opened(browser, product, "/console/knowledge")
    browser.run(DROP)
    browser.sees(".sending [role=status]", "1 ", ANSWER_LIMIT)


def test_the_plan_follows_its_sliders(browser, product):
    opened(browser, product, "/console/plan")
    cache = "return Number(document.querySelector('#fit [data-part=kv_cache]')?.dataset.bytes ?? 0)"
    before = browser.until(lambda: browser.run(cache), "the footprint shows")
    browser.run(SLIDE)
    browser.until(lambda: browser.run(cache) > before, "the cache grows with the context")


def test_language_and_colours_are_chosen_and_stay(browser, product, picture):
    opened(browser, product, "/console/keys")
    browser.click("[data-language=ru]")
    browser.until(lambda: browser.run("return document.documentElement.lang") == "ru", "Russian")
    browser.until(lambda: browser.run(READY), "the page is ready again")
    browser.click("#theme")
    browser.click("#theme")
    opened(browser, product, "/console/logs")
    assert browser.run("return [document.documentElement.lang, document.documentElement.dataset.theme]") == [
        "ru",
        "dark",
    ]
    ground = browser.run("return getComputedStyle(document.documentElement).backgroundColor")
    assert max(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 60
    picture("logs-dark-ru")
    browser.click("#theme")
    opened(browser, product, "/console/logs?lang=en")


def test_a_key_and_the_address_of_ansambl_console_sign_in(browser, product):
    headers = {"authorization": f"Bearer {product.token}"}
    fields = {"name": browser.name, "endpoints": ["chat", "admin:read"]}
    made = product.client.post("/admin/api/keys", json=fields, headers=headers).json()
    try:
        browser.go(f"{product.address}/console/logs")
        browser.sees("#sign-in-page")
        browser.type("#key", made["secret"] + "\ue007")
        browser.sees("#sign-out")
        assert "ansambl_session" not in browser.run("return document.cookie")
        browser.until(lambda: browser.run(READY), "the page is ready")
        browser.click("#sign-out")
        browser.sees("#sign-in-page")
        # Open pages are not read anew by an address that differs behind its # alone.
        browser.go("about:blank")
        browser.go(product.command("console").stdout.strip())
        browser.sees("#sign-out")
        assert "#" not in browser.run("return location.href")
        browser.wrongs()  # the answers 401, which were what is tested here
    finally:
        removed = product.client.delete(f"/admin/api/keys/{made['key']['id']}", headers=headers)
        assert removed.status_code < 300, removed.text
    opened(browser, product, "/")
    assert not browser.is_visible("#sign-in-page")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_browser_tells_that_the_consoles_own_page_asks(browser, product, host):
    """What the owner is known by while there are no keys; by both names of this machine."""
    browser.go(f"http://{host}:{product.port}/")
    browser.sees("[data-online=true]")
    browser.run("fetch('/admin/api/keys').then((one) => { document.body.dataset.answered = one.status; })")
    assert browser.until(lambda: browser.run("return document.body.dataset.answered"), "an answer") == "200"
