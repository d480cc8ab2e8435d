"""The console when keys exist: it asks for one, keeps it in a cookie that no script reads, and gives it back."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90_000
REFUSED = ("Failed to load resource: the server responded with a status of 4",)
"""What Chromium says of each answer with status 401 or 403; they are what is tested here."""
OTHER = 54321


def as_owner(product):
    return {"authorization": f"Bearer {product.token}"}


@pytest.fixture(autouse=True)
def no_keys(product):
    yield
    for key in product.client.get("/admin/api/keys", headers=as_owner(product)).json()["keys"]:
        product.client.delete(f"/admin/api/keys/{key['id']}", headers=as_owner(product))


def created(product, **fields):
    answer = product.client.post("/admin/api/keys", json=fields, headers=as_owner(product))
    assert answer.status_code == 201, answer.text
    return answer.json()


def ready(page):
    expect(page.locator("body")).to_have_attribute("data-ready", "yes", timeout=15_000)


def test_a_key_is_asked_for_once_and_given_back(open_page, product, screenshot):
    secret = created(product, name="browser", endpoints=["chat"], roles=["coder", "brief"])["secret"]
    watched = open_page(product.address)
    watched.expected = REFUSED
    page = watched.page
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("nav.pages")).to_have_count(0)
    expect(page.get_by_label("API key")).to_be_focused()
    screenshot(page, "sign-in-en")

    # A wrong key says so in one line, and nothing of the page is lost.
    page.get_by_label("API key").fill(secret[:-1])
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".sign-in .problem")).to_contain_text("not whole")

    # A key that may only chat is led to the chat, and sees no other page.
    page.get_by_label("API key").fill(f"  {secret} ")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{product.address}/console/chat")
    expect(page.locator("#chips label").filter(visible=True)).to_have_count(2)
    expect(page.locator(".pages-row li")).to_have_count(1)
    page.goto(f"{product.address}/console/keys")
    expect(page.locator(".problem").first).to_contain_text("admin:read")
    assert secret not in page.content()
    assert "ansambl_session" not in page.evaluate("document.cookie")
    cookie = next(one for one in page.context.cookies() if one["name"].startswith("ansambl_session"))
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["value"] not in secret

    # A chat is a change: it goes through because the page is of this address.
    page.goto(f"{product.address}/console/chat")
    page.get_by_label("Message", exact=True).fill("Say hello.")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures").first).to_contain_text("cached", timeout=ANSWER_LIMIT)

    # Still signed in after a reload; after signing out the cookie is worth nothing, whoever kept it.
    page.reload()
    ready(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    answer = product.client.get("/v1/models", headers={"cookie": f"{cookie['name']}={cookie['value']}"})
    assert answer.status_code == 401


def test_a_revoked_key_leads_to_the_sign_in_and_back_to_the_same_page(open_page, product):
    made = created(product, name="browser", endpoints=["chat", "admin:read"])
    other = created(product, name="other", endpoints=["admin:read"])
    watched = open_page(f"{product.address}/console/logs?lang=ru")
    watched.expected = REFUSED
    page = watched.page
    page.locator("#key").fill(made["secret"])
    page.keyboard.press("Enter")
    expect(page.locator("nav.pages")).to_have_count(1)
    ready(page)
    # Its event stream ends with it, and the page says what it needs.
    gone = product.client.delete(f"/admin/api/keys/{made['key']['id']}", headers=as_owner(product))
    assert gone.status_code == 200
    expect(page.locator("#sign-in-page")).to_be_visible(timeout=30_000)
    page.locator("#key").fill(other["secret"])
    page.keyboard.press("Enter")
    expect(page.locator("nav.pages")).to_have_count(1)
    assert page.url == f"{product.address}/console/logs?lang=ru"
    # With the last key the door is open for this user's browser again.
    product.client.delete(f"/admin/api/keys/{other['key']['id']}", headers=as_owner(product))
    page.goto(product.address)
    ready(page)
    expect(page.locator("nav.pages")).to_have_count(1)


def test_an_address_of_ansambl_console_signs_in_once(open_page, product):
    created(product, name="first")
    printed = product.command("console")
    assert printed.returncode == 0, printed.stderr
    address = printed.stdout.strip()
    assert address.startswith(f"{product.address}/#enter=")
    watched = open_page(address)
    watched.expected = REFUSED
    page = watched.page
    expect(page.locator("nav.pages")).to_have_count(1)
    secret = address.partition("=")[2]
    assert secret not in page.url
    assert secret not in product.output
    assert all(secret not in one.read_text("utf-8", "replace") for one in (product.data / "logs").iterdir())
    again = open_page(address)
    again.expected = REFUSED
    expect(again.page.locator(".sign-in .problem")).to_contain_text("ansambl console")
    expect(again.page.locator("#key")).to_have_value("")


def test_an_address_with_a_key_signs_nobody_in(open_page, product):
    """Or a link on anybody's page would let them ask in the name of its owner's key, who could read it."""
    made = created(product, name="of somebody else")
    watched = open_page(f"{product.address}/console/chat#enter={made['secret']}")
    watched.expected = REFUSED
    expect(watched.page.locator(".sign-in .problem")).to_contain_text("ansambl console")
    assert made["secret"] not in watched.page.url
    assert watched.page.context.cookies() == []


def test_a_foreign_link_leads_a_signed_in_browser_to_the_page(open_page, product):
    made = created(product, name="browser", endpoints=["admin:read"])
    watched = open_page(f"{product.address}/console/logs")
    watched.expected = REFUSED
    page = watched.page
    page.locator("#key").fill(made["secret"])
    page.keyboard.press("Enter")
    expect(page.locator("nav.pages")).to_have_count(1)
    # The browser keeps the cookie back from what a foreign page leads to; the page then asks for itself anew.
    foreign = f"http://chat.example:{product.port}/"
    page.goto(foreign)
    assert watched.outside == [foreign]
    watched.outside.clear()
    page.evaluate("address => { location.href = address }", f"{product.address}/console/logs")
    expect(page.locator("nav.pages")).to_have_count(1, timeout=15_000)


def test_without_keys_a_bookmark_opens_every_page_and_nothing_else_is_opened(open_page, product):
    page = open_page(f"{product.address}/console/keys").page
    ready(page)
    expect(page.locator("#making")).to_be_visible()
    expect(page.locator("#sign-out")).to_have_count(0)
    # What a program of this machine says of itself is not enough, nor is what another page may send.
    for headers in (
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://localhost:3000"},
    ):
        assert httpx.get(f"{product.address}/admin/api/keys", headers=headers, trust_env=False).status_code in (
            401,
            403,
        )
        answer = httpx.post(f"{product.address}/admin/api/keys", json={}, headers=headers, trust_env=False)
        assert answer.status_code in (401, 403)
    # Nor is what a page within another one asks, nor what anything says that stands between; by the console as well.
    going = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert httpx.get(f"{product.address}/console/keys", headers=going, trust_env=False).status_code == 200
    for more in (
        {"sec-fetch-dest": "iframe"},
        {"sec-fetch-mode": "no-cors"},
        {"host": "ai.example"},
        *({name: "1"} for name in ("forwarded", "via", "x-real-ip")),
        *({f"x-forwarded-{name}": "1"} for name in ("for", "host", "proto", "port", "server", "prefix", "user")),
    ):
        answer = httpx.get(f"{product.address}/console/keys", headers={**going, **more}, trust_env=False)
        assert answer.status_code in (401, 403), more
        assert "making" not in answer.text


def test_another_user_of_the_machine_is_asked_who_they_are(product):
    if not _can_be_another_user():
        pytest.skip("only root with setpriv can start a program of another user")
    for path, browser in (
        ("/admin/api/keys", "sec-fetch-site: same-origin"),
        ("/console/keys", "sec-fetch-mode: navigate"),
    ):
        argv = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "bash", "-c", _ASK, "-",
                str(product.port), path, browser]  # fmt: skip
        said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, cwd="/").stdout
        assert said.startswith("HTTP/1.1 401"), said[:200]
        assert "laptop" not in said


_ASK = r"""exec 3<>/dev/tcp/127.0.0.1/$1
printf 'GET %s HTTP/1.1\r\nhost: localhost\r\n%s\r\nsec-fetch-dest: document\r\nconnection: close\r\n\r\n' "$2" "$3" >&3
cat <&3"""


def _can_be_another_user():
    argv = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups", "true"]
    try:
        return subprocess.run(argv, capture_output=True, check=False, timeout=20, cwd="/").returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "null"},
        {},
    ],
)
def test_no_route_of_the_console_changes_anything_for_other_pages(product, headers):
    """Also with the cookie of whoever is signed in: other ports of this machine are the same site to browsers."""
    from ansambl.console.application import make_console

    own = {"origin": product.address, "sec-fetch-site": "same-origin"}
    given = httpx.post(f"{product.address}/console/session", json={"key": product.token}, headers=own, trust_env=False)
    cookie = given.headers["set-cookie"].partition(";")[0]
    console = make_console(version="1", admin=lambda *_: None)
    changing = [
        (method, one.path.replace("{", "").replace("}", ""))
        for one in console.routes for method in getattr(one, "methods", None) or () if method not in ("GET", "HEAD")
    ]  # fmt: skip
    assert ("POST", "/console/session") in changing
    assert len(changing) > 2
    for method, path in changing:
        answer = httpx.request(
            method, product.address + path, trust_env=False,
            headers={"cookie": cookie, "hx-request": "true", **headers},
            content=json.dumps({"key": product.token}),
        )  # fmt: skip
        assert answer.status_code == 403, (method, path, answer.status_code)
        assert "set-cookie" not in answer.headers
