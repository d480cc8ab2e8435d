"""The admin API's routes for single engines and LoRA adapters."""

import dataclasses
from types import SimpleNamespace

import httpx
import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.api.routes import make_admin_api
from ansambl.app.instance_controls import ProductInstances
from ansambl.domain.errors import NotSupportedError, UnknownNameError
from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.clock import RealClock
from ansambl.gateway.front.peers import is_local
from ansambl.gateway.observing.metrics import Metrics
from ansambl.roles.records import RoleCatalog

TOKEN = "the-token-of-this-run"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
LAW = LoraAdapter("law", "org/big", {"gguf": "/law"}, 8, Bytes(1), "1")


class Instance:
    def __init__(self, model, state=InstanceState.READY, *, restarts=False):
        self.model, self.state, self.restarts = model, state, restarts
        self.levels, self.adapters = [], None

    async def sleep(self, level=None):
        if level == 9:
            raise NotSupportedError(text("no such level"))
        self.levels.append(level)
        self.state = InstanceState.ASLEEP

    async def ensure_ready(self):
        self.state = InstanceState.READY

    async def stop(self):
        self.state = InstanceState.STOPPED

    def set_loras(self, adapters):
        self.adapters = adapters
        return self.restarts

    def status(self):
        return InstanceStatus(self.model, "fake", self.state, loras=("law",), rests_at=5.0)


class Coordinator:
    def __init__(self, *instances):
        self.instances = {one.model: one for one in instances}

    def instance(self, model):
        if model not in self.instances:
            raise UnknownNameError(text("No model is called '{name}' here.", name=model))
        return self.instances[model]

    async def sleep(self, model, level):
        await self.instance(model).sleep(level)

    async def wake(self, model):
        await self.instance(model).ensure_ready()

    async def rest(self, model, level):
        assert level is None
        await self.instance(model).stop()

    def pins(self):
        return {"small": True}

    def statuses(self):
        return [dataclasses.replace(one.status()) for one in self.instances.values()]


class Users:
    """What looks names up; keeps the catalog that it was given last."""

    catalog = None

    def use(self, catalog):
        self.catalog = catalog


@pytest.fixture
def product():
    return SimpleNamespace(
        coordinator=Coordinator(
            Instance("org/big", restarts=True), Instance("small"), Instance("other", InstanceState.STOPPED)
        ),
        catalog=RoleCatalog({}, {}, {}), resolver=Users(), service=Users(),
        lora_source=lambda model: (LAW,) if model == "org/big" else (),
        gateway=SimpleNamespace(metrics=Metrics(list)),
        footprints=SimpleNamespace(parts=lambda _: {}),
    )  # fmt: skip


@pytest.fixture
async def client(product):
    app = make_admin_api(
        SimpleNamespace(), SimpleNamespace(), KeyDoor(TOKEN, RealClock()), ProductInstances(product), is_local=is_local
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as found:
        yield found


PATHS = ["/instances/org/big/sleep", "/instances/org/big/wake", "/instances/org/big/stop", "/loras/reload"]


@pytest.mark.parametrize("path", PATHS)
async def test_they_need_the_token(client, product, path):
    for headers in ({}, {"authorization": "Bearer wrong"}):
        assert (await client.post(f"/admin/api{path}", headers=headers)).status_code == 401
    assert product.coordinator.instance("org/big").state is InstanceState.READY
    assert product.coordinator.instance("org/big").adapters is None


async def test_an_engine_is_put_to_sleep_woken_and_stopped_by_its_model(client, product):
    answer = await client.post("/admin/api/instances/org/big/sleep?level=2", headers=HEADERS)
    assert (answer.status_code, answer.json()["state"], answer.json()["loras"]) == (200, "asleep", ["law"])
    assert product.coordinator.instance("org/big").levels == [2]
    assert (await client.post("/admin/api/instances/org/big/wake", headers=HEADERS)).json()["state"] == "ready"
    assert (await client.post("/admin/api/instances/org/big/stop", headers=HEADERS)).json()["state"] == "stopped"
    assert product.coordinator.instance("small").state is InstanceState.READY


async def test_what_cannot_be_done_is_one_clear_error(client):
    missing = await client.post("/admin/api/instances/nobody/sleep", headers=HEADERS)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    refused = await client.post("/admin/api/instances/small/sleep?level=9", headers=HEADERS)
    assert (refused.status_code, refused.json()["error"]["message"]) == (NotSupportedError.status, "no such level")
    for level in ("0", "10", "x"):
        assert (
            await client.post(f"/admin/api/instances/small/sleep?level={level}", headers=HEADERS)
        ).status_code == 422


async def test_stored_adapters_are_taken_into_use_and_it_is_told_when(client, product):
    answer = await client.post("/admin/api/loras/reload", headers=HEADERS)
    assert answer.json() == {
        "models": {"org/big": "restart", "small": "now", "other": "start"},
        "loras": {"org/big": ["law"], "small": [], "other": []},
    }
    assert product.coordinator.instance("org/big").adapters == (LAW,)
    assert product.catalog.loras == {"law": LAW}
    assert product.resolver.catalog is product.service.catalog is product.catalog
