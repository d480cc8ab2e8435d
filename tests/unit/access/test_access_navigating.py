"""Who goes to a page: a browser that says so, or something that is no browser."""

from __future__ import annotations

import pytest

from ansambl.access.credentials import Scope, is_untold, navigates

WHOLE = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def request(method: str, headers: dict[str, str]) -> Scope:
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": method, "headers": listed}


def goes(method: str = "GET", **headers: str) -> bool:
    return navigates(request(method, headers))


def untold(method: str = "GET", **headers: str) -> bool:
    return is_untold(request(method, headers))


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site", "cross-site"])
def test_a_browser_goes_to_a_page_from_wherever_a_link_stands(site):
    assert goes(**WHOLE, sec_fetch_site=site)


def test_what_is_no_browser_goes_to_a_page():
    assert goes()
    assert goes(user_agent="curl/8", accept="*/*")


def test_a_browser_that_never_tells_of_pages_goes_to_them_and_is_known():
    """As Safari before 16.4: a page written for the owner would then get nothing that it asks for."""
    html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    assert goes(accept=html)
    assert untold(accept=html)
    assert not untold(accept=html, **WHOLE)
    assert not untold(accept=html, origin="https://elsewhere.example")
    assert not untold("POST", accept=html)
    assert not untold(user_agent="curl/8", accept="*/*")
    assert not untold()


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
    ],
    ids=["iframe", "image", "fetch", "site", "origin", "opaque"],
)
def test_a_page_of_others_that_asks_for_parts_goes_nowhere(headers):
    assert not goes(**headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_could_change_something_is_no_going_to_a_page(method):
    assert not goes(method)
    assert not goes(method, **WHOLE)
