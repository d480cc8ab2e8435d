"""The admin API's routes for engines: offers and installations as documents, what is refused, and whose right it is."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import httpx
import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.api.guarding import needed
from ansambl.api.routes import make_admin_api
from ansambl.app.admin.desk import Desk
from ansambl.app.admin.installing import ProductInstalling
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.engine_book import EngineBook
from ansambl.app.installing import desk as installing
from ansambl.app.installing.desk import InstallDesk
from ansambl.domain.access import Endpoint
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.install.records import Around, Stage
from ansambl.foundation.clock import RealClock, VirtualClock
from ansambl.foundation.paths import DataPaths
from ansambl.gateway.front.peers import is_local

TOKEN = "the-token-of-this-run"
LIMIT = 20.0
MACHINE = Machine("test", "Linux 6", Cpu("x", "x86_64", 2, 2, 2, None, ()), Memory(Bytes(8 * GIB), Bytes(6 * GIB)))
FINDER = SimpleNamespace(machine=MACHINE)
AROUND = Around(("3.11",), frozenset({"c++"}))


class Api:
    """The admin API over a desk that knows the real builds and installs nothing."""

    def __init__(self, tmp_path, monkeypatch, *, offline=False):
        self.go, self.begun = threading.Event(), []
        monkeypatch.setattr(installing, "carry_out", self._carry_out)
        monkeypatch.setattr("ansambl.engines.install.installer.free_bytes", lambda _: Bytes(100 * GIB))
        paths, loaded = DataPaths(tmp_path), load_settings(None, environment={})
        self.installs = InstallDesk(
            paths, lambda: loaded, offline=offline, clock=VirtualClock(50.0),
            book=lambda *given: EngineBook(*given, FINDER, lambda: AROUND),
        )  # fmt: skip
        controls = ProductInstalling(Desk(), self.installs)
        api = make_admin_api(None, None, KeyDoor(TOKEN, RealClock()), is_local=is_local, installing=controls)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://127.0.0.1/admin/api/",
            headers={"authorization": f"Bearer {TOKEN}"},
        )  # fmt: skip

    def _carry_out(self, offer, _paths, progress, *, offline):
        assert not offline
        self.begun.append(offer.build.folder)
        progress(Stage(text("fetching packages"), 8, 40, "packages"))
        while not self.go.wait(0.01):
            progress(Stage(text("fetching packages"), 8, 40, "packages"))

    async def until(self, job, *states):
        for _ in range(int(LIMIT / 0.02)):
            found = (await self.client.get(f"engines/installs/{job}")).json()
            if found["state"] in states:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(found)


@pytest.fixture
async def api(tmp_path, monkeypatch):
    found = Api(tmp_path, monkeypatch)
    yield found
    found.go.set()
    await found.client.aclose()
    await asyncio.to_thread(found.installs.close)


async def test_an_offer_says_what_comes_and_why_other_builds_cannot_be_used(api):
    found = (await api.client.post("engines/announce", json={"engine": "VLLM"})).json()
    assert (found["engine"], found["build"], found["way"], found["installed"]) == ("vllm", "cpu", "wheels", False)
    assert (found["refusal"], found["here"], found["replaces"]) == (None, 0, None)
    assert found["licence"] == "Apache-2.0"
    assert found["size"] > found["download"] > 0
    assert any("processor only" in one for one in found["notes"])
    assert [(one["build"], one["reason"] is None) for one in found["builds"]] == [("cuda", False), ("cpu", True)]
    compiled = (await api.client.post("engines/announce", json={"engine": "llama.cpp", "compile": True})).json()
    assert (compiled["build"], compiled["way"]) == ("cpu", "source")
    assert {one["way"] for one in compiled["builds"]} == {"archive", "source"}


async def test_an_installation_is_a_job_that_is_told_stopped_and_one_for_two_browsers(api):
    begun = await api.client.post("engines/install", json={"engine": "transformers"})
    assert begun.status_code == 202
    job = begun.json()
    assert (job["engine"], job["build"], job["compiled"], job["created"]) == ("transformers", "cpu", False, 50.0)
    running = await api.until(job["id"], "running")
    for _ in range(int(LIMIT / 0.02)):
        if running["stage"]:
            break
        running = await api.until(job["id"], "running")
    assert (running["stage"], running["done"], running["total"], running["counts"]) == (
        "fetching packages", 8, 40, "packages",
    )  # fmt: skip
    again = await api.client.post("engines/install", json={"engine": "transformers", "build": "cpu"})
    assert again.json()["id"] == job["id"]
    assert len((await api.client.get("engines/installs")).json()["installs"]) == 1
    refused = await api.client.delete("engines?engine=transformers")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "in_use")
    assert (await api.client.post(f"engines/installs/{job['id']}/stop")).status_code == 200
    stopped = await api.until(job["id"], "stopped")
    assert (stopped["error"], stopped["path"]) == (None, None)
    assert api.begun == ["5.19.0-cpu"]


@pytest.mark.parametrize(
    ("wanted", "status", "words"),
    [
        ({"engine": "nothing"}, 400, "there is no engine 'nothing' to install"),
        ({"engine": "ollama"}, 400, "install it as its makers say"),
        ({"engine": "sglang"}, 501, "no GPU here"),
        ({"engine": "vllm", "build": "metal"}, 501, "has no build 'metal'"),
        ({"engine": "vllm", "compile": True}, 501, "does not compile vLLM"),
        ({"engine": ""}, 422, "engine"),
        ({"engine": "x" * 61}, 422, "engine"),
        ({"engine": "vllm", "builds": "cpu"}, 422, "builds"),
        ({}, 422, "engine"),
    ],
)
async def test_what_cannot_be_is_one_line_and_no_job(api, wanted, status, words):
    for route in ("engines/announce", "engines/install"):
        refused = await api.client.post(route, json=wanted)
        assert refused.status_code == status
        message = refused.json()["error"]["message"]
        assert words in message
        assert "\n" not in message
    assert (await api.client.get("engines/installs")).json() == {"installs": []}


async def test_offline_is_told_before_and_refused_after(tmp_path, monkeypatch):
    api = Api(tmp_path, monkeypatch, offline=True)
    offer = (await api.client.post("engines/announce", json={"engine": "transformers"})).json()
    assert "--offline forbids" in offer["refusal"]
    refused = await api.client.post("engines/install", json={"engine": "transformers"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (503, offer["refusal"])
    assert api.begun == []
    await api.client.aclose()
    api.installs.close()


async def test_to_remove_an_engine_is_a_job_too(api, tmp_path):
    folder = tmp_path / "engines" / "vllm"
    (folder / "half").mkdir(parents=True)
    (folder / "half" / "file").write_bytes(b"x" * 100)
    begun = await api.client.delete("engines?engine=VLLM")
    assert begun.status_code == 202
    assert (begun.json()["kind"], begun.json()["title"], begun.json()["version"]) == ("remove", "vLLM", "")
    done = await api.until(begun.json()["id"], "done")
    assert (done["done"], done["total"], done["counts"], done["path"]) == (100, 100, "bytes", str(folder))
    assert not folder.exists()


async def test_unknown_installations_and_engines_that_are_not_there(api):
    for found in (
        await api.client.get("engines/installs/job-none"), await api.client.post("engines/installs/job-none/stop"),
    ):  # fmt: skip
        assert found.status_code == 404
        assert "job-none" in found.json()["error"]["message"]
    gone = await api.client.delete("engines?engine=vllm")
    assert (gone.status_code, gone.json()["error"]["code"]) == (503, "engine_not_installed")
    assert "has not installed vllm" in gone.json()["error"]["message"]


def test_only_looking_is_a_right_to_read():
    assert needed("POST", "/admin/api/engines/announce") is Endpoint.ADMIN_READ
    assert needed("GET", "/admin/api/engines/installs") is Endpoint.ADMIN_READ
    for method, path in (("POST", "install"), ("POST", "installs/job-1/stop")):
        assert needed(method, f"/admin/api/engines/{path}") is Endpoint.ADMIN
    assert needed("DELETE", "/admin/api/engines") is Endpoint.ADMIN
