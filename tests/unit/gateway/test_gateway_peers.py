"""Who really sent a request: chains of proxies, true and made up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.gateway.front.peers import UNKNOWN, Proxies, address_of, client_address, is_local

TRUSTED = Proxies.of(["10.0.0.0/8", "127.0.0.1", "fd00::/8"])


def scope(sender, *headers):
    lines = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {"client": (sender, 4711), "scheme": "http", "headers": lines}


def seen(sender, *headers, proxies=TRUSTED):
    found = scope(sender, *headers)
    proxies.seen_through(found)
    return found


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("203.0.113.9", "203.0.113.9"), (" 203.0.113.9:8080 ", "203.0.113.9"), ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"), ("2001:DB8::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:1", "fe80::1"), ("::ffff:10.1.2.3", "10.1.2.3"), ("::1", "::1"),
    ],
)  # fmt: skip
def test_the_ways_in_which_proxies_write_addresses(said, address):
    assert str(address_of(said)) == address


@pytest.mark.parametrize(
    "said",
    ["", "unknown", "_hidden", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.4:", "1.2.3.4:x", "[::1", "::1]", "[]",
     "999.1.1.1", "01.2.3.4", "0x7f.1", "1.2.3.4 5.6.7.8", "\xff", "٣.1.1.1", "%", "127.0.0.1\x00"],
)  # fmt: skip
def test_what_is_no_address(said):
    assert address_of(said) is None


def test_headers_of_anybody_are_not_believed():
    for sender in ("203.0.113.7", "192.168.1.4", "::ffff:203.0.113.7"):
        found = seen(
            sender, ("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil"),
            ("host", "mine"), ("forwarded", "for=10.0.0.1;proto=https;host=evil"),
        )  # fmt: skip
        assert found == scope(sender, *[(name.decode(), value.decode()) for name, value in found["headers"]])
        assert ("host", "mine") in [(name.decode(), value.decode()) for name, value in found["headers"]]


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        # The client's own words stand on the left.
        (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),
        (["10.0.0.3, 198.51.100.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["::ffff:203.0.113.9:80"], UNKNOWN),
        (["[2001:db8::5]:999, fd00::1"], "2001:db8::5"),
        # All of them trusted: the one that is farthest away.
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (["198.51.100.1, garbage"], UNKNOWN),
        (["198.51.100.1, garbage, 10.0.0.1"], UNKNOWN),
        (["198.51.100.1,"], UNKNOWN),
        ([""], UNKNOWN),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy(lines, client):
    found = seen("10.0.0.1", *(("x-forwarded-for", one) for one in lines))
    assert client_address(found) == client
    assert not is_local(found)


def test_forwarded_says_the_same_in_its_own_words():
    value = 'for=198.51.100.1;proto=http, For="[2001:db8:cafe::17]:4711";Proto=HTTPS;host="ai.example";by=203.0.113.43'
    found = seen("10.0.0.1", ("host", "inner"), ("forwarded", value))
    assert client_address(found) == "2001:db8:cafe::17"
    assert found["scheme"] == "https"
    assert found["headers"][0] == (b"host", b"ai.example")
    assert client_address(seen("10.0.0.1", ("forwarded", "for=_hidden"))) == UNKNOWN
    assert client_address(seen("10.0.0.1", ("forwarded", "by=1.2.3.4"))) == UNKNOWN


def test_where_both_are_given_the_one_that_all_proxies_write_counts():
    found = seen("10.0.0.1", ("forwarded", "for=10.9.9.9"), ("x-forwarded-for", "203.0.113.9"))
    assert client_address(found) == "203.0.113.9"


def test_scheme_and_host_as_the_client_saw_them():
    found = seen(
        "127.0.0.1", ("host", "inner:8484"), ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "http, https"),
        ("x-forwarded-host", "ai.example"), ("accept", "*/*"),
    )  # fmt: skip
    assert found["scheme"] == "https"
    assert found["headers"] == [
        (b"host", b"ai.example"), (b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"http, https"),
        (b"x-forwarded-host", b"ai.example"), (b"accept", b"*/*"),
    ]  # fmt: skip
    assert seen("10.0.0.1", ("x-forwarded-proto", "javascript"))["scheme"] == "http"


@pytest.mark.parametrize("sender", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_what_comes_from_this_machine(sender):
    assert is_local(scope(sender))
    assert is_local(scope(sender, ("x-forwarded-for", "127.0.0.1, ::1"), ("forwarded", "for=127.0.0.1")))


@pytest.mark.parametrize(
    "header",
    [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "127.0.0.1, 203.0.113.9"), ("x-forwarded-for", ""),
     ("x-forwarded-for", "localhost"), ("forwarded", "for=203.0.113.9"), ("forwarded", "proto=https"),
     ("forwarded", "for = 203.0.113.9"), ("x-real-ip", "203.0.113.9")],
)  # fmt: skip
def test_a_proxy_here_that_hands_on_what_comes_from_elsewhere_is_not_this_machine(header):
    assert not is_local(scope("127.0.0.1", header))
    assert not is_local(seen("127.0.0.1", header))


def test_elsewhere_is_not_this_machine():
    assert not is_local(scope("192.168.1.5"))
    assert not is_local(seen("192.168.1.5", ("x-forwarded-for", "127.0.0.1")))
    assert not is_local({"client": None, "headers": []})
    assert client_address({"client": None, "headers": []}) == UNKNOWN
    assert client_address({"headers": []}) == UNKNOWN


@given(st.lists(st.text('0123456789.:[]%,;= "forunkw_', max_size=40), max_size=4))
@settings(max_examples=60)
def test_any_chain_is_decided_and_gives_an_address(lines):
    headers = [(name, line) for line in lines for name in ("x-forwarded-for", "forwarded")]
    found = seen("10.0.0.1", *headers)
    assert client_address(found) == UNKNOWN or address_of(client_address(found)) is not None
    assert not is_local(seen("203.0.113.9", *headers))


@pytest.mark.parametrize("unread", ['for=""127.0.0.1', 'for=127.0.0.1"x', "for", 'for ="1.2.3.4'])
def test_a_hop_that_cannot_be_read_is_not_passed_over(unread):
    assert is_local(scope("127.0.0.1", ("forwarded", "for=127.0.0.1")))
    assert not is_local(scope("127.0.0.1", ("forwarded", f"for=127.0.0.1, {unread}")))
    assert client_address(seen("10.0.0.1", ("forwarded", f"for=198.51.100.1, {unread}"))) == UNKNOWN


@pytest.mark.parametrize("written", ["a=" + " " * 60_000 + '"x', ",a=" * 20_000, 'for="' * 12_000, ", " * 30_000])
def test_a_header_that_is_written_to_be_hard_to_read_is_read_at_once(written):
    """With blanks in the pattern of a pair the first of these took a minute, and nobody else was answered meanwhile."""
    assert not is_local(scope("127.0.0.1", ("forwarded", written)))
    found = seen("10.0.0.1", ("forwarded", f"{written}, for=203.0.113.9"))
    assert client_address(found) == "203.0.113.9"
