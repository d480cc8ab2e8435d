"""One web page or file by its address, into a file: only public addresses, a bounded number of steps, bytes, seconds.

A name is resolved once, what it resolves to is checked, and the connection goes to that very address: a name that
resolves to something else a moment later (DNS rebinding) gains nothing. Every redirect is checked the same way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import httpx

from ansambl.domain.knowledge import Kind
from ansambl.domain.text import text
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.limits import DEFAULT_WEB_LIMITS, MIB, WebLimits
from ansambl.knowledge.reading.options import ReadingOptions
from ansambl.knowledge.reading.times import seconds_of

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, the best first."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    map(
        ipaddress.ip_network,
        # What Python calls global and is not: IETF's assignments and anycast relays of IPv4, where clouds keep the
        # secrets of a machine (192.0.0.192, 168.63.129.16); site-local addresses (RFC 3879), documentation (RFC 9637).
        ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "fec0::/10", "3fff::/20"),
    )
)
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_PACKED = frozenset(("", "identity", "gzip", "x-gzip"))
_UNWANTED = ("audio/", "video/", "font/", "application/x-executable", "application/vnd.android.package-archive")
_HEADERS = {
    "User-Agent": "Ansambl (reads one page for its user)",
    "Accept": "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,*/*;q=0.5",
    "Accept-Encoding": "gzip",
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched lies in `path`. `address` is where it was in the end; `time` when it was changed, if said."""

    wanted: str
    address: str
    path: Path
    media_type: str
    charset: str | None
    time: float | None

    def options(self) -> ReadingOptions:
        """How `Confined.documents` reads it; the place is `wanted`."""
        name = unquote(httpx.URL(self.address).path.rpartition("/")[2]) or httpx.URL(self.address).host
        return ReadingOptions(
            kind=Kind.PAGE, path=str(self.path), name=name, title=self.address, time=self.time, charset=self.charset,
            media_type=self.media_type, facts={"url": self.address},
        )  # fmt: skip


def is_address(place: str) -> bool:
    """Whether a place is the address of a web page."""
    return place.lower().startswith(("http://", "https://"))


def fetch(
    address: str, into: Path, limits: WebLimits = DEFAULT_WEB_LIMITS, *, resolver: Resolver | None = None
) -> Fetched:
    """Fetch one address into a new file; not to be called where an event loop runs.

    Raises:
        UnreadableError: it is no such address, not public, not there, too large or too slow; nothing is left in `into`.
    """
    try:
        return asyncio.run(_within(address, into, limits, resolver or _resolve))
    except BaseException:
        into.unlink(missing_ok=True)
        raise


async def _within(address: str, into: Path, limits: WebLimits, resolver: Resolver) -> Fetched:
    try:
        async with asyncio.timeout(limits.seconds):
            return await _fetch(address, into, limits, resolver)
    except TimeoutError:
        raise UnreadableError(
            text("{address} did not answer within {seconds} s", address=address[:200], seconds=round(limits.seconds))
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error)[:150] or type(error).__name__
        raise UnreadableError(
            text("{address} cannot be fetched ({reason})", address=address[:200], reason=reason)
        ) from error


async def _fetch(address: str, into: Path, limits: WebLimits, resolver: Resolver) -> Fetched:
    url = _checked(httpx.URL(address.strip()), limits)
    wanted = str(url)
    # No proxy of the environment: it would resolve names by itself, and reach what must not be reached.
    async with httpx.AsyncClient(
        headers=_HEADERS, follow_redirects=False, trust_env=False, timeout=httpx.Timeout(limits.seconds)
    ) as client:
        for _ in range(limits.redirects + 1):
            answer = await _sent(client, url, limits, resolver)
            try:
                target = answer.headers.get("location")
                if answer.status_code in _REDIRECTS and target:
                    url = _checked(url.join(target), limits)
                    continue
                await _save(answer, url, into, limits)
            finally:
                await answer.aclose()
            said = answer.headers.get("content-type", "")
            changed = answer.headers.get("last-modified", "")
            return Fetched(wanted, str(url), into, said, answer.charset_encoding, seconds_of(changed))
    raise UnreadableError(
        text("{address} leads on and on, more than {limit} times", address=wanted[:200], limit=limits.redirects)
    )


def _checked(url: httpx.URL, limits: WebLimits) -> httpx.URL:
    if url.scheme not in {"http", "https"} or not url.host:
        raise UnreadableError(text("'{address}' is no address of a web page", address=str(url)[:200]))
    if url.userinfo:
        raise UnreadableError(text("an address with a name and a password in it is not fetched"))
    port = url.port or (443 if url.scheme == "https" else 80)
    if not limits.private and port not in limits.ports:
        raise UnreadableError(
            text("port {port} is none of the web's; set [knowledge] allow_private_addresses to use it", port=port)
        )
    return url.copy_with(fragment=None)


async def _sent(client: httpx.AsyncClient, url: httpx.URL, limits: WebLimits, resolver: Resolver) -> httpx.Response:
    """The beginning of an answer, from an address that was checked."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = await resolver(url.host, port)
    except OSError as error:
        raise UnreadableError(
            text("{host} has no address ({reason})", host=url.host, reason=error.strerror or str(error))
        ) from error
    if not limits.private and not all(map(is_public, found)):
        raise UnreadableError(
            text("{host} is not a public address; set [knowledge] allow_private_addresses to fetch it", host=url.host)
        )
    failure: httpx.HTTPError | None = None
    for one in found[:3]:
        request = client.build_request("GET", url.copy_with(host=one.partition("%")[0]))
        request.headers["Host"] = url.netloc.decode("ascii")
        # The certificate must be the name's, not the address's.
        request.extensions = {**request.extensions, "sni_hostname": url.host}
        try:
            return await client.send(request, stream=True)
        except httpx.ConnectError as error:
            failure = error
    raise failure or UnreadableError(text("{host} has no address ({reason})", host=url.host, reason="-"))


async def _save(answer: httpx.Response, url: httpx.URL, into: Path, limits: WebLimits) -> None:
    if answer.status_code != 200:
        raise UnreadableError(text("{address} answers {status}", address=str(url)[:200], status=answer.status_code))
    kind = answer.headers.get("content-type", "").lower()
    if kind.startswith(_UNWANTED):
        raise UnreadableError(text("{address} is no document but {kind}", address=str(url)[:200], kind=kind[:60]))
    packed = answer.headers.get("content-encoding", "").strip().lower()
    if packed not in _PACKED:
        # Packed twice, sixty kilobytes become gigabytes in memory before their size can be looked at.
        raise UnreadableError(
            text("{address} answers with an encoding that was not asked for ({encoding})", address=str(url)[:200],
                 encoding=packed[:60])
        )  # fmt: skip
    size = 0
    with into.open("xb") as file:
        async for piece in answer.aiter_bytes():
            size += len(piece)
            if size > limits.size:
                raise UnreadableError(
                    text("{address} is larger than {limit} MiB", address=str(url)[:200], limit=limits.size // MIB)
                )
            file.write(piece)


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also where it wraps one of IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        wrapped = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if wrapped is None and found in _NAT64:
            wrapped = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
        # Deprecated, and never routed: "::127.0.0.1".
        if int(found) < 1 << 32:
            return False
    if any(found in one for one in _NOT_PUBLIC if one.version == found.version):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))
