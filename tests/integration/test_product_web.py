"""The product for other machines and for browsers: https, names, proxies, CORS, slow clients."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest
from product import environment, run_command, wait_for

from ansambl.app.tls import pinned_context
from ansambl.foundation.network import free_port

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 16_000)
PIECE = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SIZE = 200 * 2**20
CHAT = {"model": "big", "messages": [{"role": "user", "content": "hello"}], "stream": True}


class Flood:
    """An engine that streams 200 MB as fast as somebody takes them."""

    def __init__(self):
        self.sent = 0
        self.gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one):
        with one, contextlib.suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += one.recv(65536) or b"\r\n\r\n"
            if b"/chat/completions" not in asked.partition(b"\r\n")[0]:
                one.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            try:
                one.sendall(HEAD)
                while self.sent < SIZE:
                    one.sendall(PIECE)
                    self.sent += len(PIECE)
            finally:
                self.gone.set()

    def stop(self):
        self._listener.close()


@pytest.fixture
def flood():
    found = Flood()
    yield found
    found.stop()


def certificate(folder, name):
    """A fresh certificate in `folder`, in the files that the configuration names."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "30", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout",
         str(folder / "key.new"), "-out", str(folder / "cert.new")],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "key.new").rename(folder / "key.pem")
    (folder / "cert.new").rename(folder / "cert.pem")
    return (folder / "cert.pem").read_text(encoding="ascii")


class Up:
    """``ansambl up`` over https, found by its state file as its own commands find it."""

    def __init__(self, folder, configuration):
        self.data = folder / "data"
        self.port = free_port()
        self.log = folder / "up.log"
        config = folder / "ansambl.toml"
        config.write_text(configuration, encoding="utf-8")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ansambl", "up", "--offline", "--config", str(config), "--port", str(self.port)],
                env=environment(self.data), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def state(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.data / "state.json").read_text(encoding="utf-8"))
        return None

    @property
    def output(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ready(self):
        assert self.process.poll() is None, self.output
        return self.state() is not None and "Ctrl-C stops everything" in self.output

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def up(tmp_path):
    """Start one; it is ended with the test."""
    started = []

    def begin(configuration):
        one = Up(tmp_path, configuration)
        started.append(one)
        wait_for(one.ready, "ansambl up answers", 60)
        return one

    yield begin
    for one in started:
        one.end()


MODEL = '[models.big]\naddress = "http://127.0.0.1:{port}/v1"\nname = "big"\n'


def test_https_with_our_own_commands_and_a_renewed_certificate(up, tmp_path, flood):
    first = certificate(tmp_path, "ai.example")
    running = up(
        '[gateway]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\nhosts = ["ai.example"]\nhsts = "30d"\n'
        "header_timeout = 1\n" + MODEL.format(port=flood.port)
    )
    address = f"https://127.0.0.1:{running.port}"
    assert address in running.output
    found = httpx.get(f"{address}/health", verify=pinned_context(first), trust_env=False)
    assert (found.status_code, found.headers["strict-transport-security"]) == (200, "max-age=2592000")
    assert run_command("status", data=running.data).returncode == 0
    assert (running.data / "state.json").stat().st_mode & 0o077 == 0

    second = certificate(tmp_path, "ai.example")
    os.kill(running.process.pid, signal.SIGHUP)
    wait_for(lambda: running.state()["certificate"].strip() == second.strip(), "the renewed certificate is taken")
    assert httpx.get(f"{address}/health", verify=pinned_context(second), trust_env=False).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health", verify=pinned_context(first), trust_env=False)
    assert run_command("status", data=running.data).returncode == 0

    # Half of a renewal: told, and the old one stays.
    (tmp_path / "key.pem").write_text("nothing", encoding="ascii")
    os.kill(running.process.pid, signal.SIGHUP)
    wait_for(lambda: "cannot be used" in running.output, "the broken key is told of")
    assert httpx.get(f"{address}/health", verify=pinned_context(second), trust_env=False).status_code == 200

    # Somebody who speaks no TLS there disturbs nobody.
    with socket.create_connection(("127.0.0.1", running.port)) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        plain.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(100).startswith(b"HTTP/1.1 2")
    # And who never says a word of TLS is not waited for a minute.
    with socket.create_connection(("127.0.0.1", running.port)) as silent:
        silent.settimeout(20)
        with contextlib.suppress(ConnectionError):
            assert silent.recv(100) == b""
    assert run_command("down", data=running.data).returncode == 0
    assert running.process.wait(30) == 0


def test_a_certificate_that_cannot_be_used_is_one_line_and_nothing_is_started(tmp_path):
    one = Up(tmp_path, '[gateway]\ntls_certificate = "nothing.pem"\n' + MODEL.format(port=9))
    assert one.process.wait(60) == 2
    said = [line for line in one.output.splitlines() if "nothing.pem" in line]
    assert len(said) == 1
    assert "cannot be read" in said[0]
    assert one.state() is None


def test_names_pages_and_proxies_of_the_configuration_and_after_a_reload(up, tmp_path, flood):
    settings = (
        '[gateway]\nhosts = ["ai.example"]\norigins = ["https://chat.example"]\ntrusted_proxies = ["127.0.0.1"]\n'
        + MODEL.format(port=flood.port)
    )
    running = up(settings)
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False, timeout=20) as client:

        def get(path="/v1/models", **headers):
            return client.get(path, headers={one.replace("_", "-"): value for one, value in headers.items()})

        assert get(host="ai.example").status_code == 200
        assert get(host="evil.com").status_code == 403
        # All faces, and errors too.
        for path in ("/", "/console/none", "/admin/api/state", "/admin/api/none", "/v1/none", "/nowhere", "/api/tags"):
            assert get(path, host="evil.com").status_code == 403, path
            assert get(path, origin="https://evil.com").status_code == 403, path
            answer = get(path, origin="https://chat.example")
            assert answer.headers["access-control-allow-origin"] == "https://chat.example", path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert "access-control-allow-credentials" not in answer.headers
            if path.startswith(("/console", "/admin")) or path == "/":
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
        assert get("/admin/api/state").headers["cache-control"] == "no-store"
        asked = {"origin": "https://chat.example", "access-control-request-method": "POST",
                 "access-control-request-headers": "authorization,content-type"}  # fmt: skip
        answer = client.options("/v1/chat/completions", headers=asked)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
        # While there are no keys, who comes through a proxy from elsewhere is nobody.
        assert get(x_forwarded_for="203.0.113.9").status_code == 403
        assert get(x_forwarded_for="127.0.0.1").status_code == 200
        assert get(x_forwarded_host="evil.com").status_code == 403
        # A form of a foreign page, which browsers send without asking.
        answer = client.post("/v1/chat/completions", content=json.dumps(CHAT),
                             headers={"origin": "https://evil.com", "content-type": "text/plain"})  # fmt: skip
        assert answer.status_code == 403

        (tmp_path / "ansambl.toml").write_text(settings.replace("chat.example", "other.example"), encoding="utf-8")
        os.kill(running.process.pid, signal.SIGHUP)
        wait_for(lambda: get(origin="https://other.example").status_code == 200, "the reload is in effect")
        assert get(origin="https://chat.example").status_code == 403
    assert flood.sent == 0


def test_a_client_that_reads_a_byte_a_second_costs_no_memory_and_is_cut_off(up, flood):
    running = up('[gateway]\nwrite_timeout = "4s"\n' + MODEL.format(port=flood.port))
    process = psutil.Process(running.process.pid)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", running.port))
        body = json.dumps(CHAT).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        client.sendall(head + body)
        wait_for(lambda: flood.sent, "the stream begins")
        before = process.memory_info().rss
        peak, end = before, time.monotonic() + 60
        client.settimeout(5)
        while not flood.gone.wait(1) and time.monotonic() < end:
            client.recv(1)
            peak = max(peak, process.memory_info().rss)
        assert flood.gone.is_set(), "it was never cut off"
    print(f"{flood.sent / 2**20:.1f} MiB of {SIZE / 2**20:.0f} sent, memory grew by {(peak - before) / 2**20:.1f} MiB")  # noqa: T201 - the measured figure
    assert flood.sent < 30 * 2**20
    assert peak - before < 20 * 2**20


def test_uploads_that_stand_still_cost_little_and_disturb_nobody(up, flood):
    running = up('[gateway]\nbody_timeout = "3s"\n' + MODEL.format(port=flood.port))
    process = psutil.Process(running.process.pid)
    with contextlib.ExitStack() as stack:
        before, files = process.memory_info().rss, process.num_fds()
        uploads = [stack.enter_context(socket.create_connection(("127.0.0.1", running.port))) for _ in range(300)]
        for one in uploads:
            one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 30000000\r\n\r\n{")
        began = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{running.port}/v1/models", trust_env=False).status_code == 200
        assert time.monotonic() - began < 5
        assert process.memory_info().rss - before < 40 * 2**20
        for one in uploads:
            one.settimeout(30)
            assert one.recv(12) == b"HTTP/1.1 408"
    wait_for(lambda: process.num_fds() <= files + 5, "their files are closed")


def test_bad_input_on_all_faces_disturbs_nobody(up, flood):
    running = up(MODEL.format(port=flood.port))
    host = b"host: localhost\r\n"
    deep = b"[" * 100_000
    length = b"content-length: %d\r\n\r\n" % len(deep)
    bearer = b"authorization: Bearer %b\r\n" % running.state()["token"].encode()
    cases = {
        b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n": 400,
        b"GET /health\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\n" + host + b"x: 1\r\n" * 10_000 + b"\r\n": 431,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + host + b"\r\n": 414,
        b"GET /console/static/x/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + host + b"\r\n": 404,
        b"GET /console/static/..%2f/%2e%2e%2fpages.py HTTP/1.1\r\n" + host + b"\r\n": 404,
        b"GET /console/words/..%2f..%2fru HTTP/1.1\r\n" + host + b"\r\n": 404,
        b"GET /../../../../etc/passwd HTTP/1.1\r\n" + host + b"\r\n": 404,
        b"POST /v1/chat/completions HTTP/1.1\r\n" + host + length + deep: 400,
        b"PUT /admin/api/roles/x HTTP/1.1\r\n"
        + host
        + bearer
        + b"content-type: application/json\r\n"
        + length
        + deep: 400,
        b"POST /admin/api/explain HTTP/1.1\r\n" + host + bearer + length + deep: 400,
    }
    for content, status in cases.items():
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as one:
            one.sendall(content)
            said = one.recv(65536)
            assert said.startswith(b"HTTP/1.1 %d " % status), (content[:80], said[:300])
            assert b"root:" not in said
    with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as client:
        for path in ("/health", "/v1/models", "/admin/api/state", "/"):
            assert client.get(path).status_code == 200
    assert flood.sent == 0
