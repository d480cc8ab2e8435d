"""What can be wrong with a request before its body is read, and how it is said on the bare connection."""

from __future__ import annotations

import msgspec

from ansambl.domain.errors import AnsamblError, RequestError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes
from ansambl.foundation.locales import speaker_of_header
from ansambl.gateway.asgi import Headers, header
from ansambl.gateway.dialect_routes import error_object_of
from ansambl.gateway.front.connection_limits import Limits

_PHRASES = {400: b"Bad Request", 408: b"Request Timeout", 414: b"URI Too Long",
            431: b"Request Header Fields Too Large", 503: b"Service Unavailable"}  # fmt: skip


class HeadError(RequestError):
    """What a client sent before its body cannot be taken; `status` says why."""

    def __init__(self, status: int, code: str, message: Text) -> None:
        super().__init__(message, code=code)
        self.status = status


def garbage() -> HeadError:
    """What came is no HTTP."""
    return HeadError(
        400, "invalid_http",
        text("This is not a valid HTTP/1.1 request (and https works only where TLS is set up)."),
    )  # fmt: skip


def slow(patience: float) -> HeadError:
    """Too little came within `patience` seconds."""
    return HeadError(
        408, "request_timeout",
        text("The request was sent too slowly: not enough of it came within {seconds} s.", seconds=round(patience)),
    )  # fmt: skip


def cut_short() -> HeadError:
    """The client sends no more, and its request is not whole."""
    return HeadError(
        400, "incomplete_request", text("The request ended before it was whole; send all that its headers promise.")
    )


def url_too_long(limits: Limits) -> HeadError:
    """The address is too long."""
    return HeadError(
        414,
        "url_too_long",
        text(
            "The URL is longer than {limit}; shorten it, or raise 'max_url' under [gateway].",
            limit=format_bytes(limits.url_bytes),
        ),
    )


def head_too_large(limits: Limits) -> HeadError:
    """The head is too large as a whole."""
    return HeadError(
        431, "headers_too_large",
        text("The headers are larger than {limit}; raise 'max_header_bytes' under [gateway] if they must be.",
             limit=format_bytes(limits.header_bytes)),
    )  # fmt: skip


def too_many_headers(limits: Limits) -> HeadError:
    """It has too many headers."""
    return HeadError(
        431, "too_many_headers",
        text("There are more than {limit} headers; raise 'max_headers' under [gateway] if there must be.",
             limit=limits.headers),
    )  # fmt: skip


def bare_answer(error: AnsamblError, url: bytes, headers: Headers) -> bytes:
    """The whole answer to a request that no application gets to see; the connection ends with it.

    `url` and `headers` are as far as they are known: the dialect and the language follow from them.
    """
    language = header({"headers": headers}, b"accept-language")
    speak = speaker_of_header(language.decode("latin-1") if language is not None else None)
    path = url.partition(b"?")[0].decode("latin-1")
    body = msgspec.json.encode(error_object_of(path)(error, error.message.render(speak)))
    retry = b"retry-after: 1\r\n" if isinstance(error, UnavailableError) else b""
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
        % (error.status, _PHRASES.get(error.status, b"Error"), len(body), retry, body)
    )
