"""Pages travel packed by gzip where the browser takes it; a page of text is a quarter of itself then.

Why that gives nothing away: who can make a browser ask for pages, and can count the encrypted bytes of the answers,
may guess a secret that stands in a page beside words of the address (BREACH). No page holds a secret that could be
guessed so: there is no token against foreign requests, since browsers say themselves whose page asks
(`ansambl.access.credentials.is_same_origin`), and a new key comes by the admin API, which packs nothing. What else
stands in a page is the reader's own, and such an attacker asks from a page of another site: an answer to that
(``Sec-Fetch-Site``) is not packed, and with keys it holds nothing, for the cookie is sent to our own pages only.

Streams are not packed, and the gateway's answers do not come through here at all.
"""

from __future__ import annotations

import gzip

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST = 1024
"""Bytes below which nothing is packed: they travel in one packet as they are."""

_LEVEL = 6
"""Of nine. The steps above it take twice as long for one byte in a hundred."""
_PAGE = "text/html"
_DEPENDS_ON = "Accept-Encoding, Sec-Fetch-Site"
_OWN = frozenset({"", "same-origin", "none"})
"""What a browser says of a request of our own page, and of an address that was typed; old ones say nothing."""


class PackedPages:
    """Packs the pages of an application, and parts of them, where they are sent as a whole.

    It is no `GZipMiddleware`: the versions of Starlette that we take differ in what they do with streams.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = Headers(scope=scope)
        packs = accepts_gzip(asked.get("accept-encoding", "")) and asked.get("sec-fetch-site", "") in _OWN
        held: Message | None = None

        async def send_packed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith(_PAGE):
                    headers.add_vary_header(_DEPENDS_ON)
                    if packs and "content-encoding" not in headers:
                        # Its length is known with its body.
                        held = message
                        return
            elif held is not None:
                start, held = held, None
                body = message.get("body", b"")
                if len(body) >= LEAST and not message.get("more_body", False):
                    body = gzip.compress(body, _LEVEL, mtime=0)
                    MutableHeaders(scope=start).update(
                        {"content-encoding": "gzip", "content-length": str(len(body))}
                    )  # fmt: skip
                    message = {**message, "body": body}
                await send(start)
            await send(message)

        await self._app(scope, receive, send_packed)


def accepts_gzip(header: str) -> bool:
    """Whether whoever sent this ``Accept-Encoding`` unpacks gzip."""
    weights: dict[str, str] = {}
    for one in header.lower().split(","):
        name, _, weight = one.partition(";")
        weights[name.strip()] = weight.replace(" ", "").removeprefix("q=")
    found = weights.get("gzip", weights.get("*", "0"))
    # Nought may be written with up to three decimals; without a weight it is one.
    return not found or bool(found.strip("0."))
