"""The chat on the real product: `ansambl up` as a user starts it, the real engine, the embedded model."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from product import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90_000


def enter(page: Page) -> None:
    """Send what stands in the box, once it stands there and somebody can be asked."""
    expect(page.locator("#send")).to_be_enabled()
    page.locator("#message").press("Enter")


def figure(page: Page, answer: int, name: str) -> int:
    shown = page.locator("article.answer").nth(answer).locator(f".{name}").inner_text()
    return int("".join(one for one in shown if one.isdigit()))


def test_a_stranger_opens_the_chat_and_talks_to_the_roles(open_page, product, screenshot):
    page = open_page(f"{product.address}/console/chat").page
    expect(page.locator("#welcome .embedded")).to_contain_text("demonstration")
    chips = page.locator("#chips label")
    expect(chips.first).to_have_text("coder")
    names = chips.all_inner_texts()
    assert names == ["coder", "reasoner", "brief", "philosopher", "translator", "critic", "summariser",
                     "council", "careful", "debate", "auto"]  # fmt: skip
    page.locator("#examples button").first.click()
    page.get_by_role("button", name="Send").click()
    answers = page.locator("article.answer")
    expect(answers.nth(0).locator(".figures")).to_contain_text("cached", timeout=ANSWER_LIMIT)
    expect(answers.nth(0).locator(".text").last).not_to_be_empty()
    expect(answers.nth(0).locator(".first")).to_contain_text("first word")

    # The next role goes on with the same conversation, and most of it is not read again.
    page.locator("#chips label", has_text="brief").click()
    page.get_by_label("Message", exact=True).fill("Say it in one sentence.")
    enter(page)
    expect(answers.nth(1).locator(".figures")).to_contain_text("cached", timeout=ANSWER_LIMIT)
    expect(answers.nth(1).locator("h2")).to_contain_text("brief")
    assert figure(page, 1, "cached") > figure(page, 1, "prefilled")
    screenshot(page, "product-chat-light-en")


def test_stop_frees_the_engine(open_page, product):
    page = open_page(f"{product.address}/console/chat?to=council&q=Describe%20the%20sea%20at%20length.").page
    enter(page)
    answer = page.locator("article.answer")
    # The gateway's own stream says who is answering.
    expect(answer.locator("details.thinking .part .by").first).to_contain_text("coder", timeout=ANSWER_LIMIT)
    wait_for(lambda: product.instance()["running"] > 0, "the instance is at work")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(answer).to_contain_text("Stopped.")
    wait_for(lambda: product.instance()["running"] == 0, "the instance has nothing to do")


def test_roles_side_by_side_share_the_beginning(open_page, product, screenshot):
    """The columns of a second question read what they have in common from the engine's cache."""
    address = f"{product.address}/console/chat?to=coder,reasoner,brief&q=Say%20hello%20in%20one%20line."
    page = open_page(address).page
    enter(page)
    expect(page.locator(".figures:visible")).to_have_count(3, timeout=ANSWER_LIMIT)
    page.locator("#message").fill("And now say it in other words, please.")
    enter(page)
    expect(page.locator(".figures:visible")).to_have_count(6, timeout=ANSWER_LIMIT)
    shares = [(figure(page, at, "cached"), figure(page, at, "prefilled")) for at in range(3, 6)]
    assert sum(cached for cached, _ in shares) > sum(prefilled for _, prefilled in shares), shares
    expect(page.locator("article.answer h2 small")).to_have_text(["embedded"] * 6)
    screenshot(page, "product-side-by-side-light-en")


def test_a_council_of_the_real_product_shows_its_parts_and_what_each_took(open_page, product, screenshot):
    page = open_page(f"{product.address}/console/chat?to=council,auto&q=Is%20tea%20better%20than%20coffee%3F").page
    page.locator("#sampling summary").click()
    page.locator("#limit-own").check()
    page.locator("#limit").fill("6")
    enter(page)
    expect(page.locator(".figures:visible")).to_have_count(2, timeout=ANSWER_LIMIT)
    council, auto = page.locator("article.answer").all()
    expect(council.locator("details.thinking > summary")).to_contain_text("3 answers in")
    council.locator("details.thinking > summary").click()
    expect(council.locator(".part .by > span:nth-child(2)")).to_have_text(["coder", "reasoner", "philosopher"])
    for part in council.locator(".part small").all():
        expect(part).to_contain_text("answer ")
    expect(auto.locator(".route")).to_contain_text(" answers – ")
    screenshot(page, "product-council-light-en")


def test_a_key_that_may_only_chat_chats_and_sees_no_more(open_page, product):
    """It needs nothing of the admin API; with keys there are, strangers are asked for one."""
    headers = {"authorization": f"Bearer {product.token}"}
    made = product.client.post("/admin/api/keys", json={"name": "reader", "endpoints": ["chat"]}, headers=headers)
    assert made.status_code in (200, 201), made.text
    found = made.json()
    try:
        watched = open_page(f"{product.address}/console/chat")
        watched.expected = ("Failed to load resource",)
        page = watched.page
        page.locator("#key").fill(found["secret"])
        page.keyboard.press("Enter")
        expect(page.locator("#chips label").first).to_have_text("coder")
        page.locator("#message").fill("Say hello.")
        enter(page)
        expect(page.locator(".figures:visible")).to_have_count(1, timeout=ANSWER_LIMIT)
        expect(page.locator(".pages-row a")).to_have_text(["Chat"])
        # Who signs out leaves nothing behind for the next one at this browser.
        page.locator("#message").fill("a draft")
        page.locator("#sign-out").click()
        expect(page.locator("#key")).to_be_visible()
        left = page.evaluate("[sessionStorage.getItem('ansambl.chat'), sessionStorage.getItem('ansambl.chat.draft')]")
        assert left == [None, None]
    finally:
        removed = product.client.delete(f"/admin/api/keys/{found['key']['id']}", headers=headers)
        assert removed.status_code < 300, removed.text
