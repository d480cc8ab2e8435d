"""Signing in and out of the console: by a key in the body, from the console's own page alone."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from ansambl.access.credentials import credentials_of
from ansambl.access.door import Credentials
from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_secret
from ansambl.console.application import make_console
from ansambl.domain.access import UnauthorizedError
from ansambl.foundation.clock import VirtualClock

OWN = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}


@pytest.fixture
def door():
    return KeyDoor("the-token-of-this-run", VirtualClock())


@pytest.fixture
def secret(door):
    found = new_secret()
    door.add(ApiKey("k2", "browser", digest_of(found), found[:12]))
    return found


async def no_admin(scope, receive, send):
    raise AssertionError(f"signing in asks the admin API nothing, but {scope['path']} was asked")


async def call(door, method, *, headers=OWN, scheme="http", **more):
    transport = httpx.ASGITransport(make_console(version="1", admin=no_admin, sessions=door))
    async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://localhost") as client:
        return await client.request(method, "/console/session", headers=headers, **more)


async def test_a_key_becomes_a_cookie_that_is_not_the_key(door, secret):
    answer = await call(door, "POST", json={"key": secret})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert secret[12:] not in cookie
    assert "HttpOnly" in cookie
    assert "Secure" not in cookie
    assert "Secure" in (await call(door, "POST", json={"key": secret}, scheme="https")).headers["set-cookie"]
    name, value = cookie.split(";")[0].split("=")
    scope = {"method": "GET", "server": ("localhost", None), "headers": [(b"cookie", f"{name}={value}".encode())]}
    brought = credentials_of(scope, local=False)
    assert door.admit(brought, None).caller.key == "k2"

    ended = await call(door, "DELETE", headers={**OWN, "cookie": f"{name}={value}"})
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["set-cookie"]
    with pytest.raises(UnauthorizedError):
        door.admit(brought, None)


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://evil.example"}, {"origin": "http://localhost:3000"}, {"sec-fetch-site": "none"}]
)
async def test_no_other_page_signs_a_browser_in_or_out(door, secret, headers):
    for method, body in (("POST", {"key": secret}), ("DELETE", None)):
        answer = await call(door, method, headers=headers, json=body)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"key": 1}', b'{"key": " "}', b"\xff", b'{"key": "' + b"x" * 5000 + b'"}',
             b"[" * 4000],
)  # fmt: skip
async def test_a_body_without_a_key_is_refused(door, secret, body):
    answer = await call(door, "POST", content=body)
    assert (answer.status_code, "set-cookie" in answer.headers) == (400, False)
    assert "'key'" in answer.json()["error"]["message"]


async def test_a_wrong_key_is_refused_in_the_readers_language(door, secret):
    answer = await call(door, "POST", json={"key": new_secret()})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert secret[12:] not in answer.text
    await asyncio.sleep(0)
    with pytest.raises(UnauthorizedError):
        door.admit(Credentials(cookie="x"), None)
