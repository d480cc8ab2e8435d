"""One line for each request however it ends, with its id everywhere, and not a word of what was said in it."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager

import pytest
from gateway_stage import ANSWER, LAST, STREAM_HEAD, a_gateway, connection, event, post, raw, reply, request, until
from product import wait_for

from ansambl.access.door import OpenDoor
from ansambl.access.limits import Allowances, LimitReachedError
from ansambl.domain.access import UnauthorizedError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.observing.contents_log import ContentsLog
from ansambl.gateway.observing.request_log import RequestLog

MARKER, SAID = "the secret word of the prompt", "the secret word of the answer"
TOLD = ANSWER.replace(b'"hi"', json.dumps(SAID).encode())


class Refusing(OpenDoor):
    """Lets in or refuses as the test says."""

    refusal = None

    def admit(self, credentials, endpoint):
        if self.refusal is not None:
            raise self.refusal
        return super().admit(credentials, endpoint)


@asynccontextmanager
async def logged(tmp_path, **options):
    """A gateway whose requests are logged in `tmp_path`; the engine says a word that must stand nowhere."""
    async with a_gateway(**options) as running:
        running.gateway.requests = RequestLog(tmp_path)
        running.engine.script = running.engine.fixed(reply(TOLD))
        try:
            yield running
        finally:
            running.gateway.close_logs()


def ask(model="big", path="/v1/chat/completions", *, headers=None, **fields):
    messages = [{"role": "user", "content": MARKER}]
    body = json.dumps({"model": model, "messages": messages, **fields}, separators=(",", ":")).encode()
    return post(body, path, **(headers or {}))


async def lines(running, tmp_path, count=1):
    """The lines of the file, when there are so many of them; no more come."""
    await until(lambda: running.gateway.answering.running == 0, "all requests are over")
    running.gateway.close_logs()
    found = [json.loads(one) for one in (tmp_path / "requests.log").read_text(encoding="utf-8").splitlines()]
    assert len(found) == count, found
    return found if count != 1 else found[0]


async def test_an_answer_is_one_line_with_all_that_is_known(tmp_path):
    async with logged(tmp_path) as running:
        status, headers, body = await raw(running, ask())
        line = await lines(running, tmp_path)
    assert status == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", line.pop("time"))
    assert line.pop("total_ms") >= 0
    assert line.pop("queued_ms") >= 0
    assert line == {
        "id": headers["x-request-id"], "method": "POST", "path": "/v1/chat/completions", "name": "big", "model": "big",
        "key": "local", "class": "interactive", "status": 200, "code": None, "first_token_ms": None,
        "prompt_tokens": 7, "cached_tokens": 4, "output_tokens": 2, "streamed": False, "client_left": False, "swaps": 0,
        "bytes": len(body),
    }  # fmt: skip
    assert (tmp_path / "requests.log").stat().st_mode & 0o777 == 0o600


async def test_a_stream_says_when_its_first_byte_came(tmp_path):
    async with logged(tmp_path) as running:
        running.engine.script = running.engine.stream(event(SAID), event("b"), LAST)
        _, headers, body = await raw(running, ask(stream=True))
        line = await lines(running, tmp_path)
        assert running.metric("ansambl_time_per_output_token_seconds_count", name="big") == 1
        # Two tokens have one time between them.
        assert running.metric("ansambl_inter_token_latency_seconds_count", model="big") == 1
    assert line["id"] == headers["x-request-id"]
    assert line["streamed"]
    assert 0 <= line["first_token_ms"] <= line["total_ms"]
    assert line["bytes"] == len(body)
    assert (line["prompt_tokens"], line["output_tokens"]) == (7, 2)


@pytest.mark.parametrize(
    ("content", "status", "code", "name"),
    [
        (ask("nothing"), 404, "model_not_found", "unresolved"),
        (post(b"{"), 400, "invalid_json", "unresolved"),
        (ask(path="/v1/nothing"), 404, "unknown_url", "-"),
        (b"GET /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n", 405, "method_not_allowed", "-"),
    ],
)
async def test_what_is_refused_is_one_line_with_its_code(tmp_path, content, status, code, name):
    async with logged(tmp_path) as running:
        assert (await raw(running, content))[0] == status
        line = await lines(running, tmp_path)
    assert (line["status"], line["name"]) == (status, name)
    assert line["code"] == code
    assert MARKER not in json.dumps(line)


async def test_an_engine_that_refuses_is_one_line(tmp_path):
    async with logged(tmp_path) as running:
        said = {"error": {"message": f"cannot read {MARKER}", "type": "invalid_request_error", "code": "bad_value"}}
        running.engine.script = running.engine.fixed(reply(json.dumps(said).encode(), status=b"400 Bad Request"))
        assert (await raw(running, ask()))[0] == 400
        line = await lines(running, tmp_path)
        assert running.metric("ansambl_errors_total", code="bad_value") == 1
    assert (line["status"], line["code"], line["model"]) == (400, "bad_value", "big")


async def test_an_engine_that_dies_before_its_answer_is_one_line(tmp_path):
    async with logged(tmp_path) as running:
        running.engine.script = running.engine.fixed(b"")
        status = (await raw(running, ask()))[0]
        line = await lines(running, tmp_path)
    assert status >= 500
    assert (line["status"], line["code"]) == (status, "engine_failed")


async def test_an_engine_that_dies_within_its_stream_is_one_line(tmp_path):
    async with logged(tmp_path) as running:
        running.engine.script = running.engine.stream(event(SAID), end=False)
        status, _, body = await raw(running, ask(stream=True))
        line = await lines(running, tmp_path)
    assert status == 200
    assert b'"error"' in body
    # What the client could be told no more: it has a 200.
    assert line["status"] >= 500
    assert line["code"]
    assert line["streamed"]
    assert line["first_token_ms"] is not None


@pytest.mark.parametrize("contents", [False, True])
async def test_a_client_that_leaves_is_one_line(tmp_path, contents):
    async with logged(tmp_path) as running:
        running.gateway.contents = ContentsLog(tmp_path, writes=contents)
        begun = asyncio.Event()

        async def script(call, writer):
            writer.write(STREAM_HEAD + b"%x\r\n%b\r\n" % (len(event(SAID)), event(SAID)))
            await writer.drain()
            begun.set()
            await call.left.wait()

        running.engine.script = script
        async with connection(running) as (reader, writer):
            writer.write(ask(stream=True))
            await asyncio.wait_for(reader.readuntil(b"data: "), 10)
            writer.transport.abort()
        await until(lambda: running.metric("ansambl_requests_cancelled_total"), "the client is missed")
        line = await lines(running, tmp_path)
    assert line["client_left"]
    assert (line["status"], line["code"], line["name"]) == (499, None, "big")


async def test_an_answer_that_is_cut_is_one_line(tmp_path):
    async with logged(tmp_path) as running:
        begun = asyncio.Event()

        async def script(call, writer):
            begun.set()
            await call.left.wait()

        running.engine.script = script
        answer = asyncio.create_task(raw(running, ask()))
        await asyncio.wait_for(begun.wait(), 10)
        running.gateway.answering.draining = True
        await running.gateway.answering.cut()
        assert (await answer)[0] == 503
        line = await lines(running, tmp_path)
    assert (line["status"], line["code"]) == (503, "stopping")


async def test_who_is_not_let_in_is_one_line_with_the_id_of_the_key(tmp_path):
    door = Refusing()
    async with logged(tmp_path, door=door) as running:
        Refusing.refusal = UnauthorizedError(text("Who are you?"))
        assert (await raw(running, ask()))[0] == 401
        Refusing.refusal = LimitReachedError(text("Too much."), retry_after=3, allowances=Allowances(0.0))
        Refusing.refusal.key = "k23456789"
        assert (await raw(running, ask()))[0] == 429
        Refusing.refusal = None
        unknown, limited = await lines(running, tmp_path, 2)
        assert running.metric("ansambl_rate_limited_total", key="k23456789") == 1
    assert (unknown["status"], unknown["code"], unknown["key"]) == (401, "invalid_api_key", "local")
    assert (limited["status"], limited["code"], limited["key"]) == (429, "rate_limit_exceeded", "k23456789")


async def test_those_who_watch_are_not_logged(tmp_path):
    async with logged(tmp_path) as running:
        for path in ("/health", "/ready", "/metrics"):
            status, headers, _ = await raw(running, f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            assert status == 200
            assert headers["x-request-id"].startswith("req_")
        await raw(running, ask())
        assert (await lines(running, tmp_path))["path"] == "/v1/chat/completions"
        assert running.metric("ansambl_endpoint_requests_total", endpoint="/metrics", status="200") >= 1


# --- ids -------------------------------------------------------------------------------------------------------------


async def test_the_id_of_a_client_is_kept_and_anthropics_clients_find_it_under_their_name(tmp_path):
    async with logged(tmp_path) as running:
        _, headers, _ = await raw(running, ask(headers={"x_request_id": "trace-1/2:3=4"}))
        assert headers["x-request-id"] == "trace-1/2:3=4"
        assert "request-id" not in headers
        _, headers, _ = await raw(running, ask(path="/v1/messages", max_tokens=5, headers={"x_request_id": "mine"}))
        assert headers["request-id"] == headers["x-request-id"] == "mine"
        _, headers, _ = await raw(running, ask(path="/v1/messages", headers={"x_request_id": "mine"}))
        assert headers["request-id"] == "mine"
        assert [one["id"] for one in await lines(running, tmp_path, 3)] == ["trace-1/2:3=4", "mine", "mine"]


@pytest.mark.parametrize("given", ["a" * 129, "two words", "<script>", "sk-" + "Ab3dE6gH9k" * 2, "-x"])
async def test_an_id_that_is_not_sane_is_replaced(tmp_path, given):
    async with logged(tmp_path) as running:
        _, headers, _ = await raw(running, ask(headers={"x_request_id": given}))
        assert re.fullmatch(r"req_[0-9a-f]{16}", headers["x-request-id"])
        assert (await lines(running, tmp_path))["id"] == headers["x-request-id"]


async def test_lines_of_ansambls_log_say_which_request_they_are_about(tmp_path, own_log):
    async with logged(tmp_path) as running:
        running.engine.script = running.engine.fixed(b"")
        _, headers, _ = await raw(running, ask())
    get_logger("test").info("afterwards")
    failed, afterwards = own_log("request_failed"), own_log("afterwards")
    assert f"request={headers['x-request-id']}" in failed
    assert MARKER not in failed
    assert "request=" not in afterwards


@pytest.mark.parametrize("how", [{"kind": b"text/html"}, {"status": b"400 Bad Request"}, {"status": b"500 Broken"}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/embeddings"])
async def test_what_the_engine_says_of_its_key_does_not_reach_the_client(tmp_path, how, path):
    key = "sk-" + "Ab3dE6gH9k" * 3
    async with logged(tmp_path) as running:
        running.engine.script = running.engine.fixed(reply(f"wrong key {key}".encode(), **how))
        status, _, body = await raw(running, ask(path=path, max_tokens=5, input="x"))
    assert status >= 400
    assert b"wrong key" in body
    assert key.encode() not in body


# --- contents --------------------------------------------------------------------------------------------------------


async def test_without_being_asked_no_word_of_a_conversation_is_written(tmp_path, own_log):
    async with logged(tmp_path) as running:
        for content in (ask(), ask("nothing"), ask(stream=True), ask(path="/v1/messages", max_tokens=5)):
            await raw(running, content)
        running.engine.script = running.engine.fixed(reply(b"{" + SAID.encode(), status=b"500 Broken"))
        await raw(running, ask())
    own_log("")
    written = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert {one.name for one in written} == {"requests.log", "ansambl.log"}
    for one in written:
        content = one.read_text(encoding="utf-8")
        assert MARKER not in content
        assert SAID not in content, one


async def test_contents_are_written_where_the_owner_asks_for_them_with_secrets_masked(tmp_path):
    key = "ansambl-" + "Ab3dE6gH9k" * 5
    async with logged(tmp_path) as running:
        running.gateway.contents = ContentsLog(tmp_path, writes=True)
        await raw(running, ask(user=key))
        running.engine.script = running.engine.stream(event(SAID), LAST)
        _, headers, _ = await raw(running, ask(stream=True))
        running.gateway.contents.writes = False
        await raw(running, ask())
        await lines(running, tmp_path, 3)
    file = tmp_path / "contents.log"
    assert file.stat().st_mode & 0o777 == 0o600
    whole, streamed = [json.loads(one) for one in file.read_text(encoding="utf-8").splitlines()]
    assert MARKER in whole["asked"]
    assert SAID in whole["answer"]
    assert "[secret]" in whole["asked"]
    assert key not in file.read_text(encoding="utf-8")
    assert (streamed["id"], streamed["name"]) == (headers["x-request-id"], "big")
    assert SAID in streamed["answer"]
    assert "[DONE]" in streamed["answer"]
    assert not streamed["cut"]
    assert MARKER not in (tmp_path / "requests.log").read_text(encoding="utf-8")


# --- labels ----------------------------------------------------------------------------------------------------------


async def test_names_that_nobody_has_are_no_labels(tmp_path):
    async with logged(tmp_path) as running:

        async def some(first, last):
            async with connection(running) as (reader, writer):
                for number in range(first, last):
                    writer.write(post(request(f"made-up-{number}")))
                    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
                    assert head.split()[1] == "404"
                    await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))

        await asyncio.gather(*(some(start, start + 500) for start in range(0, 10_000, 500)))
        page = running.gateway.metrics.page().decode()
        assert "made-up" not in page
        assert running.metric("ansambl_requests_total", name="unresolved", status="404") == 10_000
        assert len(page) < 100_000


@pytest.fixture
def own_log(tmp_path, own_log_of):
    return own_log_of(tmp_path / "ansambl.log")


@pytest.mark.engine
def test_the_product_logs_its_requests_and_tells_them(start, data_folder, tmp_path):
    started = start("[gateway]\nlog_contents = true\n")
    assert "word for word" in started.output
    started.chat("embedded", MARKER)
    assert started.chat("nobody", MARKER).status_code == 404
    logs = data_folder / "logs"
    requests, contents = logs / "requests.log", logs / "contents.log"
    wait_for(lambda: requests.exists() and contents.exists() and b"404" in requests.read_bytes(), "the lines", 10)
    told = started.command("logs", "--requests", "--json")
    assert told.returncode == 0, told.stderr
    found = {one["status"]: one for one in json.loads(told.stdout)["requests"]}
    assert found[200]["name"] == found[200]["model"] == "embedded"
    assert found[200]["output_tokens"] > 0
    assert found[404]["code"] == "model_not_found"
    shown = started.command("logs", "--requests", "-n", "1").stdout
    assert found[404]["id"] in shown
    assert MARKER not in told.stdout + shown
    for name in ("requests.log", "ansambl.log"):
        assert MARKER not in (logs / name).read_text(encoding="utf-8")
    assert MARKER in (logs / "contents.log").read_text(encoding="utf-8")
    page = started.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert page.text.endswith("# EOF\n")
    assert "process_cpu_seconds_total" in page.text
