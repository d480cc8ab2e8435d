"""The page of the HTTP interface names every route of the gateway, with the right that it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansambl.gateway.descriptions import ADDITIONAL
from ansambl.gateway.routes import Gateway
from ansambl.roles.catalog import build_catalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import Upstream

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"
_ROUTE = re.compile(r"`(?:(GET|POST|DELETE) )?(/[^\s`]*)`")
_NO_ROUTE_OF_THE_GATEWAY = {"/", "/admin/api/…"}


def rows_of(page: str) -> dict[tuple[str, str], str]:
    """The rights of the first table, by method and path. A path without a method has that of the one before it."""
    found: dict[tuple[str, str], str] = {}
    for line in page.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        method = ""
        for named, path in _ROUTE.findall(cells[0]) if line.startswith("| ") else ():
            method = named or method
            found[method, path] = cells[1].strip("`")
    return found


@pytest.fixture
async def gateway():
    catalog = build_catalog({}, {}, [])
    coordinator = Coordinator([], Upstream())
    yield Gateway(Resolver(catalog), RoleService(catalog, TurnMemory()), coordinator, body_limit=1000)
    await coordinator.stop()


async def test_every_route_of_the_gateway_stands_on_the_page_with_its_right_and_no_other(gateway):
    routes = {
        (route.method, path): "none" if route.public else route.endpoint.value if route.endpoint else "any key"
        for path, route in gateway.routes.items()
    }
    # One route for each name, which the table of paths cannot hold.
    routes |= {("GET", path): "any key" for path in ADDITIONAL}
    told = rows_of(PAGE.read_text(encoding="utf-8"))
    assert {one: right for one, right in told.items() if one[1] not in _NO_ROUTE_OF_THE_GATEWAY} == routes
