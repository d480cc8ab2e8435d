"""How the chat looks in a real Chromium: languages, colours, sizes, names of what can be used."""

from __future__ import annotations

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
    if (!spoken || !one.checkVisibility()) continue;
    if (one.closest(".visually-hidden, .skip, :disabled, script, noscript")) continue;
    const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) found.push(`${one.tagName} ${one.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def enter(page: Page) -> None:
    """Send what stands in the box, once it stands there and somebody can be asked."""
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#message").press("Enter")


def chat(fake, query: str = "") -> str:
    return f"{fake.address}/console/chat{query}"


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def send(page: Page, message: str) -> None:
    page.locator("#message").fill(message)
    # Where fingers write, Enter begins a line.
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#send").click()


def test_the_embedded_model_is_called_a_demonstration(open_page, fake, screenshot):
    fake.runs_on = "embedded"
    page = open_page(chat(fake), language="ru").page
    expect(page.locator("#welcome .embedded")).to_be_visible()
    screenshot(page, "chat-welcome-embedded-light-ru")
    # It knows English only, so the first questions are English in every language of the page.
    expect(page.locator("#examples")).to_contain_text("finds duplicate files")
    send(page, "first")
    expect(page.locator("#welcome")).to_be_hidden()


def test_ansambl_that_is_gone_is_said_and_retried(open_page, served):
    watched = open_page(chat(served.fake))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    expect(page.locator("#chips label").first).to_be_visible()
    served.stop()
    send(page, "anyone there?")
    expect(page.locator("article.answer").get_by_role("alert")).to_contain_text("Ansambl cannot be reached.")
    served.start()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("article.answer")).to_contain_text("coder read 1 messages.")


def test_roles_that_changed_are_there_when_ansambl_is_back(open_page, served):
    watched = open_page(chat(served.fake))
    watched.expected = ("Failed to load resource",)
    page = watched.page
    expect(page.locator("#chips label").first).to_be_visible()
    served.stop()
    served.fake.extra_models = [{"id": "poet", "name": "poet", "description": "", "kind": "role", "aliases": []}]
    served.start()
    expect(page.locator("#chips")).to_contain_text("poet")


def test_a_change_of_language_keeps_what_was_said_written_and_chosen(open_page, fake, screenshot):
    page = open_page(chat(fake), language="ru").page
    expect(page.locator("#chips")).to_contain_text("кодер")
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    screenshot(page, "chat-answer-light-ru")
    page.locator("#compare").check()
    page.locator("#chips label", has_text="философ").click()
    page.locator("#message").fill("half a sentence")
    page.get_by_role("link", name="EN", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#message")).to_have_value("half a sentence")
    expect(page.locator("#chips :checked")).to_have_count(2)
    expect(page.locator("#chips label:has(:checked)")).to_have_text(["coder", "philosopher"])
    expect(page.locator("article.answer h2 > span:not(.badge)")).to_have_text("coder")
    expect(page.locator(".figures")).to_contain_text("cached 1,873")


def test_what_is_still_written_is_broken_into_lines(open_page, fake):
    """Pico keeps what is `aria-busy` in one line, and makes a row of what has the role `group`."""
    page = open_page(chat(fake), width=700).page
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word " * 60)
    assert page.evaluate("(one => one.scrollWidth <= one.clientWidth)(document.querySelector('.answer .text p'))")
    page.get_by_role("button", name="Stop", exact=True).click()
    assert fake.left.wait(10)
    page.locator("#chips label", has_text="council").click()
    send(page, "parts")
    parts = page.locator(".parts .part")
    expect(parts).to_have_count(2)
    first, second = (parts.nth(at).bounding_box() for at in range(2))
    assert second["y"] >= first["y"] + first["height"]
    assert second["x"] == first["x"]
    fake.release.set()


def test_an_answer_that_a_change_of_language_ended_is_kept(open_page, fake):
    page = open_page(chat(fake)).page
    send(page, "slow")
    expect(page.locator("article.answer")).to_contain_text("word word")
    page.get_by_role("link", name="RU", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    assert fake.left.wait(10), "the server did not see that the client left"
    expect(page.locator("article.answer")).to_contain_text("word word")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_phone_shows_all_without_scrolling_sideways(open_page, fake, screenshot, language, colours):
    page = open_page(chat(fake), **PHONE, language=language, color_scheme=colours, has_touch=True).page
    expect(page.locator("#examples li")).to_have_count(4)
    screenshot(page, f"chat-welcome-phone-{colours}-{language}")
    assert fits(page)
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    screenshot(page, f"chat-phone-{colours}-{language}")
    assert fits(page)
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []


def test_the_words_of_the_empty_box_stay_in_one_line_beside_a_wider_button(open_page, fake):
    page = open_page(chat(fake), **PHONE, language="ru", has_touch=True).page
    box = page.locator("#message")
    height = box.bounding_box()["height"]
    send(page, "slow")
    expect(page.locator("#stop")).to_be_visible()
    expect(box).to_have_value("")
    # "Остановить" leaves less room than "Отправить": the words are cut at the edge, and not across.
    assert box.bounding_box()["height"] == height
    assert box.evaluate("(one) => one.scrollHeight <= one.clientHeight")
    page.locator("#stop").click()


def test_a_phone_shows_who_was_chosen(open_page, fake):
    page = open_page(chat(fake), **PHONE).page
    page.locator("#chips label", has_text="auto").click()
    page.reload()
    chip = page.locator("#chips label:has(:checked)")
    expect(chip).to_have_text("auto")
    expect(chip).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_desktop_is_readable_in_both_colours(open_page, fake, screenshot, colours):
    page = open_page(chat(fake), color_scheme=colours).page
    expect(page.locator("#examples li")).to_have_count(4)
    screenshot(page, f"chat-welcome-{colours}-en")
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []
    send(page, "showcase")
    expect(page.locator(".figures")).to_be_visible()
    send(page, "break")
    expect(page.locator("article.answer").get_by_role("alert")).to_be_visible()
    assert page.evaluate(MEASURE_CONTRAST, CONTRAST) == []
    page.evaluate("window.scrollTo(0, 0)")
    expect(page.locator("#newest")).to_be_visible()
    screenshot(page, f"chat-top-{colours}-en")
    assert fits(page)
    page.locator("#newest").click()
    expect(page.locator("#newest")).to_be_hidden()


def test_everything_that_can_be_used_has_a_name(open_page, fake):
    page = open_page(chat(fake, "?to=coder,reasoner&q=cite")).page
    enter(page)
    expect(page.locator(".figures:visible")).to_have_count(2)
    page.locator("#sampling summary").click()
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, a, input, select, textarea, summary")]
      .filter((one) => one.checkVisibility())
      .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim() || one.title))
      .map((one) => one.outerHTML)""")
    assert nameless == []
    # Tab walks through the page and every stop can be seen.
    page.locator("#message").focus()
    stops = set()
    for _ in range(50):
        page.keyboard.press("Shift+Tab")
        stops.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"compare", "plain-model", "mark", "quiet copy", "quiet again", "quiet go-on"} <= stops
