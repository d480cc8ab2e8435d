"""A model hub on this machine, for tests: the real one's addresses, headers and habits, and some bad ones.

Use it as ``with FakeHub() as hub: monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)``. Large files are answered with a
redirect to another address (the real hub's content network) together with their size and SHA-256; small ones at once.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 4096
"""Files from this size on are kept as large files, with a pointer in the repository."""
_ENDLESS = 1 << 40
_CHUNK = 64 << 10


@dataclass(slots=True)
class FakeRepository:
    """A repository: its files by path, its card, whether a token must be sent to read them, and how it is liked."""

    files: dict[str, bytes]
    licence: str | None = "apache-2.0"
    gated: bool = False
    downloads: int = 1

    @property
    def revision(self) -> str:
        """The commit, which changes with the files."""
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + b"\0" + content)
        return digest.hexdigest()[:40]


@dataclass(slots=True)
class Served:
    """One answered request, in the list before its answer is sent. `sent` grows with the bytes of the body."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int
    sent: int = 0


@dataclass(slots=True)
class Habits:
    """How the content is served; the defaults are the real hub's.

    `cut_after` breaks a connection after so many bytes of a body; `gate` is waited on before each chunk of a file.
    """

    ignore_ranges: bool = False
    endless: bool = False
    claimed_total: int | None = None
    shifted: int = 0
    redirect_to: str | None = None
    status: int | None = None
    cut_after: int | None = None
    gate: Callable[[], object] | None = None


@dataclass
class FakeHub:
    """The hub. `token` is the one that opens gated repositories; `served` lists what was asked, in order."""

    repositories: dict[str, FakeRepository] = field(default_factory=dict)
    token: str = "hf_" + "right"
    habits: Habits = field(default_factory=Habits)
    served: list[Served] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._servers = [_Server(("127.0.0.1", 0), _handler(self, kind)) for kind in (_Hub, _Content)]
        self._threads = [threading.Thread(target=one.serve_forever, args=(0.02,)) for one in self._servers]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    @property
    def endpoint(self) -> str:
        """What ``HF_ENDPOINT`` must be."""
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def content_address(self) -> str:
        """Where large files come from."""
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def add(
        self, repo: str, files: Mapping[str, bytes], *, licence: str | None = "apache-2.0", gated: bool = False,
        downloads: int = 1,
    ) -> FakeRepository:  # fmt: skip
        """Put a repository in, or another commit of it."""
        self.repositories[repo] = FakeRepository(dict(files), licence, gated, downloads)
        return self.repositories[repo]

    def sent(self) -> int:
        """Bytes of all bodies so far."""
        return sum(one.sent for one in self.served)

    def note(self, one: Served) -> None:
        """Remember an answered request."""
        with self._lock:
            self.served.append(one)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to tell of; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    note: Served
    protocol_version = "HTTP/1.1"
    is_file = False

    def handle_one_request(self) -> None:
        """Answer one of a connection's requests."""
        self.is_file = False
        super().handle_one_request()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Like GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer."""
        raise NotImplementedError

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer, and only its head for HEAD."""
        self._head(status, {"Content-Length": str(len(body)), **(headers or {})})
        if self.command != "HEAD":
            self._send(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        asked = self.headers
        self.note = Served(self.command, self.path, asked.get("Range"), asked.get("Authorization"), status)
        self.hub.note(self.note)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes, repeat: int = 1) -> None:
        sent, habits = 0, self.hub.habits
        try:
            for _ in range(repeat):
                for start in range(0, len(body), _CHUNK):
                    if habits.gate is not None and self.is_file:
                        habits.gate()
                    chunk = body[start : start + _CHUNK]
                    if habits.cut_after is not None and sent + len(chunk) > habits.cut_after:
                        self.wfile.write(chunk[: habits.cut_after - sent])
                        self.close_connection = True
                        return
                    self.wfile.write(chunk)
                    sent += len(chunk)
                    self.note.sent = sent
        except OSError:
            self.close_connection = True

    def serve(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a file or the range of it that is asked for, by the hub's habits."""
        habits, wanted = self.hub.habits, self.headers.get("Range")
        self.is_file = True
        if habits.status is not None:
            self.answer(habits.status, b"no")
            return
        if habits.endless:
            self._head(200, {"Content-Length": str(_ENDLESS)})
            self._send(content + bytes(_CHUNK), _ENDLESS // _CHUNK)
            return
        total = habits.claimed_total if habits.claimed_total is not None else len(content)
        if wanted is None or habits.ignore_ranges:
            self.answer(200, content, headers)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        if start > end:
            self.answer(416, b"", {"Content-Range": f"bytes */{total}"})
            return
        places = f"bytes {start + habits.shifted}-{end + habits.shifted}/{total}"
        self.answer(206, content[start : end + 1], {**headers, "Content-Range": places})


class _Hub(_Handler):
    """The hub itself: what repositories hold, small files, and redirects for large ones."""

    def do_GET(self) -> None:
        """Answer."""
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == ["api", "models"]:
            self._search()
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._describe("/".join(parts[2:4]), parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self.answer(404, b"no such page")

    def _allowed(self, repository: FakeRepository) -> bool:
        return not repository.gated or self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _search(self) -> None:
        """The list that a search answers with: without files, the tags telling the formats."""
        asked = parse_qs(urlsplit(self.path).query)
        words = asked.get("search", [""])[0].lower().split()
        rows = [
            {
                "_id": "0" * 24, "id": repo, "modelId": repo, "likes": 1, "private": False,
                "downloads": one.downloads, "tags": _tags(one), "createdAt": "2026-01-01T00:00:00.000Z",
            }
            for repo, one in self.hub.repositories.items()
            if all(word in repo.lower() for word in words)
        ]  # fmt: skip
        if asked.get("sort") == ["downloads"]:
            rows.sort(key=lambda row: -int(str(row["downloads"])))
        listed = rows[: int(asked.get("limit", ["1000"])[0])]
        self.answer(200, json.dumps(listed).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def _describe(self, repo: str, rest: list[str]) -> None:
        repository = self.hub.repositories.get(repo)
        if repository is None:
            # The real hub does not tell strangers whether a repository is private or does not exist.
            self.answer(401, b"Invalid username or password.", {"X-Error-Code": "RepoNotFound"})
            return
        if rest[:1] == ["tree"]:
            listed: Any = [
                {"type": "file", "path": path, "size": len(content), "oid": _blob(content), **_lfs(content, "oid")}
                for path, content in repository.files.items()
            ]
        else:
            listed = {
                "_id": "0" * 24, "id": repo, "modelId": repo, "sha": repository.revision, "private": False,
                "gated": "auto" if repository.gated else False, "disabled": False, "downloads": repository.downloads,
                "likes": 1, "tags": _tags(repository),
                "cardData": {"license": repository.licence} if repository.licence else {},
                "siblings": [
                    {"rfilename": path, "size": len(content), "blobId": _blob(content), **_lfs(content, "sha256")}
                    for path, content in repository.files.items()
                ],
            }  # fmt: skip
        self.answer(200, json.dumps(listed).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def _resolve(self, repo: str, path: str) -> None:
        repository = self.hub.repositories.get(repo)
        if repository is None:
            self.answer(401, b"Invalid username or password.", {"X-Error-Code": "RepoNotFound"})
            return
        if path not in repository.files:
            self.answer(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
            return
        if not self._allowed(repository):
            status = 403 if self.headers.get("Authorization") else 401
            self.answer(status, b"Access to model is restricted.", {"X-Error-Code": "GatedRepo"})
            return
        content = repository.files[path]
        headers = {"X-Repo-Commit": repository.revision, "Accept-Ranges": "bytes"}
        if self.hub.habits.redirect_to is not None:
            self.answer(302, b"", {**headers, "Location": self.hub.habits.redirect_to})
        elif len(content) >= LARGE:
            sha256 = hashlib.sha256(content).hexdigest()
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{sha256}"'}
            self.answer(302, b"", {**headers, "Location": f"{self.hub.content_address}/{sha256}"})
        else:
            self.serve(content, {**headers, "ETag": f'"{_blob(content)}"'})


class _Content(_Handler):
    """The content network: files by their SHA-256, for whoever has the address."""

    def do_GET(self) -> None:
        """Answer."""
        wanted = self.path.strip("/")
        for repository in self.hub.repositories.values():
            for content in repository.files.values():
                if len(content) >= LARGE and hashlib.sha256(content).hexdigest() == wanted:
                    self.serve(content, {"ETag": f'"{wanted}"', "Accept-Ranges": "bytes"})
                    return
        self.answer(404, b"gone")


def _tags(repository: FakeRepository) -> list[str]:
    formats = [one for one in ("gguf", "safetensors") if any(path.endswith(f".{one}") for path in repository.files)]
    return [*formats, *([f"license:{repository.licence}"] if repository.licence else [])]


def _handler(hub: FakeHub, kind: type[_Handler]) -> type[_Handler]:
    return type(kind.__name__, (kind,), {"hub": hub})


def _blob(content: bytes) -> str:
    """Git's hash of a file; of a large one, of its pointer."""
    if len(content) >= LARGE:
        sha256 = hashlib.sha256(content).hexdigest()
        content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _lfs(content: bytes, name: str) -> dict[str, Any]:
    if len(content) < LARGE:
        return {}
    return {"lfs": {name: hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}}
