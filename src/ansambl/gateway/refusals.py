"""What answers say in their headers about keys and their limits."""

from __future__ import annotations

from ansambl.access.limits import HeaderStyle, LimitReachedError
from ansambl.domain.access import UnauthorizedError
from ansambl.domain.errors import AnsamblError
from ansambl.gateway.asgi import Headers

_ANTHROPIC_PATH = "/v1/messages"


def style_of(path: str) -> HeaderStyle:
    """Whose names the headers of limits have under a path."""
    return HeaderStyle.ANTHROPIC if path.startswith(_ANTHROPIC_PATH) else HeaderStyle.OPENAI


def headers_of_refusal(error: AnsamblError, path: str) -> Headers:
    """What the refusal of a key adds to the headers of its answer."""
    if isinstance(error, LimitReachedError):
        return [(b"retry-after", b"%d" % error.retry_after), *error.allowances.headers(style_of(path))]
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b"Bearer")]
    return []
