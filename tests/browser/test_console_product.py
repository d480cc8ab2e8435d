"""The console on the real product: `ansambl up` as a user starts it, the real engine, the embedded model."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from product import alive, make_data_folder, start_product, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90_000


@pytest.fixture
def product(tmp_path, embedded_model_folder):
    config = tmp_path / "ansambl.toml"
    config.write_text("", encoding="utf-8")
    data = make_data_folder(tmp_path / "data", embedded_model_folder)
    started = start_product(data, config, tmp_path / "up.log", "--offline")
    yield started
    started.end()
    wait_for(lambda: not alive(started.seen), "no process left", 15)


def test_a_stranger_opens_the_console_and_talks_to_the_roles(open_page, product, screenshot):
    watched = open_page(product.address)
    page = watched.page
    expect(page.locator("#state .instance")).to_contain_text("ready")
    expect(page.locator("#state .instance")).to_contain_text("llama.cpp")
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

    # The next role goes on with the same conversation, and most of it is not read again.
    page.locator("#chips label", has_text="brief").click()
    page.get_by_label("Message", exact=True).fill("Say it in one sentence.")
    page.keyboard.press("Enter")
    expect(answers.nth(1).locator(".figures")).to_contain_text("cached", timeout=ANSWER_LIMIT)
    expect(answers.nth(1).locator("h2")).to_contain_text("brief")
    cached, prefilled = (
        int("".join(one for one in answers.nth(1).locator(f".{name}").inner_text() if one.isdigit()))
        for name in ("cached", "prefilled")
    )
    assert cached > prefilled
    screenshot(page, "product-light-en")

    # Stop frees the engine: nothing is running on the instance any more.
    page.locator("#chips label", has_text="council").click()
    page.get_by_label("Message", exact=True).fill("Describe the sea at length.")
    page.keyboard.press("Enter")
    expect(answers.nth(2).locator("details.thinking .text")).to_contain_text("coder", timeout=ANSWER_LIMIT)
    page.get_by_role("button", name="Stop").click()
    expect(answers.nth(2)).to_contain_text("Stopped.")
    wait_for(lambda: product.instance()["running"] == 0, "the instance has nothing to do")
