"""Pages travel packed where the browser unpacks them and asks by itself; streams and all else stay as they are."""

from __future__ import annotations

import gzip

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ansambl.console.application import make_console
from ansambl.console.packing import LEAST, PackedPages, accepts_gzip
from ansambl.console.pages import PAGES

PAGE = f"<!doctype html><p>{'слово ' * 600}</p>"
SMALL = "<p>few words</p>"


async def page(_request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"vary": "cookie"})


async def small(_request: Request) -> Response:
    return HTMLResponse(SMALL)


async def data(_request: Request) -> Response:
    return JSONResponse({"words": PAGE})


async def packed_before(_request: Request) -> Response:
    return Response(gzip.compress(PAGE.encode()), media_type="text/html", headers={"content-encoding": "gzip"})


async def events(_request: Request) -> Response:
    async def told():
        yield b": " + b"x" * LEAST + b"\n\n"
        yield b"data: 2\n\n"

    return StreamingResponse(told(), media_type="text/event-stream")


async def by_and_by(_request: Request) -> Response:
    async def written():
        yield PAGE.encode()
        yield SMALL.encode()

    return StreamingResponse(written(), media_type="text/html")


@pytest.fixture(scope="module")
def client():
    app = Starlette(
        routes=[
            Route(f"/{one.__name__}", one) for one in (page, small, data, packed_before, events, by_and_by)
        ]
    )  # fmt: skip
    return TestClient(PackedPages(app))


def raw(client, path, **headers):
    """An answer as it travelled."""
    asked = {"accept-encoding": "gzip", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with client.stream("GET", path, headers=asked) as answer:
        return answer, b"".join(answer.iter_raw())


def test_a_page_is_packed_where_that_is_accepted(client):
    answer, body = raw(client, "/page", accept_encoding="br, gzip;q=0.8")
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(body) < len(PAGE.encode()) / 4
    assert gzip.decompress(body).decode() == PAGE
    # One moment's answer is another's, byte by byte.
    assert raw(client, "/page")[1] == body


@pytest.mark.parametrize("accepted", ["identity", "", "br", "gzip;q=0", "gzip; q=0.000, *"])
def test_it_comes_plain_where_it_is_not(client, accepted):
    answer, body = raw(client, "/page", accept_encoding=accepted)
    assert "content-encoding" not in answer.headers
    assert body.decode() == PAGE


@pytest.mark.parametrize("path", ["/page", "/small"])
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_a_cache_between_is_told_what_the_answer_depends_on(client, path, accepted):
    vary = raw(client, path, accept_encoding=accepted)[0].headers["vary"].lower().replace(" ", "").split(",")
    assert {"accept-encoding", "sec-fetch-site"} <= set(vary)
    assert ("cookie" in vary) == (path == "/page")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_foreign_page_makes_a_browser_ask_for_is_not_packed(client, site):
    answer, body = raw(client, "/page", sec_fetch_site=site)
    assert "content-encoding" not in answer.headers
    assert body.decode() == PAGE
    for own in ("same-origin", "none"):
        assert raw(client, "/page", sec_fetch_site=own)[0].headers["content-encoding"] == "gzip"


def test_streams_little_pages_and_all_else_travel_as_they_are(client):
    for path, expected in (
        ("/small", SMALL.encode()),
        ("/events", b": " + b"x" * LEAST + b"\n\ndata: 2\n\n"),
        ("/by_and_by", (PAGE + SMALL).encode()),
    ):
        answer, body = raw(client, path)
        assert "content-encoding" not in answer.headers, path
        assert body == expected, path
    answer, _ = raw(client, "/data")
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers
    answer, body = raw(client, "/packed_before")
    assert gzip.decompress(body).decode() == PAGE


async def test_a_stream_is_not_held_back():
    """Every part goes on when it comes: the next one waits until it is seen."""
    seen = []

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number in range(3):
            assert len(seen) == number + 1
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": number < 2})

    async def send(message):
        seen.append(message)

    scope = {"type": "http", "headers": [(b"accept-encoding", b"gzip")]}
    await PackedPages(app)(scope, None, send)
    assert len(seen) == 4


@pytest.mark.parametrize("page_of", PAGES, ids=[one.key for one in PAGES])
def test_the_consoles_own_pages_are_packed(page_of):
    async def refuse(_scope, _receive, send):
        await JSONResponse({"error": {"message": "No.", "code": "x"}}, 503)(_scope, _receive, send)

    client = TestClient(make_console(version="1", admin=refuse))
    answer, body = raw(client, page_of.path)
    assert answer.headers["content-encoding"] == "gzip"
    plain = raw(client, page_of.path, accept_encoding="identity")[1]
    assert gzip.decompress(body) == plain
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("header", "accepts"),
    [
        ("gzip", True), ("GZIP", True), ("deflate, gzip;q=1.0, *;q=0.5", True), ("*", True), ("gzip;q=0.001", True),
        ("", False), ("identity", False), ("br;q=1", False), ("gzip;q=0", False), ("gzip;q=0.0", False),
        ("gzip;q=0, *;q=1", False), ("*;q=0", False), ("xgzip", False),
    ],
)  # fmt: skip
def test_what_a_browser_accepts_is_read_with_its_weights(header, accepts):
    assert accepts_gzip(header) is accepts
