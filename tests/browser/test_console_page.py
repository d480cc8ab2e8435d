"""The console's page in a real Chromium: the machine's state, languages, colours, sizes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PHONE = {"width": 360, "height": 740}
# Text must differ from its ground at least so much (WCAG 2.2, level AA).
CONTRAST = 4.5
MEASURE_CONTRAST = """(least) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => rgb.slice(0, 3).map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const spoken = [...one.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!spoken || !one.checkVisibility() || one.closest(".hidden, .skip, :disabled, script, noscript")) continue;
    const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) found.push(`${one.tagName} ${one.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def send(page: Page, message: str) -> None:
    box = page.locator("#message")
    box.fill(message)
    box.press("Enter")


def test_the_panel_says_what_runs_and_what_happened(open_page, fake):
    page = open_page(fake.address).page
    panel = page.get_by_role("complementary")
    big, remote = panel.locator(".instance").all()
    expect(big).to_contain_text("ready")
    expect(big).to_contain_text("llama.cpp")
    expect(big).to_contain_text("61.5 GiB")
    expect(big).to_contain_text("131,072 tokens")
    expect(big).to_contain_text("1 running, 0 waiting")
    expect(remote).to_contain_text("unreachable")
    expect(remote).to_contain_text("Nothing answers at http://127.0.0.1:11434.")
    expect(panel.locator(".roles li")).to_have_count(5)
    expect(panel.locator(".events li").first).to_contain_text("It answers again after 3.1 s.")
    expect(panel).to_contain_text("12 answered, 1 failed, 1 running")
    expect(page.locator(".embedded").first).to_be_hidden()
    expect(page.locator("#panel-toggle")).to_have_attribute("title", "big: ready\nremote: unreachable")
    # What changes on the machine changes here without a reload.
    fake.state["instances"][0]["state"] = "restarting"
    expect(big).to_contain_text("restarting")


def test_the_panel_says_how_a_swap_goes(open_page, fake):
    going, coming = fake.state["instances"][0], fake.state["instances"][1]
    going.update(residency="draining", wanted="small")
    coming.update(model="small", state="asleep", message=None, residency="asleep", wanted=None)
    page = open_page(fake.address).page
    big, small = page.locator(".instance").all()
    expect(big).to_contain_text("finishes its answers, then makes room for small")
    expect(small).not_to_contain_text("makes room")
    # What sleeps has not failed.
    expect(small.locator(".pill")).to_have_text("asleep")
    expect(small.locator(".pill")).to_have_class("pill stopped")
    fake.state["instances"][0].update(residency="leaving", state="stopping")
    expect(big).to_contain_text(re.compile(r"stopping\s*makes room for small"))
    fake.state["instances"][0].update(residency="draining", state="ready", wanted=None)
    expect(big).to_contain_text("finishes its answers, then rests")


def test_the_embedded_model_is_called_a_demonstration(open_page, fake, screenshot):
    fake.state["default_model"] = "embedded"
    page = open_page(fake.address, language="ru").page
    expect(page.locator("#welcome .embedded")).to_be_visible()
    expect(page.locator("#state .embedded")).to_be_hidden()
    screenshot(page, "welcome-embedded-light-ru")
    # It knows English only, so the first questions are English in every language of the page.
    expect(page.locator("#examples")).to_contain_text("finds duplicate files")
    send(page, "first")
    expect(page.locator("#welcome .embedded")).to_be_hidden()
    expect(page.locator("#state .embedded")).to_be_visible()


def test_the_panel_notices_that_ansambl_is_gone_and_back(open_page, served, screenshot):
    watched = open_page(served.fake.address)
    watched.expected = ("Failed to load resource",)
    page = watched.page
    expect(page.locator(".instance").first).to_be_visible()
    served.stop()
    expect(page.locator("#gone")).to_have_text("Ansambl does not answer. Trying again…")
    send(page, "anyone there?")
    expect(page.get_by_role("alert")).to_contain_text("Ansambl cannot be reached.")
    screenshot(page, "gone-light-en")
    served.start()
    expect(page.locator("#gone")).to_have_text("")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")


def test_the_language_follows_the_browser_the_switch_and_the_address(open_page, fake, screenshot):
    page = open_page(fake.address, language="ru").page
    assert page.evaluate("document.documentElement.lang") == "ru"
    expect(page.locator("#chips")).to_contain_text("кодер")
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    screenshot(page, "chat-answer-light-ru")
    page.get_by_role("link", name="EN").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.locator("#chips")).to_contain_text("coder")
    expect(page.locator("article.answer h2")).to_have_text("coder")
    assert page.url.endswith("?lang=en")
    # The choice outlives the page, against the browser's own language.
    page.goto(fake.address)
    page.wait_for_url(re.compile(r"\?lang=en$"))
    assert page.evaluate("document.documentElement.lang") == "en"
    page.goto(f"{fake.address}/?lang=ru")
    assert page.evaluate("document.documentElement.lang") == "ru"
    expect(page.locator("#state .instance").first).to_be_visible()
    assert {"en", "ru"} <= set(fake.languages)


def test_a_change_of_language_does_not_end_an_answer(open_page, fake):
    page = open_page(fake.address).page
    send(page, "think")
    expect(page.locator("details.thinking")).to_be_visible()
    page.get_by_role("link", name="RU").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    fake.release.set()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_phone_shows_all_without_scrolling_sideways(open_page, fake, screenshot, language, colours):
    page = open_page(fake.address, **PHONE, language=language, color_scheme=colours, has_touch=True).page
    expect(page.locator("#examples li")).to_have_count(4)
    screenshot(page, f"welcome-phone-{colours}-{language}")
    assert fits(page)
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    screenshot(page, f"chat-phone-{colours}-{language}")
    assert fits(page)
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []
    page.locator("#panel-toggle").click()
    expect(page.locator(".instance").first).to_be_visible()
    expect(page.locator("#panel-close")).to_be_focused()
    screenshot(page, f"machine-phone-{colours}-{language}")
    assert fits(page)
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []
    page.keyboard.press("Escape")
    expect(page.locator("#state")).to_be_hidden()
    expect(page.locator("#panel-toggle")).to_be_focused()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_desktop_is_readable_in_both_colours(open_page, fake, screenshot, colours):
    page = open_page(fake.address, color_scheme=colours).page
    expect(page.locator("#examples li")).to_have_count(4)
    expect(page.locator(".instance").first).to_be_visible()
    screenshot(page, f"welcome-{colours}-en")
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    send(page, "break")
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []
    page.locator("#scroll").evaluate("(one) => { one.scrollTop = 0; }")
    expect(page.locator("#newest")).to_be_visible()
    screenshot(page, f"chat-top-{colours}-en")
    assert fits(page)


def test_the_colours_are_switched_and_remembered(open_page, fake):
    page = open_page(fake.address, color_scheme="light").page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Colours: as the system").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


def test_everything_that_can_be_used_has_a_name(open_page, fake):
    page = open_page(fake.address).page
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, a, input, select, textarea, summary")]
      .filter((one) => one.checkVisibility())
      .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim() || one.title))
      .map((one) => one.outerHTML)""")
    assert nameless == []
    # Tab walks through the page and every stop can be seen.
    page.locator("body").press("Tab")
    stops = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.name || document.activeElement.className"
            )
        )
    assert {"theme", "panel-toggle", "target", "message"} <= stops
