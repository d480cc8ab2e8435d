"""What pages of other sites can do with Ansambl through a real browser: nothing, until they are allowed."""

from __future__ import annotations

import http.server
import threading

import pytest
from product import alive, start_product, wait_for

pytestmark = pytest.mark.browser

ASK = """async ([address, options]) => {
    try {
        const answer = await fetch(address, options);
        return [answer.type, answer.status, await answer.text(), answer.headers.get("x-request-id")];
    } catch (error) { return [error.name, 0, "", null]; }
}"""
BLOCKED = ["TypeError", 0, "", None]


class Pages(http.server.BaseHTTPRequestHandler):
    """A blank page under every path: as the foreign site, and as an engine that counts what it is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(b"text/html", b"<!doctype html><title>elsewhere</title>")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked += 1
        self._answer(b"application/json", b'{"object":"chat.completion","choices":[]}')

    def _answer(self, kind, body):
        self.send_response(200)
        self.send_header("content-type", kind.decode())
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def product(tmp_path, elsewhere):
    config = tmp_path / "ansambl.toml"
    config.write_text(
        f'[gateway]\norigins = ["http://chat.example:{elsewhere.server_port}"]\nhosts = ["ai.example"]\n'
        f'[models.big]\naddress = "http://127.0.0.1:{elsewhere.server_port}/v1"\nname = "big"\n',
        encoding="utf-8",
    )
    started = start_product(tmp_path / "data", config, tmp_path / "up.log", "--offline", path="/health")
    yield started
    started.end()
    wait_for(lambda: not alive(started.seen), "no process left", 15)


@pytest.fixture
def page_of(chromium, elsewhere):
    """Open the blank page of a site."""
    contexts = []

    def begin(name):
        context = chromium.new_context()
        contexts.append(context)
        page = context.new_page()
        page.goto(f"http://{name}:{elsewhere.server_port}/")
        return page

    yield begin
    for one in contexts:
        one.close()


def chat(**options):
    body = '{"model":"big","messages":[{"role":"user","content":"hello"}]}'
    return {"method": "POST", "body": body, **options}


def test_a_foreign_page_reads_nothing_and_asks_nothing(page_of, product, elsewhere):
    page = page_of("foreign.example")
    elsewhere.asked = 0
    for path in ("/v1/models", "/health", "/admin/api/state", "/"):
        assert page.evaluate(ASK, [product.address + path, {}]) == BLOCKED, path
    json_body = chat(headers={"content-type": "application/json", "authorization": "Bearer x"})
    assert page.evaluate(ASK, [f"{product.address}/v1/chat/completions", json_body]) == BLOCKED
    # Sent without asking, as forms are; the page would not see the answer, but the engine would have worked.
    plain = chat(mode="no-cors", headers={"content-type": "text/plain"})
    assert page.evaluate(ASK, [f"{product.address}/v1/chat/completions", plain])[0] == "opaque"
    # The page learns nothing of a picture that is none, so the log is asked.
    page.evaluate(
        "address => new Promise(end => { const image = new Image(); image.onload = image.onerror = end;"
        " image.src = address; })",
        f"{product.address}/v1/models/picture",
    )
    logs = product.data / "logs"
    wait_for(
        lambda: any(
            "request_refused" in line and "/v1/models/picture" in line
            for file in logs.glob("*.log")
            for line in file.read_text(encoding="utf-8").splitlines()
        ),
        "the picture is refused",
    )
    assert elsewhere.asked == 0


def test_a_name_that_was_made_to_lead_here_opens_nothing(page_of, product):
    page = page_of("rebound.example")
    address = f"http://rebound.example:{product.port}"
    answer = page.goto(f"{address}/")
    assert answer.status == 403
    assert "hosts" in page.content()
    # For the browser the page is of the very same origin.
    kind, status, body, _ = page.evaluate(ASK, [f"{address}/v1/models", {}])
    assert (kind, status) == ("basic", 403)
    assert "coder" not in body


def test_no_page_can_show_the_console_within_itself(page_of, product):
    page = page_of("foreign.example")
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.evaluate(
        "address => new Promise(end => { const frame = document.createElement('iframe'); frame.src = address;"
        " frame.onload = end; document.body.append(frame); })",
        f"{product.address}/",
    )
    # Refused before its own headers are looked at: the browser says that it is a page of another site.
    texts = [frame.content() for frame in page.frames if frame != page.main_frame]
    assert not any("composer" in one or "console/static" in one for one in texts)


def test_a_link_on_a_foreign_page_leads_to_the_console(page_of, product):
    page = page_of("foreign.example")
    page.evaluate(
        "address => { const link = document.createElement('a'); link.href = address; link.id = 'link';"
        " link.textContent = 'here'; document.body.append(link); }",
        f"{product.address}/",
    )
    with page.expect_navigation() as navigation:
        page.click("#link")
    assert navigation.value.status == 200


def test_an_allowed_page_asks_and_reads_with_a_key_and_never_with_cookies(page_of, product, elsewhere):
    page = page_of("chat.example")
    kind, status, body, request_id = page.evaluate(
        ASK, [f"{product.address}/v1/models", {"headers": {"authorization": "Bearer any", "x-stainless-os": "web"}}]
    )
    assert (kind, status) == ("cors", 200)
    assert "coder" in body
    assert request_id
    body = chat(headers={"content-type": "application/json", "authorization": "Bearer any"})
    assert page.evaluate(ASK, [f"{product.address}/v1/chat/completions", body])[:2] == ["cors", 200]
    with_cookies = {"credentials": "include"}
    assert page.evaluate(ASK, [f"{product.address}/v1/models", with_cookies]) == BLOCKED


def test_a_configured_name_opens_the_console(page_of, product):
    page = page_of("ai.example")
    # A name that leads here from elsewhere is not the owner's own way in: it asks, while the chat is open without keys.
    assert page.goto(f"http://ai.example:{product.port}/").status == 401
    assert page.get_by_role("heading", name="Sign in").is_visible()
    assert page.goto(f"http://ai.example:{product.port}/console/chat").status == 200
    assert page.evaluate(ASK, ["/v1/models", {}])[1] == 200
