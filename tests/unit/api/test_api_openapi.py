"""The admin API's description: complete, stable, and true to what the guard asks for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import schemathesis

from ansambl.access.key_door import KeyDoor
from ansambl.api.guarding import needed
from ansambl.api.openapi import TAGS
from ansambl.api.routes import make_admin_api
from ansambl.domain.access import Endpoint
from ansambl.foundation.clock import RealClock
from ansambl.gateway.front.peers import is_local

METHODS = ("get", "put", "post", "delete")


@pytest.fixture(scope="module")
def document():
    anything = SimpleNamespace()
    app = make_admin_api(
        anything, anything, KeyDoor("token", RealClock()), anything, is_local=is_local, planning=anything,
        watching=anything, reading=anything, keys=anything, knowledge=anything, knowledge_work=anything,
    )  # fmt: skip
    return app.openapi()


def operations(document):
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def test_a_tool_can_read_it_and_finds_every_route(document):
    found = schemathesis.openapi.from_dict(document)
    assert len([one.ok() for one in found.get_all_operations()]) == len(operations(document)) >= 45


def test_every_route_has_a_name_of_its_own_a_tag_and_a_sentence(document):
    names = [one["operationId"] for _, _, one in operations(document)]
    assert len(set(names)) == len(names)
    known = {one["name"] for one in TAGS}
    for method, path, one in operations(document):
        assert set(one["tags"]) <= known, (method, path)
        assert one.get("summary") or one.get("description"), (method, path)


def test_names_that_scripts_use_stay(document):
    names = {one["operationId"] for _, _, one in operations(document)}
    assert {
        "get_state", "stop", "plan", "fit", "review", "compat", "simulate", "explain", "watch_events", "watch_own_log",
        "watch_instance_log", "get_instance_log", "get_own_log", "load_instance", "unload_instance", "pin_instance",
        "unpin_instance", "sleep_instance", "wake_instance", "stop_instance", "get_usage", "get_requests", "get_doctor",
        "get_config", "get_models", "get_engines", "reload", "roles_get_all", "roles_put_one", "reload_loras",
        "get_knowledge", "list_collections", "list_documents", "get_document", "search_knowledge", "add_knowledge",
        "import_chats", "upload_knowledge", "embed_knowledge", "list_knowledge_jobs", "get_knowledge_job",
        "stop_knowledge_job", "list_conversations", "get_conversation", "list_memory", "forget_all",
    } <= names  # fmt: skip


def test_every_error_of_every_route_has_the_one_shape(document):
    for method, path, one in operations(document):
        answers = one["responses"]
        assert {"401", "403", "429"} <= set(answers), (method, path)
        assert any(status.startswith("2") for status in answers), (method, path)
        for status, answer in answers.items():
            if status.startswith(("4", "5")):
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorDocument"}, (method, path, status)
        if "requestBody" in one:
            assert {"400", "413", "415", "422"} <= set(answers), (method, path)


def test_it_tells_how_to_be_let_in(document):
    schemes = document["components"]["securitySchemes"]
    assert {one["type"] for one in schemes.values()} == {"http", "apiKey"}
    assert document["security"] == [{name: []} for name in schemes]


def test_reading_is_a_right_of_its_own(document):
    for method, path, _ in operations(document):
        wanted = needed(method.upper(), path)
        if path == "/admin/api/me":
            assert wanted is None, "whoever is let in may know what it is let do"
            continue
        assert wanted in {Endpoint.ADMIN, Endpoint.ADMIN_READ}, path
        if method == "get":
            assert wanted is Endpoint.ADMIN_READ, path
    for path in ("plan", "fit", "review", "compat", "simulate", "explain"):
        assert needed("POST", f"/admin/api/{path}") is Endpoint.ADMIN_READ
    for path in ("stop", "reload", "instances/big/load", "instances/big/pin", "instances/big/unload"):
        assert needed("POST", f"/admin/api/{path}") is Endpoint.ADMIN
