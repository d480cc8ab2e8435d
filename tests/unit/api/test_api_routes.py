"""The admin API: who may read and change, in which language, and what errors look like."""

import httpx
import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.api.routes import make_admin_api
from ansambl.api.schemas import RequestsDocument, StateDocument
from ansambl.domain.errors import RequestError, UnknownNameError
from ansambl.domain.text import text
from ansambl.foundation.clock import RealClock
from ansambl.gateway.front.peers import is_local

TOKEN = "the-token-of-this-run"


class Controls:
    def __init__(self):
        self.stops = 0
        self.bodies = []

    def state(self, translate):
        return StateDocument(
            version="1", pid=1, started=1.0, address="http://127.0.0.1:1", default_model="big", instances=[], roles=[],
            ensembles=[], events=[], requests=RequestsDocument(),
        )  # fmt: skip

    async def explain(self, body, translate):
        self.bodies.append(body)
        if body != b"{}":
            raise RequestError(text("not a request"), param="messages")
        return {"ok": True}

    def request_stop(self):
        self.stops += 1


class Watching:
    """Logs of one model; streams are tested where they are made."""

    async def log_tail(self, model, lines):
        if model not in {None, "org/big"}:
            raise UnknownNameError(text("No model is called '{name}' here.", name=model))
        return [f"line {number}" for number in range(lines)]


class Roles:
    """Stands for the roles of a product; no test here asks for them with the token."""

    def __getattr__(self, name):
        raise AssertionError(name)


@pytest.fixture
def controls():
    return Controls()


@pytest.fixture
async def client(controls):
    transport = httpx.ASGITransport(
        make_admin_api(controls, Roles(), KeyDoor(TOKEN, RealClock()), is_local=is_local, watching=Watching())
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found


def bearer(token=TOKEN):
    return {"authorization": f"Bearer {token}"}


async def test_the_state_needs_no_token(client):
    answer = await client.get("/admin/api/state")
    assert answer.status_code == 200
    assert answer.json()["default_model"] == "big"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": ""}, bearer(""), bearer("wrong"), bearer(TOKEN[:-1]), bearer(TOKEN + "x"),
     {"authorization": "Basic x"}, {"authorization": "Bearer \xff"}],
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/instances/org/big/logs"), ("POST", "/explain"), ("POST", "/stop")]
)
async def test_logs_and_changes_need_the_token(client, controls, method, path, headers):
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = await client.request(method, f"/admin/api{path}", headers=encoded, content=b"{}")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_token"
    assert TOKEN not in answer.text
    assert (controls.stops, controls.bodies) == (0, [])


async def test_roles_and_reloads_need_the_token(client):
    one = [
        ("GET", ""), ("GET", "/coder"), ("PUT", "/coder"), ("DELETE", "/coder"), ("GET", "/coder/versions"),
        ("POST", "/coder/restore"), ("POST", "/coder/rename"), ("POST", "/export"), ("POST", "/import"),
    ]  # fmt: skip
    routes = [
        ("POST", "/reload"),
        *((method, f"/{table}{end}") for table in ("roles", "ensembles") for method, end in one),
    ]
    for method, path in routes:
        for headers in ({}, bearer("wrong")):
            answer = await client.request(method, f"/admin/api{path}", headers=headers, content=b"{}")
            assert answer.status_code == 401, (method, path)


async def test_stopping(client, controls):
    answer = await client.post("/admin/api/stop", headers=bearer())
    assert (answer.status_code, answer.json(), controls.stops) == (202, {"stopping": True}, 1)


async def test_logs_of_a_model_whose_name_holds_a_slash(client):
    answer = await client.get("/admin/api/instances/org/big/logs?lines=2", headers=bearer())
    assert answer.json() == {"lines": ["line 0", "line 1"]}
    missing = await client.get("/admin/api/instances/small/logs", headers=bearer())
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    for lines in ("0", "-1", "5001", "x"):
        assert (
            await client.get(f"/admin/api/instances/org/big/logs?lines={lines}", headers=bearer())
        ).status_code == 422


async def test_explaining(client):
    assert (await client.post("/admin/api/explain", headers=bearer(), content=b"{}")).json() == {"ok": True}
    answer = await client.post("/admin/api/explain", headers=bearer(), content=b"nonsense")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")


async def test_it_describes_itself_and_loads_nothing_from_elsewhere(client):
    paths = (await client.get("/admin/api/openapi.json")).json()["paths"]
    assert {"/admin/api/state", "/admin/api/stop", "/admin/api/explain"} <= set(paths)
    assert (await client.get("/docs")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/admin/api/nothing", 404, "/admin/api/nothing"),
        ("DELETE", "/admin/api/state", 405, "DELETE"),
        ("GET", "/admin/api/instances/org/big/logs?lines=many", 422, "query.lines"),
    ],
)
async def test_its_own_errors_have_the_shape_of_all_others(client, method, path, status, words):
    answer = await client.request(method, path, headers=bearer())
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert words in error["message"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/roles/coder", "DELETE, GET, PUT"), ("/roles/coder/versions", "GET"), ("/roles/coder/restore", "POST"),
     ("/ensembles", "GET"), ("/stop", "POST"), ("/logs", "GET")],
)  # fmt: skip
async def test_what_a_path_can_do_is_said_where_it_cannot_do_something(client, path, methods):
    answer = await client.request("PATCH", f"/admin/api{path}", headers=bearer())
    assert (answer.status_code, answer.headers.get_list("allow")) == (405, [methods])
