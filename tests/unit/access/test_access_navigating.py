"""Who goes to a page: a browser that says so, or something that is no browser."""

from __future__ import annotations

import pytest

from ansambl.access.credentials import navigates

WHOLE = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def goes(method: str = "GET", **headers: str) -> bool:
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return navigates({"method": method, "headers": listed})


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site", "cross-site"])
def test_a_browser_goes_to_a_page_from_wherever_a_link_stands(site):
    assert goes(**WHOLE, sec_fetch_site=site)


def test_what_is_no_browser_goes_to_a_page():
    assert goes()
    assert goes(user_agent="curl/8", accept="*/*")


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
