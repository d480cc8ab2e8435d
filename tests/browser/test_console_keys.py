"""The page Keys in a real browser, on the real product: made, shown once, used, revoked; the door closes and opens."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect
from product import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.engine]

REFUSED = ("Failed to load resource: the server responded with a status of 4",)
"""What Chromium says of each answer with status 400 to 404; they are what is tested here."""
NASTY = '<img src=x onerror="window.hacked=1"> {{ 7 * 7 }} " x-text="window.hacked=1'


@pytest.fixture(autouse=True)
def no_keys(product):
    """Every test begins and ends without a key."""
    yield
    headers = {"authorization": f"Bearer {product.token}"}
    for key in product.client.get("/admin/api/keys", headers=headers).json()["keys"]:
        product.client.delete(f"/admin/api/keys/{key['id']}", headers=headers)


def created(product, **fields):
    answer = product.client.post("/admin/api/keys", json=fields, headers={"authorization": f"Bearer {product.token}"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def status_of(product, secret, path="/v1/models"):
    return httpx.get(product.address + path, headers={"authorization": f"Bearer {secret}"}, trust_env=False).status_code


def ready(page):
    expect(page.locator("body[data-ready=yes]")).to_have_count(1)


def test_the_first_key_closes_the_door_and_its_maker_stays_in(open_page, product, screenshot):
    watched = open_page(f"{product.address}/console/keys")
    page = watched.page
    ready(page)
    expect(page.get_by_text("every program needs a key")).to_be_visible()
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("Limit of requests").fill("60/min, 1000/day")
    page.get_by_label("Limit of tokens").fill("1M/day")
    page.get_by_label("Expires after").fill("30d")
    page.get_by_label("All, also those that come later").uncheck()
    page.get_by_label("coder", exact=True).check()
    page.get_by_label("Reranking").uncheck()
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#secret")
    expect(secret).to_contain_text("ansambl-")
    screenshot(page, "keys-made-en")
    made = secret.inner_text()
    # The form is as it was: another key made at once is for all roles again.
    expect(page.get_by_label("All, also those that come later")).to_be_checked()
    expect(page.get_by_label("coder", exact=True)).to_be_hidden()
    card = page.locator(".cards article")
    expect(card).to_contain_text("laptop")
    expect(card).to_contain_text("60/min, 1K/day · 60 left")
    expect(card).to_contain_text("1M/day · 1,000,000 left")
    assert made not in card.inner_text()
    assert status_of(product, made) == 200
    assert product.client.get("/v1/models").status_code == 401
    key = product.client.get("/admin/api/keys", headers={"authorization": f"Bearer {product.token}"}).json()["keys"][0]
    assert (key["names"], "rerank" in key["endpoints"], "chat" in key["endpoints"]) == (["coder"], False, True)
    assert key["expires"] - key["created"] == 30 * 86_400

    # Shown once: after the next load it is nowhere, and whoever made it is still the owner.
    page.reload()
    ready(page)
    expect(page.locator(".cards article")).to_contain_text("laptop")
    assert made not in page.content()
    page.get_by_role("button", name="Sign out").click()
    watched.expected = REFUSED
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_key_that_cannot_be_says_why_and_nothing_is_lost(open_page, product):
    watched = open_page(f"{product.address}/console/keys")
    watched.expected = REFUSED
    page = watched.page
    ready(page)
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("Limit of requests").fill("sixty")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#making .problem")).to_contain_text("60/min")
    expect(page.get_by_label("Name")).to_have_value("laptop")
    page.get_by_label("Limit of requests").fill("")
    for one in page.locator("input[name=endpoints]").all():
        one.uncheck()
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#making .problem")).to_contain_text("endpoints")


def test_a_change_of_language_keeps_what_was_typed(open_page, product):
    page = open_page(f"{product.address}/console/keys").page
    ready(page)
    page.get_by_label("Name").fill("ноутбук")
    page.get_by_label("Expires after").fill("30d")
    page.get_by_label("Reranking").uncheck()
    page.get_by_label("All, also those that come later").uncheck()
    page.get_by_label("coder", exact=True).check()
    page.get_by_label("How urgent its requests are at most").select_option("batch")
    page.get_by_role("link", name="RU", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    ready(page)
    expect(page.locator("input[name=name]")).to_have_value("ноутбук")
    expect(page.locator("input[name=expires]")).to_have_value("30d")
    expect(page.locator("input[name=endpoints][value=rerank]")).not_to_be_checked()
    expect(page.locator("input[name=endpoints][value=chat]")).to_be_checked()
    expect(page.locator("input[name=all]")).not_to_be_checked()
    expect(page.locator("input[name=roles][value=coder]")).to_be_checked()
    expect(page.locator("input[name=roles][value=coder]")).to_be_visible()
    expect(page.locator("select[name=request_class]")).to_have_value("batch")
    # What was made or emptied does not come back.
    page.locator("#making").evaluate("(form) => form.reset()")
    page.reload()
    ready(page)
    expect(page.locator("input[name=name]")).to_have_value("")
    expect(page.locator("input[name=all]")).to_be_checked()


def test_a_secret_that_nobody_has_taken_is_not_left_unasked(open_page, product):
    watched = open_page(f"{product.address}/console/keys", permissions=["clipboard-read", "clipboard-write"])
    page = watched.page
    ready(page)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#secret")).to_contain_text("ansambl-")
    secret = page.locator("#secret").inner_text()
    page.get_by_role("link", name="RU", exact=True).click(no_wait_after=True)
    wait_for(lambda: page.evaluate("1") == 1 and asked, "the browser asked", 10)
    assert asked == ["beforeunload"]
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.locator("#made").get_by_role("button", name="Copy").click()
    expect(page.locator("#made")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == secret
    assert secret not in page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    page.get_by_role("link", name="RU", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    assert asked == ["beforeunload"]


def test_revoking_asks_first_and_a_name_runs_nothing(open_page, product, screenshot):
    created(product, name=NASTY[:100])
    last = created(product, name="я" * 100)
    watched = open_page(f"{product.address}/console/keys", width=390, height=844, language="ru")
    watched.expected = REFUSED
    page = watched.page
    page.locator("#key").fill(product.token)
    page.keyboard.press("Enter")
    ready(page)
    expect(page.locator(".cards article")).to_have_count(2)
    expect(page.locator(".cards article h2").first).to_have_text(NASTY[:100])
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "keys-ru-390")
    page.locator(".cards article button").first.click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text(NASTY[:100])
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert status_of(product, last["secret"]) == 200
    page.locator(".cards article button").last.click()
    dialog.locator("button.danger").click()
    expect(page.locator(".cards article")).to_have_count(1)
    assert status_of(product, last["secret"]) == 401
    expect(page.locator("details.past")).to_be_visible()


def test_one_s_own_key_can_be_revoked_and_the_last_one_opens_the_door(open_page, product):
    own = created(product, name="browser", endpoints=["admin"])
    watched = open_page(f"{product.address}/console/keys")
    watched.expected = REFUSED
    page = watched.page
    page.get_by_label("API key").fill(own["secret"])
    page.keyboard.press("Enter")
    expect(page.get_by_text("You are signed in with this key.")).to_be_visible()
    page.get_by_role("button", name="Revoke the key 'browser'").click()
    dialog = page.locator("dialog")
    expect(dialog).to_contain_text("you will be signed out")
    expect(dialog).to_contain_text("It is the last key")
    dialog.get_by_role("button", name="Revoke").click()
    # Without keys the browser of this user needs no session.
    expect(page.get_by_text("There is no API key.")).to_be_visible()


def test_who_may_only_read_makes_and_revokes_nothing(open_page, product):
    reader = created(product, name="reader", endpoints=["admin:read"])
    watched = open_page(f"{product.address}/console/keys")
    watched.expected = REFUSED
    page = watched.page
    page.get_by_label("API key").fill(reader["secret"])
    page.keyboard.press("Enter")
    expect(page.locator(".cards article")).to_have_count(1)
    expect(page.locator("#making")).to_have_count(0)
    expect(page.get_by_role("button", name="Revoke")).to_have_count(0)
