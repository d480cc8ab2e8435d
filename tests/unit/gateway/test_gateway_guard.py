"""Who may come in: tables of Host and Origin, with the tricks that parsers fall for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import UsageError
from ansambl.gateway.guard import NotAllowedError, check_binding, check_request, is_loopback

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


def scope(**headers):
    return {"headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]}


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
            check_request({"headers": headers})
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
