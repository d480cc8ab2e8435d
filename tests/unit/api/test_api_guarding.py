"""The rights of the admin API, over all of its routes as its OpenAPI lists them, and its routes for keys."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import httpx
import pytest

from ansambl.access.door import Credentials
from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret
from ansambl.access.store import KeyStore
from ansambl.api.errors import answer_with
from ansambl.api.guarding import Guard, needed
from ansambl.api.routes import make_admin_api
from ansambl.app.data_folder import MIGRATIONS
from ansambl.app.keys.controls import ProductKeys
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import RequestError
from ansambl.domain.role import ModelName
from ansambl.domain.text import text
from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.gateway.front.peers import is_local
from ansambl.roles.catalog import build_catalog
from ansambl.roles.resolver import Resolver

TOKEN = "the-token-of-this-run"


class Anything:
    """Stands for all that the routes ask; whatever reaches it was let in."""

    def __init__(self):
        self.reached = []

    def __getattr__(self, name):
        self.reached.append(name)
        raise RequestError(text("reached {name}", name=name))


class Product:
    """What keys need of a product."""

    def __init__(self):
        self.resolver = Resolver(build_catalog({}, {}, [ModelName("big", aliases=("large",))]))
        self.forgotten = []
        self.service = SimpleNamespace(forget_key=lambda key: self.forgotten.append(("notes", key)))
        self.conversations = self
        memory = SimpleNamespace(forget=lambda key: self.forgotten.append(("memory", key)))
        self.answering = SimpleNamespace(memory=memory)
        self.knowledge = SimpleNamespace(
            exists=True, forget=lambda key: self.forgotten.append(("documents", key))
        )  # fmt: skip

    async def forget_key(self, key):
        self.forgotten.append(("conversations", key))


class Stage:
    def __init__(self, folder):
        self.clock = VirtualClock(1_790_000_000.0)
        self.database = Database(folder / "ansambl.db", load_migrations(MIGRATIONS))
        self.store = KeyStore(self.database)
        self.door = KeyDoor(TOKEN, self.clock, self.store)
        self.product, self.behind = Product(), Anything()
        self.clients = {}
        keys = ProductKeys(self.product, self.door, self.store, self.clock)
        parts = dict.fromkeys(("planning", "watching", "reading", "knowledge"), self.behind)
        self.app = make_admin_api(
            self.behind, self.behind, self.door, self.behind, is_local=is_local, keys=keys, **parts
        )  # fmt: skip

    def key(self, **fields):
        secret = new_secret()
        self.door.add(ApiKey(new_id(), f"key {secret}", digest_of(secret), secret[:12], **fields))
        return secret

    async def call(self, method, path, secret=TOKEN, body=None, client=("127.0.0.1", 5)):
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        if client not in self.clients:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=client)
            self.clients[client] = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        return await self.clients[client].request(method, f"/admin/api{path}", headers=headers, json=body)


@pytest.fixture
def stage(tmp_path):
    found = Stage(tmp_path)
    yield found
    found.database.close()


def all_routes(stage):
    """Every method and path that the OpenAPI lists, with something in each gap."""
    for path, item in stage.app.openapi()["paths"].items():
        for method in item:
            yield method.upper(), re.sub(r"\{[^}]*\}", "x", path).removeprefix("/admin/api")


CHANGES_NOTHING = {
    "/explain", "/plan", "/fit", "/review", "/compat", "/simulate", "/roles/export", "/ensembles/export",
    "/knowledge/search",
}  # fmt: skip


async def test_who_may_read_can_change_nothing(stage):
    reader = stage.key(endpoints=frozenset({Endpoint.ADMIN_READ}))
    routes = list(all_routes(stage))
    assert len(routes) > 30
    changes = [(method, path) for method, path in routes if method != "GET" and path not in CHANGES_NOTHING]
    assert {("POST", "/stop"), ("POST", "/keys"), ("DELETE", "/keys/x"), ("PUT", "/roles/x")} <= set(changes)
    for method, path in changes:
        answer = await stage.call(method, path, reader, {})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed"), (method, path)
    # Nor is there a way around it: other methods, other spellings of the path.
    for method in ("POST", "PUT", "PATCH", "DELETE", "post", "FOO"):
        for path in ("/stop", "/stop/", "//stop", "/state", "/keys", "/roles/../stop", "/%73top", "/explain/"):
            assert (await stage.call(method, path, reader, {})).status_code in (403, 404, 405), (method, path)
    assert stage.behind.reached == []
    assert stage.door.has_keys


async def test_every_route_needs_its_right(stage):
    reader = stage.key(endpoints=frozenset({Endpoint.ADMIN_READ}))
    others = stage.key()
    # Those go on until somebody leaves, which nobody does here.
    streams = {"/events", "/logs/stream", "/instances/x/logs/stream"}
    for method, path in all_routes(stage):
        for secret, status in ((None, 401), (new_secret(), 401), (others, 403)):
            answer = await stage.call(method, path, secret, {})
            assert answer.status_code == status, (method, path, secret)
        if method == "GET" and path not in streams:
            assert (await stage.call(method, path, reader)).status_code not in (401, 403), path
    assert (await stage.call("GET", "/openapi.json", None)).status_code == 401
    assert (await stage.call("GET", "/openapi.json", others)).status_code == 200


async def test_without_keys_the_state_is_free_here_and_all_else_takes_the_token(stage):
    for method, path in all_routes(stage):
        answer = await stage.call(method, path, None, {})
        if (method, path) == ("GET", "/state"):
            assert answer.status_code not in (401, 403)
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token"), (method, path)
        elsewhere = await stage.call(method, path, None, {}, client=("203.0.113.7", 5))
        assert elsewhere.status_code == 403, (method, path)


def test_an_unknown_method_needs_the_right_to_change():
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO", ""):
        assert needed(method, "/admin/api/state") is Endpoint.ADMIN
    assert needed("GET", "/admin/api/whatever") is Endpoint.ADMIN_READ


async def test_a_key_is_made_told_once_listed_and_revoked(stage):
    made = await stage.call("POST", "/keys", body={
        "name": "laptop", "roles": ["CODER", "large"], "endpoints": ["chat"], "limit": ["60/min"],
        "tokens": ["1M/day"], "request_class": "batch", "expires": "30d",
    })  # fmt: skip
    assert made.status_code == 201
    secret, key = made.json()["secret"], made.json()["key"]
    assert (key["names"], key["limit"], key["tokens"]) == (["big", "coder"], ["60/min"], ["1M/day"])
    assert key["expires"] - key["created"] == 30 * 86_400
    assert key["state"] == "valid"
    caller = stage.door.known(Credentials(secret))
    assert (caller.key, caller.names) == (key["id"], frozenset({"big", "coder"}))

    listed = await stage.call("GET", "/keys")
    one = await stage.call("GET", "/keys/laptop")
    assert listed.json()["keys"] == [one.json()]
    assert one.json() == {**key, "requests_left": 60, "tokens_left": 1_000_000}
    for answer in (listed, one):
        assert secret[12:] not in answer.text
        assert digest_of(secret).hex() not in answer.text

    gone = await stage.call("DELETE", f"/keys/{key['id']}")
    assert (gone.status_code, gone.json()["state"]) == (200, "revoked")
    what = ("notes", "memory", "conversations", "documents")
    assert stage.product.forgotten == [(one, key["id"]) for one in what]
    assert not stage.door.has_keys
    assert (await stage.call("GET", "/keys")).json() == {"keys": []}
    assert [one["id"] for one in (await stage.call("GET", "/keys?revoked=true")).json()["keys"]] == [key["id"]]
    assert (await stage.call("DELETE", f"/keys/{key['id']}")).status_code == 404


WRONG = [
    ({"roles": ["codr"]}, 404, "coder"), ({"endpoints": ["everything"]}, 400, "admin:read"),
    ({"limit": ["60"]}, 400, "60/min"), ({"tokens": ["many/day"]}, 400, "1M/day"),
    ({"limit": ["1/min", "2/min"]}, 400, "same time"), ({"expires": "yesterday"}, 400, "yesterday"),
    ({"request_class": "urgent"}, 400, "interactive"), ({"name": ""}, 400, "name"), ({"name": "a\nb"}, 400, "name"),
    ({"name": "x" * 101}, 400, "100"), ({"scope": []}, 422, "scope"), ({"roles": "coder"}, 422, "roles"),
    ({"name": "taken"}, 409, "taken"),
]  # fmt: skip


async def test_what_cannot_be_a_key_says_why(stage):
    assert (await stage.call("POST", "/keys", body={"name": "taken"})).status_code == 201
    for body, status, words in WRONG:
        answer = await stage.call("POST", "/keys", body=body)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["error"]["message"]
    assert len((await stage.call("GET", "/keys")).json()["keys"]) == 1


async def test_a_key_with_the_right_can_revoke_itself_and_hears_of_it(stage):
    made = (await stage.call("POST", "/keys", body={"name": "admin", "endpoints": ["admin"]})).json()
    answer = await stage.call("DELETE", "/keys/admin", made["secret"])
    assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
    assert (await stage.call("GET", "/keys", made["secret"])).status_code == 401


async def test_what_was_revoked_while_nothing_ran_is_forgotten_at_the_start(stage):
    made = (await stage.call("POST", "/keys", body={"name": "old"})).json()
    stage.store.revoke(made["key"]["id"], stage.clock.now())
    door = KeyDoor(TOKEN, stage.clock, stage.store)
    await ProductKeys(stage.product, door, stage.store, stage.clock).forget_revoked()
    # Its documents go when the start is over, which does not wait for them.
    assert stage.product.forgotten == [(one, made["key"]["id"]) for one in ("notes", "memory", "conversations")]


async def test_a_stream_of_the_admin_api_ends_with_its_key(stage):
    """Such as a log that somebody follows: the rest of the stream is not for a key that was revoked."""
    secret = stage.key(endpoints=frozenset({Endpoint.ADMIN_READ}))
    (key,) = stage.door.all_keys()
    sent, begun = [], asyncio.Event()

    async def goes_on(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    guard = Guard(goes_on, door=stage.door, is_local=is_local, answer=answer_with)
    headers = [(b"authorization", f"Bearer {secret}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/admin/api/events", "headers": headers}
    following = asyncio.create_task(guard(scope, None, send))
    await asyncio.wait_for(begun.wait(), 10)
    await stage.door.revoke(key.id, stage.clock.now())
    await asyncio.wait_for(following, 10)
    assert [one["type"] for one in sent] == ["http.response.start", "http.response.body"]
    assert not sent[-1]["more_body"]


@pytest.mark.parametrize("field", ["roles", "endpoints"])
async def test_a_list_that_came_out_empty_makes_no_key_for_everything(stage, field):
    refused = await stage.call("POST", "/keys", body={"name": "a", field: []})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, f"body.{field}")
    made = await stage.call("POST", "/keys", body={"name": "a", field: None})
    assert made.status_code == 201
    assert made.json()["key"]["names"] is None
