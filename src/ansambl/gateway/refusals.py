"""What answers say of keys: their limits in headers, refusals, and nothing of what a key may not use."""

from __future__ import annotations

from ansambl.access.limits import HeaderStyle, LimitReachedError
from ansambl.domain.access import Caller, UnauthorizedError
from ansambl.domain.errors import AnsamblError, UnknownNameError
from ansambl.domain.text import text
from ansambl.gateway.asgi import Headers

_ANTHROPIC_PATH = "/v1/messages"


def style_of(path: str) -> HeaderStyle:
    """Whose names the headers of limits have under a path."""
    return HeaderStyle.ANTHROPIC if path.startswith(_ANTHROPIC_PATH) else HeaderStyle.OPENAI


def told_to(caller: Caller, error: AnsamblError) -> AnsamblError:
    """An error as a caller may read it: the names nearest to one that is not there may be no names for its key."""
    if caller.names is None or not isinstance(error, UnknownNameError):
        return error
    return UnknownNameError(
        text("This name is none that this API key may use; GET /v1/models lists those."), param=error.param
    )


def headers_of_refusal(error: AnsamblError, path: str) -> Headers:
    """What the refusal of a key adds to the headers of its answer."""
    if isinstance(error, LimitReachedError):
        return [(b"retry-after", b"%d" % error.retry_after), *error.allowances.headers(style_of(path))]
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b"Bearer")]
    return []
