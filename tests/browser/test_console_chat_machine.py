"""What the chat shows of swaps and of knowledge: the real product, with room for one of two models."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.engine]

CONFIGURATION = """
[models.big]
checkpoint = "embedded"
context = 4096
parallel = 1

[models.small]
checkpoint = "embedded"
context = 2048
parallel = 1

[budget]
ram = "420MiB"

[roles.helper]
model = "small"
instruction = "Answer from the documents."
collections = ["notes"]
"""
"""Each takes some 240 MiB."""
ANSWER_LIMIT = 90_000

_NOTE_WAITS = """() => {
  window.waits = [];
  const note = () => {
    for (const one of document.querySelectorAll("article.answer .waiting")) window.waits.push(one.textContent);
  };
  new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


def enter(page: Page) -> None:
    """Send what stands in the box, once it stands there and somebody can be asked."""
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#message").press("Enter")


@pytest.fixture(scope="module")
def configuration():
    return CONFIGURATION


def test_the_wait_for_another_model_is_made_visible(open_page, product, screenshot):
    address = f"{product.address}/console/chat?to=big,small&q=Describe%20the%20sea%20at%20length."
    page = open_page(address).page
    page.locator("#sampling summary").click()
    page.locator("#limit-own").check()
    page.locator("#limit").fill("7")
    # Between two looks from outside so small a model may be loaded, so the page itself notes what it said.
    page.evaluate(_NOTE_WAITS)
    enter(page)
    waiting = page.locator("article.answer").nth(1).locator(".waiting")
    expect(waiting).to_contain_text("big finishes its answers, then makes room for small", timeout=ANSWER_LIMIT)
    screenshot(page, "product-waiting-light-en")
    expect(page.locator(".figures:visible")).to_have_count(2, timeout=ANSWER_LIMIT)
    said = list(dict.fromkeys(page.evaluate("window.waits")))
    # What changes is told four times a second and drawn four times a second: less than that nobody would read.
    is_brief = product.instance("small")["load_seconds"] < 1
    assert is_brief or any("Loading small (was big)" in one for one in said), said
    first, second = page.locator("article.answer").all()
    expect(first.locator(".swaps")).to_have_count(0)
    expect(second.locator(".swaps")).to_have_text("swaps 1")
    expect(second.locator("h2")).to_contain_text("small")


def test_an_answer_from_documents_leads_to_its_passage(open_page, product, tmp_path, screenshot):
    note = tmp_path / "tea.md"
    note.write_text("# Tea\n\nThe harbour master drinks green tea at noon.\n", encoding="utf-8")
    added = product.command("knowledge", "add", "--collection", "notes", str(note))
    assert added.returncode == 0, added.stderr
    question = "What%20does%20the%20harbour%20master%20drink%3F"
    page = open_page(f"{product.address}/console/chat?to=helper&q={question}").page
    enter(page)
    expect(page.locator(".figures:visible")).to_have_count(1, timeout=ANSWER_LIMIT)
    # Whether so small a model cites is its own affair; what it was given is shown in any case.
    page.locator(".sources details").first.locator("summary").first.click()
    if page.locator(".sources .others").count():
        page.locator(".sources .source summary").first.click()
    expect(page.locator(".source blockquote").first).to_contain_text("drinks green tea at noon")
    screenshot(page, "product-sources-light-en")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the passage in its document").click()
    expect(opened.value.locator("main")).to_contain_text("drinks green tea at noon")
    assert "/console/knowledge/documents/" in opened.value.url
