"""A recorded Ansambl: a small HTTP server that commands take for the running one, because its state file says so."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansambl.app.data_folder import prepare_folder
from ansambl.app.running_state import write_state
from ansambl.foundation.paths import DataPaths

TOKEN = "the-token"


class RecordedAnswers(BaseHTTPRequestHandler):
    """Subclass it with `get` and `post`; `asked` is a list of its own for each `recorded_ansambl`."""

    asked: list[Any]

    def do_GET(self) -> None:
        self.get()

    def do_POST(self) -> None:
        self.post(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def get(self) -> None:
        """Answer a request without a body."""
        raise NotImplementedError

    def post(self, body: Any) -> None:
        """Answer one with this body."""
        raise NotImplementedError

    def answer(self, status: int, document: object) -> None:
        self.answer_bytes(status, json.dumps(document).encode())

    def answer_bytes(self, status: int, content: bytes, kind: str | None = None) -> None:
        self.send_response(status)
        if kind is not None:
            self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@contextlib.contextmanager
def recorded_ansambl(data: Path, answers: type[RecordedAnswers], **fields: Any) -> Iterator[type[RecordedAnswers]]:
    """Serve `answers`, with `fields` of its own, for the data folder `data`; yields its class."""
    handler = type("OneRecorded", (answers,), {"asked": [], **fields})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        paths = DataPaths(data)
        prepare_folder(paths)
        write_state(paths, "127.0.0.1", server.server_port, TOKEN)
        try:
            yield handler
        finally:
            server.shutdown()
            thread.join()
