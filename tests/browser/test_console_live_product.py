"""Overview and Traffic on the real product: real questions show as they are asked and answered, without a reload."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90_000
QUESTION = "Write a Python function that adds two numbers, and explain each of its lines in one short sentence."


def digits(words: str) -> int:
    return int("".join(one for one in words if one.isdigit()))


def test_real_questions_show_with_their_tokens_and_what_was_cached(open_page, product, screenshot):
    page = open_page(product.address).page
    card = page.locator(".instance")
    expect(card.locator(".word")).to_have_text("ready")
    expect(card).to_contain_text("llama.cpp")
    expect(page.locator(".embedded")).to_contain_text("demonstration")
    # The parts of what is reserved add up to it, and each is shown.
    instance = product.instance()
    assert sum(instance["parts"]["ram"].values()) == instance["reserved"]["ram"]
    assert instance["parts"]["ram"]["weights"] > 50_000_000
    expect(page.locator(".device .legend")).to_contain_text("weights")
    expect(page.locator(".device .legend")).to_contain_text("KV cache")
    expect(page.locator("[data-online=true]")).to_be_visible()
    before = digits(page.locator("#answered").inner_text())

    for role in ("coder", "brief"):
        with product.client.stream(
            "POST", "/v1/chat/completions",
            json={"model": role, "stream": True, "max_tokens": 12, "stream_options": {"include_usage": True},
                  "messages": [{"role": "user", "content": QUESTION}]},
        ) as answer:  # fmt: skip
            answer.read()
    rows = page.locator("#requests tbody tr")
    expect(rows.first).to_contain_text("brief", timeout=ANSWER_LIMIT)
    expect(rows.first.locator(".output")).to_have_text("12")
    cached, prompt = (digits(one) for one in rows.first.locator(".prompt").inner_text().split(" of "))
    # The second role reads only its own note anew.
    assert 0 < cached < prompt
    expect(page.locator("#answered")).to_have_text(str(before + 2))
    expect(page.locator("#cached")).to_contain_text("%")
    expect(page.locator("#rate")).not_to_have_text("–")
    screenshot(page, "overview-product-en")


def test_an_instance_is_unloaded_and_loaded_by_hand_and_the_page_follows(open_page, product):
    page = open_page(product.address, language="ru").page
    card = page.locator(".instance")
    expect(page.locator("[data-online=true]")).to_be_visible()
    card.locator("[data-action=unload]").click()
    expect(card.locator("[data-action=load]")).to_be_visible(timeout=30_000)
    expect(page.locator(".device rect.weights")).to_have_attribute("width", "0.0")
    card.locator("[data-action=load]").click()
    expect(card.locator(".pill")).to_have_class("pill ready", timeout=60_000)
    card.locator("[data-action=pin]").click()
    expect(card.locator("[data-action=unpin]")).to_be_visible()
    card.locator("[data-action=unpin]").click()
    expect(card.locator("[data-action=pin]")).to_be_visible()
    assert float(page.locator(".device rect.weights").get_attribute("width")) > 0


def test_a_page_too_many_says_so_and_begins_when_there_is_room(open_page, product):
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with httpx.Client(
        base_url=product.address, headers={"authorization": f"Bearer {product.token}"}, limits=unlimited, timeout=60,
        trust_env=False,
    ) as client:  # fmt: skip
        streams = []
        while len(streams) < 1000:
            streams.append(client.send(client.build_request("GET", "/admin/api/events"), stream=True))
            if streams[-1].status_code != 200:
                break
        assert streams[-1].status_code == 503
        watched = open_page(product.address)
        watched.expected = ("Failed to load resource: the server responded with a status of 503",)
        page = watched.page
        expect(page.locator("#connection")).to_contain_text("streams are open already")
        expect(page.locator("[data-online=true]")).to_have_count(0)
        for one in streams:
            one.close()
        expect(page.locator("[data-online=true]")).to_be_visible(timeout=30_000)
        expect(page.locator("#connection")).to_be_hidden()


def test_traffic_shows_a_real_question_without_a_reload(open_page, product, screenshot):
    page = open_page(f"{product.address}/console/traffic?by=name").page
    expect(page.locator("[data-chart] canvas").first).to_be_visible()
    asked = page.locator("#sums tbody tr", has_text="critic")
    expect(asked).to_have_count(0)
    page.wait_for_function("() => document.body.dataset.ready === 'yes'")
    with page.expect_response(lambda one: "/admin/api/traffic" in one.url, timeout=ANSWER_LIMIT):
        assert product.chat("critic", QUESTION).status_code == 200
    expect(asked.locator("[data-metric=requests]")).to_have_text("1", timeout=30_000)
    expect(asked.locator("[data-metric=output_tokens]")).to_have_text("16")
    assert digits(asked.locator("[data-metric=prompt_tokens]").inner_text()) > 20
    # A name that nothing here has is a request that failed.
    assert product.chat("nobody", QUESTION).status_code == 404
    unknown = page.locator("#sums tbody tr", has_text="unknown name")
    expect(unknown.locator("[data-metric=failed]")).to_have_text("1", timeout=30_000)
    # The days hold the same numbers.
    page.locator("#range").select_option("7d")
    expect(asked.locator("[data-metric=requests]")).to_have_text("1")
    screenshot(page, "traffic-product-en")
