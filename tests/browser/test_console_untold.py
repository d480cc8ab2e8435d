"""A browser that never tells which page asks, as Safari before 16.4: it is shown the way in, and then all works."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from untold_relay import relay

pytestmark = [pytest.mark.browser, pytest.mark.engine]

REFUSED = ("Failed to load resource: the server responded with a status of 401",)
ANSWER_LIMIT = 90_000


def test_it_signs_in_by_the_address_of_ansambl_console_and_stays_in(open_page, product):
    with relay(product.port) as port:
        address = f"http://127.0.0.1:{port}"
        watched = open_page(address)
        watched.expected = REFUSED
        page = watched.page
        expect(page.locator("#sign-in-page")).to_contain_text("ansambl console")
        invitation = product.command("console").stdout.strip().partition("#")[2]
        page.goto("about:blank")
        page.goto(f"{address}/#{invitation}")
        # Live, and what changes something is done: its own page says Origin there.
        expect(page.locator("[data-online=true]")).to_be_visible()
        page.locator(".instance [data-action=pin]").click()
        page.locator(".instance [data-action=unpin]").click()
        expect(page.locator(".instance [data-action=pin]")).to_be_visible()
        page.goto(f"{address}/console/plan")
        expect(page.locator("#fit .verdict")).to_be_visible(timeout=ANSWER_LIMIT)
        page.goto("about:blank")
