"""The console when keys exist: it asks for one, keeps it in a cookie that no script reads, and gives it back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from product import alive, make_data_folder, start_product, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90_000
REFUSED = ("Failed to load resource: the server responded with a status of 40",)
"""What Chromium says of each answer with status 401 or 403; they are what is tested here."""


@pytest.fixture
def product(tmp_path, embedded_model_folder):
    config = tmp_path / "ansambl.toml"
    config.write_text("", encoding="utf-8")
    data = make_data_folder(tmp_path / "data", embedded_model_folder)
    started = start_product(data, config, tmp_path / "up.log", "--offline")
    yield started
    started.end()
    wait_for(lambda: not alive(started.seen), "no process left", 15)


def created(product, **fields):
    headers = {"authorization": f"Bearer {product.token}"}
    answer = product.client.post("/admin/api/keys", json=fields, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_key_is_asked_for_once_and_given_back(open_page, product, screenshot):
    secret = created(product, name="browser", endpoints=["chat"], roles=["coder", "brief"])["secret"]
    watched = open_page(product.address)
    watched.expected = REFUSED
    page = watched.page
    form = page.locator("#sign-in")
    expect(form).to_be_visible()
    expect(page.locator("#composer")).to_be_hidden()
    screenshot(page, "sign-in-en")

    # A wrong key says so, and nothing of the page is lost.
    page.get_by_label("API key").fill(secret[:-1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#sign-in-problem")).to_contain_text("not whole")

    page.get_by_label("API key").fill(f"  {secret} ")
    page.keyboard.press("Enter")
    expect(form).to_be_hidden()
    expect(page.locator("#chips label")).to_have_count(2)
    expect(page.locator("#gone")).to_contain_text("admin:read")
    assert secret not in page.content()
    assert "ansambl_session" not in page.evaluate("document.cookie")
    cookie = next(one for one in page.context.cookies() if one["name"].startswith("ansambl_session"))
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["value"] not in secret

    # A chat is a change: it goes through because the page is of this address.
    page.get_by_label("Message", exact=True).fill("Say hello.")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures").first).to_contain_text("cached", timeout=ANSWER_LIMIT)

    # Still signed in after a reload; after signing out the cookie is worth nothing, whoever kept it.
    page.reload()
    expect(page.locator("#chips label")).to_have_count(2)
    page.get_by_role("button", name="Sign out").click()
    expect(form).to_be_visible()
    answer = product.client.get("/v1/models", headers={"cookie": f"{cookie['name']}={cookie['value']}"})
    assert answer.status_code == 401


def test_a_revoked_key_ends_its_session_and_the_last_one_opens_the_console_again(open_page, product):
    made = created(product, name="browser", endpoints=["chat", "admin:read"])
    watched = open_page(product.address)
    watched.expected = REFUSED
    page = watched.page
    page.get_by_label("API key").fill(made["secret"])
    page.keyboard.press("Enter")
    expect(page.locator("#state .instance").first).to_be_visible()
    other = created(product, name="other")
    headers = {"authorization": f"Bearer {product.token}"}
    for one in (made, other):
        assert product.client.delete(f"/admin/api/keys/{one['key']['id']}", headers=headers).status_code == 200
        if one is made:
            expect(page.locator("#sign-in")).to_be_visible()
    page.reload()
    expect(page.locator("#sign-in")).to_be_hidden()
    expect(page.locator("#chips label").first).to_be_visible()
