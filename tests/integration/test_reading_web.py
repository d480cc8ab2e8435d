"""Web pages from a server of this machine that answers all kinds of things; names are resolved by the test."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansambl.domain.knowledge import Kind, Material
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.limits import MIB, ReadingLimits, WebLimits
from ansambl.knowledge.reading.read import read_file
from ansambl.knowledge.reading.web import Resolver, fetch

PAGE = "<html><head><title>Новости</title></head><body><h1>Сегодня</h1><p>Всё хорошо.</p></body></html>"
LIMITS = WebLimits(private=True, seconds=10)


@dataclass
class Site:
    """The server, what it was asked, and how names lead to it."""

    port: int
    asked: list[tuple[str, str]] = field(default_factory=list)

    def url(self, path: str, host: str = "news.example") -> str:
        return f"http://{host}:{self.port}{path}"


BOMB = gzip.compress(bytes(8 * MIB))
ANSWERS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "/page": (200, PAGE.encode(), {"Last-Modified": "Sat, 02 Mar 2024 10:00:00 GMT"}),
    "/koi8": (200, PAGE.encode("koi8-r"), {"Content-Type": "text/html; charset=koi8-r"}),
    "/again": (301, b"", {"Location": "/again"}),
    "/bomb": (200, BOMB, {"Content-Encoding": "gzip"}),
    "/twice": (200, gzip.compress(gzip.compress(bytes(64 * MIB))), {"Content-Encoding": "gzip, gzip"}),
    "/song": (200, b"la", {"Content-Type": "audio/mpeg"}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from the table; `/go/X` leads to X, `/slow` never ends."""

    asked: list[tuple[str, str]]
    over: threading.Event

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        if self.path == "/slow":
            self.drip()
            return
        going = (302, b"", {"Location": self.path.removeprefix("/go/")})
        status, body, headers = going if self.path.startswith("/go/") else ANSWERS.get(self.path, (404, b"no", {}))
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.over.wait(0.05):
                self.wfile.write(b"x")


@pytest.fixture
def site() -> Iterator[Site]:
    made, over = Site(0), threading.Event()
    handler = type("SiteHandler", (Handler,), {"asked": made.asked, "over": over})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    made.port = server.server_address[1]
    yield made
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def names(*answers: str, asked: list[str] | None = None) -> Resolver:
    """A resolver that gives these addresses, one after another, and the last one from then on."""
    left = list(answers)

    async def resolve(host: str, _: int) -> list[str]:
        if asked is not None:
            asked.append(host)
        return [left.pop(0) if len(left) > 1 else left[0]]

    return resolve


LOCAL = names("127.0.0.1")


def refused(call: Callable[[], object], into: Path) -> str:
    with pytest.raises(UnreadableError) as caught:
        call()
    assert not into.exists()
    return str(caught.value)


def test_a_page_is_fetched_and_read_like_a_file(site: Site, tmp_path: Path):
    found = fetch(site.url("/page#part"), tmp_path / "page", LIMITS, resolver=LOCAL)
    assert found.wanted == site.url("/page")
    assert site.asked == [(f"news.example:{site.port}", "/page")]
    (page,) = read_file(tmp_path / "page", found.wanted, ReadingLimits(), found.options())
    assert isinstance(page, Material)
    assert (page.kind, page.place, page.title) == (Kind.PAGE, found.wanted, "Новости")
    assert page.text == "# Сегодня\n\nВсё хорошо."
    assert page.time == 1709373600.0
    assert page.facts["url"] == site.url("/page")


def test_the_answers_character_set_counts(site: Site, tmp_path: Path):
    found = fetch(site.url("/koi8"), tmp_path / "page", LIMITS, resolver=LOCAL)
    (page,) = read_file(tmp_path / "page", "x", ReadingLimits(), found.options())
    assert isinstance(page, Material)
    assert "Всё хорошо." in page.text


def test_what_a_name_resolved_to_is_what_is_connected_to(site: Site, tmp_path: Path):
    # The second answer would lead nowhere: one page must ask once.
    asked: list[str] = []
    fetch(site.url("/page"), tmp_path / "page", LIMITS, resolver=names("127.0.0.1", "203.0.113.9", asked=asked))
    assert asked == ["news.example"]


def test_addresses_of_this_machine_and_its_network_are_refused(site: Site, tmp_path: Path):
    limits = WebLimits(ports=(site.port,), seconds=10)
    into = tmp_path / "page"
    for address in ("127.0.0.1", "10.0.0.5", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
        resolver = names(address)
        said = refused(lambda: fetch(site.url("/page"), into, limits, resolver=resolver), into)  # noqa: B023 - called at once
        assert "not a public address" in said
    assert site.asked == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "0"])
def test_other_ways_to_write_this_machine_are_refused_too(host: str, site: Site, tmp_path: Path):
    into = tmp_path / "page"
    refused(lambda: fetch(site.url("/page", host), into, WebLimits(ports=(site.port,), seconds=10)), into)
    assert site.asked == []


def test_each_step_of_a_redirect_is_checked(site: Site, tmp_path: Path):
    into = tmp_path / "page"
    found = fetch(site.url("/go//page"), into, LIMITS, resolver=LOCAL)
    assert found.address == site.url("/page")
    into.unlink()
    for target in ("file:///etc/passwd", "ftp://example.org/", "http://user:word@example.org/"):
        refused(lambda: fetch(site.url(f"/go/{target}"), into, LIMITS, resolver=LOCAL), into)  # noqa: B023
    assert "leads on and on" in refused(lambda: fetch(site.url("/again"), into, LIMITS, resolver=LOCAL), into)


def test_a_redirect_to_a_private_address_is_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # The first answer counts as public here, the one after the redirect does not.
    from ansambl.knowledge.reading import web

    monkeypatch.setattr(web, "is_public", lambda address: address == "127.0.0.1")
    limits = WebLimits(ports=(site.port,), seconds=10)
    into = tmp_path / "page"
    resolver = names("127.0.0.1", "10.0.0.1")
    said = refused(
        lambda: fetch(site.url(f"/go/{site.url('/page', 'inner.example')}"), into, limits, resolver=resolver), into
    )
    assert "inner.example is not a public address" in said
    assert len(site.asked) == 1


def test_what_is_too_large_unpacked_too_slow_or_no_document_is_refused(site: Site, tmp_path: Path):
    into = tmp_path / "page"
    small = WebLimits(private=True, size=MIB, seconds=10)
    assert "larger than 1 MiB" in refused(lambda: fetch(site.url("/bomb"), into, small, resolver=LOCAL), into)
    assert "gzip, gzip" in refused(lambda: fetch(site.url("/twice"), into, LIMITS, resolver=LOCAL), into)
    assert "audio/mpeg" in refused(lambda: fetch(site.url("/song"), into, LIMITS, resolver=LOCAL), into)
    assert "404" in refused(lambda: fetch(site.url("/none"), into, LIMITS, resolver=LOCAL), into)
    since = time.monotonic()
    hasty = WebLimits(private=True, seconds=0.5)
    assert "did not answer within" in refused(lambda: fetch(site.url("/slow"), into, hasty, resolver=LOCAL), into)
    assert time.monotonic() - since < 30


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd", "http://", "gopher://x/", "http://u:p@example.org/", "http://example.org:22/", "https:///x",
        "x", "",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_page_is_refused(address: str, tmp_path: Path):
    refused(lambda: fetch(address, tmp_path / "page", resolver=LOCAL), tmp_path / "page")


def test_a_host_that_is_not_there_is_one_line(tmp_path: Path):
    async def nowhere(_: str, __: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    said = refused(lambda: fetch("http://nowhere.example/", tmp_path / "page", resolver=nowhere), tmp_path / "page")
    assert said == "nowhere.example has no address (Name or service not known)"
