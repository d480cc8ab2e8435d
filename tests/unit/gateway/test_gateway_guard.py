"""Who may come in: tables of Host and Origin, with the tricks that parsers fall for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import UsageError
from ansambl.gateway.front.guard import Guard, NotAllowedError, WebRules, check_binding, is_loopback, preflight_headers
from ansambl.gateway.front.peers import Proxies, client_address

LOCAL = [
    "localhost", "LOCALHOST", "localhost.", "localhost:8484", "localhost:", "127.0.0.1", "127.0.0.1:8484",
    "127.255.255.254", "[::1]", "[::1]:8484", "[0:0:0:0:0:0:0:1]:80", "ip6-localhost", "app.localhost:1",
]  # fmt: skip
FOREIGN = [
    "", " ", ":", ":80", "evil.com", "evil.com:80", "127.0.0.1.evil.com", "localhost.evil.com", "evillocalhost",
    "127.0.0.1@evil.com", "localhost:80@evil.com", "127.0.0.1:80:90", "evil.com:127.0.0.1", "evil.com#127.0.0.1",
    "127.0.0.1/evil.com", "127.0.0.1\\evil.com", "localhost, evil.com", "[::1]evil.com", "[::1].evil.com", "[evil.com]",
    "[::1", "::1]", "[]", "[::2]", "::1", "0.0.0.0",  # noqa: S104 - refused
    "[::]", "2130706433", "0x7f000001", "127.1", "128.0.0.1",
    "10.0.0.1", "127.0.0.1\t.evil.com", "localhost\x00", "\xff", "l\xf6calhost", "localhost:8o", "localhost:-1",
    "127.0.0.1%2eevil.com",
]  # fmt: skip


def scope(method="GET", **headers):
    lines = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"method": method, "scheme": "http", "client": ("127.0.0.1", 1), "headers": lines}


def check_request(asked):
    return Guard().check(asked)


@pytest.mark.parametrize("host", LOCAL)
def test_this_machines_own_names_come_in(host):
    check_request(scope(host=host))
    check_request(scope(host=host, origin=f"http://{host}"))
    check_request(scope(host=host, origin=f"https://{host}"))


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_hosts_and_origins_stay_out(host):
    with pytest.raises(NotAllowedError) as raised:
        check_request(scope(host=host))
    assert (raised.value.status, raised.value.code) == (403, "not_allowed")
    for scheme in ("http://", "https://", "chrome-extension://"):
        with pytest.raises(NotAllowedError):
            check_request(scope(host="127.0.0.1:8484", origin=scheme + host))


@pytest.mark.parametrize(
    "origin",
    ["null", "", "file://", "localhost", "127.0.0.1", "http:/localhost", "http://user@localhost", "http://localhost/path",
     "http://localhost http://evil.com", "://localhost", "http://[::1", "http://localhost:80@evil.com"],
)  # fmt: skip
def test_origins_that_are_no_local_page(origin):
    with pytest.raises(NotAllowedError):
        check_request(scope(host="localhost", origin=origin))


def test_without_a_host_as_http_1_0_allows():
    check_request(scope())
    with pytest.raises(NotAllowedError):
        check_request(scope(origin="http://evil.com"))


def test_a_long_foreign_name_is_not_repeated_in_full():
    with pytest.raises(NotAllowedError) as raised:
        check_request(scope(host="a" * 100_000))
    assert len(str(raised.value)) < 300


@given(st.binary())
def test_any_header_is_decided(value):
    for headers in ([(b"host", value)], [(b"origin", value)]):
        try:
            check_request({"method": "GET", "headers": headers})
        except NotAllowedError:
            continue
        assert b"localhost" in value.lower() or b"127." in value or b"::" in value or b":1]" in value


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_listening_on_loopback(host):
    check_binding(host, has_keys=False)
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "*"])  # noqa: S104 - refused
def test_listening_for_other_machines_is_refused(host):
    with pytest.raises(UsageError) as raised:
        check_binding(host, has_keys=False)
    assert raised.value.exit_code == 2


ELSEWHERE = WebRules(
    hosts=frozenset({"ai.example", "*.lab.example"}), origins=frozenset({"https://chat.example", "app://obsidian.md"}),
    wide=True,
)  # fmt: skip


@pytest.mark.parametrize(
    "host",
    ["ai.example", "AI.example.", "ai.example:8484", "one.lab.example", "a.b.lab.example:1", "192.168.1.5:8484",
     "[2001:db8::1]:8484", "localhost:8484"],
)  # fmt: skip
def test_configured_names_and_addresses_where_other_machines_come_in(host):
    assert not Guard(ELSEWHERE).check(scope(host=host))


@pytest.mark.parametrize(
    "host", ["evil.com", "ai.example.evil.com", "evilai.example", "lab.example", "xlab.example", "*.lab.example",
             "1.2.3", "192.168.1.5.evil.com", "nas"],
)  # fmt: skip
def test_other_names_stay_out(host):
    with pytest.raises(NotAllowedError, match="hosts"):
        Guard(ELSEWHERE).check(scope(host=host))


def test_an_address_is_no_name_of_ours_where_only_this_machine_comes_in():
    with pytest.raises(NotAllowedError):
        Guard(WebRules(hosts=frozenset({"ai.example"}))).check(scope(host="192.168.1.5"))


@pytest.mark.parametrize(
    ("host", "origin"),
    [("ai.example:8484", "http://ai.example:8484"), ("ai.example", "https://ai.example"), ("127.0.0.1", "https://ai.example"),
     ("192.168.1.5:8484", "http://192.168.1.5:8484"), ("192.168.1.5", "http://192.168.1.5:80"),
     ("[2001:db8::1]:8484", "http://[2001:db8::1]:8484"), ("localhost:8484", "http://localhost:3000")],
)  # fmt: skip
def test_our_own_pages_need_no_leave(host, origin):
    assert not Guard(ELSEWHERE).check(scope("POST", host=host, origin=origin))


@pytest.mark.parametrize(
    ("host", "origin"),
    [("ai.example", "https://evil.com"), ("ai.example", "null"), ("192.168.1.5:8484", "http://192.168.1.6:8484"),
     ("192.168.1.5:8484", "http://192.168.1.5:3000"), ("192.168.1.5", "https://192.168.1.5:80"),
     # Pages of the browser's own machine, which is not this one.
     ("ai.example", "http://localhost:3000"), ("192.168.1.5:8484", "http://127.0.0.1:8484"),
     ("ai.example", "http://chat.example"), ("ai.example", "https://chat.example.evil.com"),
     ("ai.example", "https://chat.example:444")],
)  # fmt: skip
def test_foreign_pages_may_not_ask(host, origin):
    with pytest.raises(NotAllowedError, match="origins"):
        Guard(ELSEWHERE).check(scope("POST", host=host, origin=origin))


@pytest.mark.parametrize("origin", ["https://chat.example", "HTTPS://Chat.Example", "app://obsidian.md"])
def test_allowed_pages_may_ask_and_read_but_never_with_cookies(origin):
    found = dict(Guard(ELSEWHERE).check(scope("POST", host="ai.example", origin=origin)))
    assert found[b"access-control-allow-origin"] == origin.lower().encode()
    assert found[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in found


def test_all_pages_are_let_in_only_where_requests_need_a_key():
    rules = WebRules(origins=frozenset({"*"}))
    for origin in ("https://anything.example", "null"):
        found = dict(Guard(rules, lambda: True).check(scope("POST", host="localhost", origin=origin)))
        assert found[b"access-control-allow-origin"] == origin.encode()
        with pytest.raises(NotAllowedError):
            Guard(rules, lambda: False).check(scope("POST", host="localhost", origin=origin))


def test_pictures_and_scripts_of_foreign_pages_bring_no_origin_but_are_known():
    guard = Guard()
    for mode in ("no-cors", "cors", "same-origin"):
        with pytest.raises(NotAllowedError):
            guard.check(scope(host="localhost", sec_fetch_site="cross-site", sec_fetch_mode=mode))
    # A link on a foreign page may lead to the console, a form of one may not post to it.
    assert not guard.check(scope(host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="navigate"))
    with pytest.raises(NotAllowedError):
        guard.check(scope("POST", host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="navigate"))
    for site in ("same-origin", "same-site", "none"):
        assert not guard.check(scope(host="localhost", sec_fetch_site=site, sec_fetch_mode="no-cors"))


def test_browsers_that_ask_first_are_told_what_allowed_pages_may_send():
    guard = Guard(ELSEWHERE)
    asked = scope(
        "OPTIONS", host="ai.example", origin="https://chat.example", access_control_request_method="POST",
        access_control_request_headers="authorization, content-type, x-stainless-os",
        access_control_request_private_network="true",
    )  # fmt: skip
    found = dict(preflight_headers(asked, guard.check(asked)))
    assert found[b"access-control-allow-origin"] == b"https://chat.example"
    assert b"POST" in found[b"access-control-allow-methods"]
    assert found[b"access-control-allow-headers"] == b"authorization, content-type, x-stainless-os"
    assert found[b"access-control-allow-private-network"] == b"true"


def test_pages_of_this_machine_may_ask_but_read_nothing_until_they_are_allowed():
    asked = scope("OPTIONS", host="localhost", origin="http://localhost:3000", access_control_request_method="POST")
    with pytest.raises(NotAllowedError, match="origins"):
        preflight_headers(asked, Guard().check(asked))
    assert preflight_headers(scope("OPTIONS", host="localhost"), ()) is None
    assert preflight_headers(scope("POST", host="localhost", access_control_request_method="POST"), ()) is None


def test_what_is_asked_to_be_sent_cannot_break_out_of_its_header():
    asked = scope(
        "OPTIONS", host="ai.example", origin="https://chat.example", access_control_request_method="POST",
        access_control_request_headers="a: b",
    )  # fmt: skip
    assert b"access-control-allow-headers" not in dict(preflight_headers(asked, Guard(ELSEWHERE).check(asked)))


def test_the_host_that_a_trusted_proxy_tells_of_is_looked_at():
    rules = WebRules(hosts=frozenset({"ai.example"}), proxies=Proxies.of(["127.0.0.1"]))
    asked = scope(host="127.0.0.1:8484", x_forwarded_host="ai.example", x_forwarded_for="203.0.113.9")
    Guard(rules).check(asked)
    assert client_address(asked) == "203.0.113.9"
    with pytest.raises(NotAllowedError):
        Guard(rules).check(scope(host="127.0.0.1:8484", x_forwarded_host="evil.com"))


def test_other_rules_count_from_the_next_request_on():
    guard = Guard()
    with pytest.raises(NotAllowedError):
        guard.check(scope(host="ai.example"))
    guard.use(ELSEWHERE)
    assert not guard.check(scope(host="ai.example"))
    guard.use(WebRules())
    with pytest.raises(NotAllowedError):
        guard.check(scope(host="ai.example"))


def test_containers_reach_the_machine_that_they_run_on_by_its_name_there():
    check_request(scope(host="host.docker.internal:8484"))
    check_request(scope(host="host.containers.internal"))
    for name in ("x.host.docker.internal", "docker.internal", "host.docker.internal.evil.com"):
        with pytest.raises(NotAllowedError):
            check_request(scope(host=name))


def test_names_that_are_too_long_for_any_machine_are_not_looked_at():
    """Comparing 60 KB of dots with the names of this machine took a fifth of a second, from anybody."""
    guard = Guard(WebRules(hosts=frozenset({"*.example"}), wide=True))
    for host in ("a" * 400 + ".localhost", "a." * 30_000 + "example"):
        with pytest.raises(NotAllowedError):
            guard.check(scope(host=host))
        with pytest.raises(NotAllowedError):
            guard.check(scope(host="127.0.0.1", origin=f"http://{host}"))
    assert not guard.check(scope(host="a." * 100 + "example"))
