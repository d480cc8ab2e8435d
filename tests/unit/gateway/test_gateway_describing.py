"""The gateway's own OpenAPI document: every route of its table, and nothing that is none."""

from __future__ import annotations

import pytest
import schemathesis

from ansambl.domain.access import Endpoint
from ansambl.gateway.describing import document
from ansambl.gateway.descriptions import ADDITIONAL, DESCRIPTIONS, SCHEMAS, TAGS
from ansambl.gateway.route import Route
from ansambl.gateway.routes import Gateway
from ansambl.roles.catalog import build_catalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import Upstream


@pytest.fixture
async def routes():
    catalog = build_catalog({}, {}, [])
    coordinator = Coordinator([], Upstream())
    gateway = Gateway(Resolver(catalog), RoleService(catalog, TurnMemory()), coordinator, body_limit=1000)
    yield gateway.routes
    await coordinator.stop()


async def test_every_route_is_described_and_everything_described_is_a_route(routes):
    assert set(routes) == set(DESCRIPTIONS)
    found = document(routes)
    assert set(found["paths"]) == {*routes, *ADDITIONAL}
    for path, route in routes.items():
        assert set(found["paths"][path]) == {route.method.lower()}


async def test_a_tool_can_read_it(routes):
    made = document(routes)
    found = schemathesis.openapi.from_dict(made)
    assert len([one.ok() for one in found.get_all_operations()]) == len(made["paths"])


async def test_names_and_tags(routes):
    found = [one for item in document(routes)["paths"].values() for one in item.values()]
    names = [one["operationId"] for one in found]
    assert len(set(names)) == len(names)
    assert {tag for one in found for tag in one["tags"]} == {one["name"] for one in TAGS}


async def test_what_asks_for_a_key_says_so_and_what_does_not_says_that(routes):
    paths = document(routes)["paths"]
    for path, route in routes.items():
        operation = paths[path][route.method.lower()]
        assert ("401" in operation["responses"]) is not route.public, path
        assert (operation.get("security") == []) is route.public, path
    assert routes["/v1/chat/completions"].endpoint is Endpoint.CHAT


async def test_errors_have_the_shape_of_their_dialect(routes):
    paths = document(routes)["paths"]

    def shape(path, status):
        (operation,) = paths[path].values()
        return operation["responses"][status]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]

    assert shape("/v1/messages", "404") == "AnthropicError"
    assert shape("/api/chat", "404") == "OllamaError"
    assert shape("/v1/chat/completions", "404") == "Error"


def test_every_schema_that_is_named_is_there():
    for one in [*DESCRIPTIONS.values(), *(found for _, found in ADDITIONAL.values())]:
        for name in (one.takes, one.gives, one.errors, *one.more.values()):
            assert name is None or name in SCHEMAS


def test_a_route_that_nobody_described_is_no_document():
    async def nothing(exchange, scope, receive):
        raise AssertionError

    with pytest.raises(KeyError):
        document({"/v1/new": Route("GET", nothing)})
