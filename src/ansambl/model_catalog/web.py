"""Bytes of files elsewhere, by HTTP ranges: never more than was asked for, never longer than was allowed.

A server may ignore ranges, lie about lengths, send without end, or send slowly: each ends in one error that says so.
Nothing is requested unless the user asked for it, and nothing at all when they said that they are offline.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from ansambl import __version__
from ansambl.domain.errors import AnsamblError, CheckpointError, UnavailableError
from ansambl.domain.text import text
from ansambl.model_catalog.printable import printable

if TYPE_CHECKING:
    import httpx

_REDIRECTS = 6
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 30.0
_MAX_SIZE = 1 << 50
_HUB_PARTS = re.compile(r"^/api/models(?=/)|/revision/main$|/resolve/[0-9a-f]{40}(?=/)")
"""What of an address of the hub says nothing to a reader."""
_YES = {"1", "ON", "YES", "TRUE"}
Seconds = Callable[[], float]


class NotThereError(CheckpointError):
    """The other side has nothing at an address, or does not show it to us."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a file: where they begin in it, and the file's length when the server tells it."""

    start: int
    content: bytes
    total: int | None


def offline_by_environment() -> bool:
    """Whether ``HF_HUB_OFFLINE`` (or ``TRANSFORMERS_OFFLINE``) says that nothing may be requested."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _YES


def endpoint() -> str:
    """The hub's address: ``HF_ENDPOINT``, else the public hub's, without a slash at its end."""
    chosen = os.environ.get("HF_ENDPOINT")
    if chosen:
        return chosen.rstrip("/")
    from huggingface_hub import constants

    return constants.ENDPOINT.rstrip("/")


def _token() -> str | None:
    """The user's token (``HF_TOKEN``, or the file that the hub's own tool writes); None when there is none."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants, get_token

    return None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


class Web:
    """A bounded client. Use it in a ``with`` block; its methods may be called from several threads.

    `seconds` is the time that one call may take from beginning to end.

    Raises:
        UnavailableError: on entering, when nothing may be requested (`offline` or the environment).
    """

    def __init__(self, *, offline: bool = False, seconds: float = 120.0, now: Seconds = time.monotonic) -> None:
        self._offline = offline
        self._seconds = seconds
        self._now = now
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        if self._offline or offline_by_environment():
            raise UnavailableError(
                text("nothing is requested from the network, because --offline or HF_HUB_OFFLINE says so; leave it out "
                     "or give the path of a file on this machine")
            )  # fmt: skip
        import httpx

        timeout = httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS)
        try:
            self._client = httpx.Client(timeout=timeout, headers={"user-agent": f"ansambl/{__version__}"})
        except (OSError, ValueError) as failure:
            raise UnavailableError(
                text("no connection can be made ({reason}); correct the proxy or certificate settings in the "
                     "environment", reason=printable(failure))
            ) from failure  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()

    def whole(self, url: str, limit: int) -> bytes:
        """All bytes at `url`.

        Raises:
            AnsamblError: they are more than `limit`, or cannot be had.
        """
        with self._answer(url, {}) as answer:
            content = b"".join(self._bytes(url, answer, limit + 1))
        if len(content) > limit:
            raise CheckpointError(
                text("{url} sends more than {limit} bytes, which no such file has; give another",
                     url=printable(url, 200), limit=limit)
            )  # fmt: skip
        return content

    def piece(self, url: str, start: int, length: int) -> Piece:
        """At most `length` bytes from `start` on; fewer where the file ends.

        Raises:
            AnsamblError: they cannot be had, or the answer contradicts itself.
        """
        with self._answer(url, {"range": f"bytes={start}-{start + length - 1}"}) as answer:
            if answer.status_code == 416:
                return Piece(start, b"", _total(answer))
            if answer.status_code == 206:
                self._check_start(url, answer, start)
                content = b"".join(self._bytes(url, answer, length))
                return Piece(start, content, _total(answer))
            # A server that ignores the range sends the file from its beginning: only what is needed is taken.
            content = b"".join(self._bytes(url, answer, start + length))
            return Piece(start, content[start:], _total(answer))

    @contextlib.contextmanager
    def stream(self, url: str, start: int, length: int) -> Iterator[Iterator[bytes]]:
        """The bytes from `start` on as they arrive, `length` of them at most. Its time is not limited, its pauses are.

        Raises:
            AnsamblError: they cannot be had, or the server ignores the range.
        """
        with self._answer(url, {"range": f"bytes={start}-{start + length - 1}"}) as answer:
            if answer.status_code == 206:
                self._check_start(url, answer, start)
            elif start:
                raise UnavailableError(
                    text("{host} cannot go on in the middle of a file; delete the partial download, or try later",
                         host=_host(url))
                )  # fmt: skip
            yield self._bytes(url, answer, length, timed=False)

    def _check_start(self, url: str, answer: httpx.Response, start: int) -> None:
        words = answer.headers.get("content-range", "")
        if not words.replace(" ", "").startswith(f"bytes{start}-"):
            raise _contradiction(url)

    def _bytes(self, url: str, answer: httpx.Response, limit: int, *, timed: bool = True) -> Iterator[bytes]:
        if answer.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise _contradiction(url)
        end = self._now() + self._seconds
        import httpx

        left = limit
        try:
            for chunk in answer.iter_raw():
                if timed and self._now() > end:
                    raise _too_slow(url)
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    return
        except httpx.HTTPError as failure:
            raise _unreachable(url, failure) from failure

    def _connected(self) -> httpx.Client:
        if self._client is None:
            message = "use it in a with block"
            raise RuntimeError(message)
        return self._client

    def _head(self, request: httpx.Request, url: str) -> httpx.Response:
        """The head of an answer, or an error when its time is over.

        In a thread of its own: a head that comes letter by letter never makes the client's own limits run out.
        """
        client = self._connected()
        found: queue.SimpleQueue[httpx.Response | Exception] = queue.SimpleQueue()

        def wait() -> None:
            try:
                found.put(client.send(request, stream=True))
            except Exception as failure:  # noqa: BLE001 - whatever it is, it is raised below
                found.put(failure)

        threading.Thread(target=wait, daemon=True).start()
        try:
            answer = found.get(timeout=self._seconds)
        except queue.Empty:
            raise _too_slow(url) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextlib.contextmanager
    def _answer(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The answer after redirects; the token goes to the hub itself and to nobody else."""
        import httpx

        client, home, end = self._connected(), _origin(endpoint()), self._now() + self._seconds
        for _ in range(_REDIRECTS):
            if self._now() > end:
                raise _too_slow(url)
            sent = {"accept-encoding": "identity", **headers}
            token = _token() if _origin(url) == home else None
            if token:
                sent["authorization"] = f"Bearer {token}"
            try:
                answer = self._head(client.build_request("GET", url, headers=sent), url)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as failure:
                raise _unreachable(url, failure) from failure
            try:
                if not answer.is_redirect:
                    if answer.status_code not in {200, 206, 416}:
                        raise _refused(url, answer)
                    yield answer
                    return
                url = _next(url, answer.headers.get("location", ""))
            finally:
                answer.close()
        raise CheckpointError(text("{host} redirects again and again; give the file's own address", host=_host(url)))


def _next(url: str, location: str) -> str:
    target = urljoin(url, location)
    kind = urlsplit(target).scheme.lower()
    if kind not in {"http", "https"} or (kind == "http" and urlsplit(url).scheme.lower() == "https"):
        raise CheckpointError(
            text("{host} redirects to {target}, which is not followed; give the file's own address",
                 host=_host(url), target=printable(target))
        )  # fmt: skip
    return target


def _total(answer: httpx.Response) -> int | None:
    """The file's length as the answer tells it; None for none or nonsense."""
    if answer.status_code == 200:
        words = answer.headers.get("content-length", "")
    else:
        words = answer.headers.get("content-range", "").rpartition("/")[2]
    if not words.isascii() or not words.isdigit() or len(words) > 16:
        return None
    return int(words) if int(words) <= _MAX_SIZE else None


def _host(url: str) -> str:
    return printable(urlsplit(url).netloc.rpartition("@")[2] or url)


def _contradiction(url: str) -> AnsamblError:
    return CheckpointError(
        text("{host} answers other bytes than those that were asked for; download the file and give its path",
             host=_host(url))
    )  # fmt: skip


def _too_slow(url: str) -> AnsamblError:
    return UnavailableError(
        text("{host} answers too slowly; try again later, or download the file and give its path", host=_host(url))
    )


def _unreachable(url: str, failure: Exception) -> AnsamblError:
    import httpx

    host, reason = _host(url), printable(failure, 120) or type(failure).__name__
    if isinstance(failure, httpx.TimeoutException):
        return _too_slow(url)
    if "CERTIFICATE" in reason.upper() or "SSL" in reason.upper():
        return UnavailableError(
            text("no safe connection to {host} ({reason}); check this machine's clock and certificates (SSL_CERT_FILE)",
                 host=host, reason=reason)
        )  # fmt: skip
    return UnavailableError(
        text("{host} cannot be reached ({reason}); check the network, or give the path of a file on this machine",
             host=host, reason=reason)
    )  # fmt: skip


def _refused(url: str, answer: httpx.Response) -> AnsamblError:
    """What an answer with an error status means, by the status and the hub's own code for it."""
    status, code = answer.status_code, answer.headers.get("x-error-code", "")
    shown = printable(_HUB_PARTS.sub("", urlsplit(url).path).strip("/") or url, 160)
    if code == "GatedRepo" or status == 403:
        return CheckpointError(
            text("{path} is only for those who accepted its licence; accept it on the model's page, then set HF_TOKEN "
                 "to your token", path=shown)
        )  # fmt: skip
    if status == 401:
        # To who is not signed in, the hub answers 401 for what does not exist, too.
        return NotThereError(
            text("{host} has no {path}, or it is private; check the name, or set HF_TOKEN to a token that may read it",
                 host=_host(url), path=shown)
        )  # fmt: skip
    if status == 404:
        return NotThereError(
            text("{host} has no {path}; check the name of the repository and of the file", host=_host(url), path=shown)
        )
    if status == 429:
        return UnavailableError(
            text("{host} says that there were too many requests; try again later, or set HF_TOKEN", host=_host(url))
        )
    return UnavailableError(
        text("{host} answered with status {status} for {path}; try again later", host=_host(url), status=status,
             path=shown)
    )  # fmt: skip
