"""The rights of the admin API, over all of its routes as its OpenAPI lists them, and its routes for keys."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import httpx
import pytest
from starlette.requests import Request

from ansambl.access.credentials import NAVIGATED, UNTOLD
from ansambl.access.door import Credentials
from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret
from ansambl.access.sessions import INVITED
from ansambl.access.store import KeyStore
from ansambl.api.errors import answer_with
from ansambl.api.guarding import Guard, caller_of, needed
from ansambl.api.routes import make_admin_api
from ansambl.app.data_folder import MIGRATIONS
from ansambl.app.keys.controls import ProductKeys
from ansambl.domain.access import OWNER, Endpoint, UnauthorizedError
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
        self.own_user = True
        keys = ProductKeys(self.product, self.door, self.store, self.clock)
        parts = dict.fromkeys(("planning", "watching", "reading", "knowledge"), self.behind)
        self.app = make_admin_api(
            self.behind, self.behind, self.door, self.behind, is_local=is_local, keys=keys,
            is_own_user=lambda scope: self.own_user and is_local(scope), **parts
        )  # fmt: skip

    def key(self, **fields):
        secret = new_secret()
        self.door.add(ApiKey(new_id(), f"key {secret}", digest_of(secret), secret[:12], **fields))
        return secret

    async def call(self, method, path, secret=TOKEN, body=None, client=("127.0.0.1", 5), more=()):
        headers = {**({} if secret is None else {"authorization": f"Bearer {secret}"}), **dict(more)}
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
    "/knowledge/search", "/plan/page", "/plan/preview", "/models/find", "/models/announce",
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
        # Who one is may be asked with any key.
        for secret, status in ((None, 401), (new_secret(), 401), (others, 200 if path == "/me" else 403)):
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


OWN_PAGE = [
    {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "same-origin", "origin": "http://localhost"},
    {"origin": "http://localhost"},
]  # fmt: skip
OTHERS = [
    {}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"},
    {"origin": "http://localhost:3000"}, {"origin": "http://evil.example"}, {"origin": "null"},
    {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
    {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    {"ansambl.navigated": "true"},
]  # fmt: skip
STREAMS = {"/events", "/logs/stream", "/instances/x/logs/stream"}


async def test_without_keys_a_page_of_this_address_in_the_owner_s_browser_may_do_all(stage):
    for method, path in all_routes(stage):
        if (method, path) in {("POST", "/keys"), ("DELETE", "/keys/x")} or path in STREAMS:
            continue
        for headers in OWN_PAGE:
            answer = await stage.call(method, path, None, {}, more=headers)
            assert answer.status_code not in (401, 403), (method, path, headers)


async def test_without_keys_no_other_page_program_user_or_machine_is_the_owner(stage):
    own, elsewhere = ("127.0.0.1", 5), ("203.0.113.7", 5)
    callers = [
        *((True, headers, own) for headers in OTHERS),
        *((False, headers, own) for headers in (*OWN_PAGE, *OTHERS)),
        *((True, headers, elsewhere) for headers in OWN_PAGE),
        *((True, {**headers, "x-forwarded-for": "203.0.113.7"}, own) for headers in OWN_PAGE),
    ]
    for method, path in all_routes(stage):
        if (method, path) == ("GET", "/state"):
            continue
        for own_user, headers, client in callers:
            stage.own_user = own_user
            answer = await stage.call(method, path, None, {}, client, headers)
            assert answer.status_code in (401, 403), (method, path, own_user, headers, client)
    assert stage.behind.reached == []


async def test_with_keys_the_owner_s_browser_needs_one_like_everybody(stage):
    stage.key()
    for method, path in all_routes(stage):
        for headers in OWN_PAGE:
            assert (await stage.call(method, path, None, {}, more=headers)).status_code == 401, (method, path)


async def guarded(stage, method, path, headers=(), **scope):
    """The status of what the console asks within the process, with whatever it puts into the scope."""
    said = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        said.append(message)

    lines = [(b"host", b"localhost"), (b"content-type", b"application/json"), *headers]
    await stage.app({
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": f"/admin/api{path}",
        "raw_path": b"", "root_path": "", "query_string": b"", "headers": lines, "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80), **scope,
    }, receive, send)  # fmt: skip
    return said[0]["status"]


async def test_what_the_console_reads_for_a_page_that_is_gone_to_is_let_in_and_no_change_is(stage):
    for method, path in all_routes(stage):
        if path in STREAMS:
            continue
        reads = method == "GET" or path in CHANGES_NOTHING
        for navigated in (True, False, "true", 1):
            status = await guarded(stage, method, path, **{NAVIGATED: navigated})
            let_in = (reads and navigated is True) or (method, path) == ("GET", "/state")
            assert (status not in (401, 403)) == let_in, (method, path, navigated)
    # A browser that never tells of pages has to sign in: what its page asks for afterwards would be refused.
    assert await guarded(stage, "GET", "/keys", **{NAVIGATED: True, UNTOLD: True}) == 401
    stage.own_user = False
    assert await guarded(stage, "GET", "/keys", **{NAVIGATED: True}) == 401


async def test_the_token_s_session_is_the_owner_s_while_there_are_no_keys(stage):
    cookie = (b"cookie", b"ansambl_session_80=" + stage.door.sign_in(TOKEN).encode())
    origin = (b"origin", b"http://localhost")
    stage.own_user = False
    assert await guarded(stage, "GET", "/keys", [cookie]) == 200
    assert await guarded(stage, "PUT", "/roles/x", [cookie, origin]) not in (401, 403)
    assert await guarded(stage, "PUT", "/roles/x", [cookie]) == 401
    assert await guarded(stage, "PUT", "/roles/x", [cookie, (b"origin", b"http://localhost:3000")]) == 401
    assert await guarded(stage, "GET", "/keys", [(b"cookie", b"ansambl_session_80=made-up")]) == 401
    # And it goes on to be, when there are some.
    stage.key()
    assert await guarded(stage, "GET", "/keys", [cookie]) == 200


async def test_an_invitation_signs_in_once_as_who_asked_for_it(stage):
    made = (await stage.call("POST", "/sign-ins")).json()
    assert made["address"].endswith(f"#enter={made['secret']}")
    owner = Credentials(cookie=stage.door.sign_in(made["secret"]))
    assert stage.door.known(owner) == OWNER
    with pytest.raises(UnauthorizedError):
        stage.door.sign_in(made["secret"])
    late = (await stage.call("POST", "/sign-ins")).json()["secret"]
    await stage.clock.advance(INVITED)
    with pytest.raises(UnauthorizedError):
        stage.door.sign_in(late)

    admin = stage.key(endpoints=frozenset({Endpoint.ADMIN}))
    (key,) = stage.door.all_keys()
    asked, later = [(await stage.call("POST", "/sign-ins", admin)).json()["secret"] for _ in range(2)]
    # An address signs in by what was asked for it alone: one with a key would make others ask in that key's name.
    for key_of in (admin, TOKEN, asked[:-1]):
        with pytest.raises(UnauthorizedError):
            stage.door.accept_invitation(key_of)
    session = Credentials(cookie=stage.door.accept_invitation(asked))
    assert stage.door.known(session).key == key.id
    await stage.door.revoke(key.id, stage.clock.now())
    assert stage.door.known(Credentials(cookie=session.cookie, local=False)) is None
    with pytest.raises(UnauthorizedError):
        stage.door.sign_in(later)


async def test_who_asks_is_told_its_name_and_rights(stage):
    owner = (await stage.call("GET", "/me")).json()
    assert (owner["key"], owner["name"], owner["names"], owner["has_keys"]) == (None, None, None, False)
    assert set(owner["endpoints"]) == {one.value for one in Endpoint}
    secret = stage.key(endpoints=frozenset({Endpoint.CHAT}), names=frozenset({"coder"}))
    found = (await stage.call("GET", "/me", secret)).json()
    assert (found["endpoints"], found["names"], found["has_keys"]) == (["chat"], ["coder"], True)
    assert found["name"] == f"key {secret}"


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


def test_whoever_was_not_let_in_is_not_taken_for_the_owner():
    with pytest.raises(KeyError):
        caller_of(Request({"type": "http", "method": "POST", "path": "/admin/api/sign-ins", "headers": []}))
