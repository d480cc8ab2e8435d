"""What requests bring: keys in the headers of several clients, and cookies that no other page can use."""

import pytest

from ansambl.access.credentials import cookie_header, cookie_name, credentials_of, is_same_origin

COOKIE = (b"cookie", b"theme=dark; ansambl_session_8484=abc; other=1")


def scope(*headers, method="GET", scheme="http"):
    return {
        "type": "http", "method": method, "scheme": scheme, "server": ("127.0.0.1", 8484),
        "headers": [(b"host", b"localhost:8484"), *headers],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([(b"authorization", b"Bearer k1")], "k1"), ([(b"authorization", b"bearer  k1 ")], "k1"),
        ([(b"x-api-key", b"k1")], "k1"), ([(b"api-key", b" k1")], "k1"),
        ([(b"x-api-key", b"k2"), (b"authorization", b"Bearer k1")], "k1"),
        ([(b"authorization", b"Bearer "), (b"x-api-key", b"k2")], "k2"),
        ([(b"authorization", b"Basic azox")], None), ([(b"authorization", b"k1")], None),
        ([(b"authorization", b"")], None), ([(b"authorization", b"Bearer")], None), ([], None),
        ([(b"authorization", b"Bearer k1"), (b"authorization", b"Bearer k2")], "k1"),
        ([(b"authorization", b"Bearer \xff\xfe")], "\xff\xfe"),
    ],
)  # fmt: skip
def test_where_a_key_stands(headers, secret):
    assert credentials_of(scope(*headers), local=True).secret == secret


def test_nothing_that_was_brought_is_shown():
    found = credentials_of(scope((b"authorization", b"Bearer k1-secret"), COOKIE), local=False)
    assert "secret" not in repr(found)
    assert "abc" not in repr(found)
    assert not found.local


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ([(b"sec-fetch-site", b"same-origin")], True),
        ([(b"sec-fetch-site", b"same-origin"), (b"origin", b"http://localhost:8484")], True),
        ([(b"origin", b"http://localhost:8484")], True), ([(b"origin", b"http://LOCALHOST:8484")], True),
        ([(b"origin", b"https://localhost:8484")], True),
        # Another port of this machine is the same site to SameSite cookies, but another origin.
        ([(b"sec-fetch-site", b"same-site"), (b"origin", b"http://localhost:3000")], False),
        ([(b"origin", b"http://localhost:3000")], False), ([(b"origin", b"http://localhost")], False),
        ([(b"sec-fetch-site", b"same-origin"), (b"origin", b"http://evil.example")], False),
        ([(b"sec-fetch-site", b"cross-site"), (b"origin", b"http://localhost:8484")], False),
        ([(b"sec-fetch-site", b"none")], False), ([(b"origin", b"null")], False), ([(b"origin", b"")], False),
        ([], False),
    ],
)  # fmt: skip
def test_a_cookie_changes_something_only_from_a_page_of_this_address(headers, same):
    assert is_same_origin(scope(*headers, method="POST")) is same
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert credentials_of(scope(*headers, COOKIE, method=method), local=True).cookie == ("abc" if same else None)
    for method in ("GET", "HEAD"):
        assert credentials_of(scope(*headers, COOKIE, method=method), local=True).cookie == "abc"


def test_an_origin_on_the_scheme_s_own_port():
    found = {**scope((b"origin", b"https://ai.example.org"), method="POST"), "headers": [
        (b"host", b"ai.example.org:443"), (b"origin", b"https://ai.example.org")]}  # fmt: skip
    assert is_same_origin(found)


def test_the_cookie_cannot_be_read_by_scripts_or_sent_by_other_sites():
    name, value = cookie_header(scope(), "abc")
    parts = value.split(b"; ")
    assert (name, parts[0]) == (b"set-cookie", b"ansambl_session_8484=abc")
    assert {b"HttpOnly", b"SameSite=Strict", b"Path=/"} <= set(parts)
    assert b"Secure" not in parts
    assert b"Secure" in cookie_header(scope(scheme="https"), "abc")[1].split(b"; ")
    assert b"Max-Age=0" in cookie_header(scope(), None)[1]
    assert cookie_name({**scope(), "server": ("127.0.0.1", 9000)}) != cookie_name(scope())
