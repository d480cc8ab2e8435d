"""The admin API's routes for models: offers and pulls as documents, what is refused, and whose right it is."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.api.guarding import needed
from ansambl.api.routes import make_admin_api
from ansambl.app.admin import models as module
from ansambl.app.admin.desk import Desk
from ansambl.app.admin.models import ProductModels
from ansambl.app.jobs import JobState
from ansambl.app.model_uses import ConfiguredModel
from ansambl.app.pulls import desk as pulling
from ansambl.app.pulls.desk import PullDesk
from ansambl.app.pulls.offers import Offer
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.clock import RealClock, VirtualClock
from ansambl.foundation.paths import DataPaths
from ansambl.gateway.front.peers import is_local
from ansambl.model_catalog.library import InstalledCheckpoint, Origin

TOKEN = "the-token-of-this-run"
LIMIT = 20.0
OFFER = Offer(
    "small", "own/small:Q4_K_M", "own/small:Q4_K_M", "hub", "own/small", "https://hub.example/own/small", "gguf",
    "Q4_K_M", Bytes(1000), Bytes(200), Bytes(10**9), Bytes(0), False, "mit", "MIT License", None, False, "/m/small",
    1, SimpleNamespace(),
)  # fmt: skip


class Stage:
    """The admin API over a desk whose hub is made up."""

    def __init__(self, tmp_path, monkeypatch):
        self.offer, self.go, self.removed = OFFER, threading.Event(), []
        self.used = ()
        monkeypatch.setattr(pulling, "make_offer", self._offer)
        monkeypatch.setattr(pulling, "check_room", lambda *_: None)
        monkeypatch.setattr(pulling, "fetch", self._fetch)
        monkeypatch.setattr(module.library, "remove", self._remove)
        monkeypatch.setattr(module, "configured_models", lambda *_: self.used)
        paths = DataPaths(tmp_path)
        self.pulls = PullDesk(paths, clock=VirtualClock(50.0))
        models = ProductModels(Desk(), self.pulls, lambda: None, paths)
        api = make_admin_api(None, None, KeyDoor(TOKEN, RealClock()), is_local=is_local, models=models)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(api), base_url="http://127.0.0.1/admin/api/",
            headers={"authorization": f"Bearer {TOKEN}"},
        )  # fmt: skip

    def _offer(self, wanted, paths, *, engine, offline):
        if wanted == "nothing":
            raise UsageError(text("there is no '{name}'", name=wanted))
        return replace(self.offer, wanted=wanted)

    def _fetch(self, announcement, progress, *, offline, together):
        progress(600, 1000)
        while not self.go.wait(0.002):
            if together.stopped:
                raise pulling.StoppedError
        return "/m/small"

    def _remove(self, model, folder, *, confirmed):
        if confirmed:
            self.removed.append(model)
        return InstalledCheckpoint(
            "own/small:Q4_K_M", "/m/small", "own/small", "gguf", "Q4_K_M", Bytes(1000), 1, Origin.ANSAMBL
        )

    async def over(self, name):
        await asyncio.wait_for(self.pulls.finished(name), LIMIT)
        return (await self.client.get(f"models/pulls/{name}")).json()


@pytest.fixture
def stage(tmp_path, monkeypatch):
    found = Stage(tmp_path, monkeypatch)
    yield found
    found.go.set()
    found.pulls.close()


async def test_an_offer_says_all_that_must_be_known_before(stage):
    answer = (await stage.client.post("models/announce", json={"reference": "small"})).json()
    assert answer == {
        "wanted": "small", "reference": "own/small:Q4_K_M", "title": "own/small:Q4_K_M", "source": "hub",
        "repo": "own/small", "page": "https://hub.example/own/small", "format": "gguf", "quantization": "Q4_K_M",
        "size": 1000, "here": 200, "free": 10**9, "lacking": 0, "installed": False, "licence": "mit",
        "licence_title": "MIT License", "licence_to_accept": None, "gated": False, "path": "/m/small", "files": 1,
    }  # fmt: skip
    assert stage.pulls.jobs() == []


async def test_a_pull_is_one_job_that_is_listed_and_ends(stage):
    begun = await stage.client.post("models/pull", json={"reference": "small"})
    assert (begun.status_code, begun.json()["created"]) == (202, 50.0)
    again = await stage.client.post("models/pull", json={"reference": "small"})
    assert again.json()["id"] == begun.json()["id"]
    listed = (await stage.client.get("models/pulls")).json()["pulls"]
    assert [one["id"] for one in listed] == [begun.json()["id"]]
    stage.go.set()
    done = await stage.over(begun.json()["id"])
    assert (done["state"], done["done"], done["size"], done["path"], done["left"]) == (
        "done", 1000, 1000, "/m/small", None,
    )  # fmt: skip
    stage.offer = replace(OFFER, installed=True)
    here = await stage.client.post("models/pull", json={"reference": "small"})
    assert (here.status_code, here.json()["state"], here.json()["done"]) == (200, "done", 1000)


async def test_a_pull_is_stopped_and_tells_how_far_it_came(stage):
    name = (await stage.client.post("models/pull", json={"reference": "small"})).json()["id"]
    assert (await stage.client.post(f"models/pulls/{name}/stop")).status_code == 200
    stopped = await stage.over(name)
    assert stopped["state"] == "stopped"
    assert stopped["done"] in (200, 600)


async def test_a_licence_is_accepted_by_name(stage):
    stage.offer = replace(OFFER, licence_to_accept="other")
    refused = await stage.client.post("models/pull", json={"reference": "small", "accept_licence": "mit"})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["code"]) == (400, "accept_licence", "licence_not_accepted")
    stage.go.set()
    assert (
        await stage.client.post("models/pull", json={"reference": "small", "accept_licence": "Other"})
    ).status_code in (200, 202)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("pull", {}), ("pull", {"reference": ""}), ("pull", {"reference": "x" * 301}), ("pull", {"reference": 1}),
        ("announce", {"reference": "x", "more": 1}), ("find", {"words": "x", "limit": 1000}), ("find", {"words": ""}),
    ],
)  # fmt: skip
async def test_bounds_are_kept(stage, path, body):
    assert (await stage.client.post(f"models/{path}", json=body)).status_code == 422


async def test_what_there_is_not_is_one_line(stage):
    unknown = await stage.client.post("models/pull", json={"reference": "nothing"})
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (400, "there is no 'nothing'")
    for answer in (await stage.client.get("models/pulls/job-x"), await stage.client.post("models/pulls/job-x/stop")):
        assert answer.status_code == 404


async def test_what_is_in_use_is_not_removed(stage):
    plain = ConfiguredModel("big", (), "own/small:Q4_K_M", None, None, None, False, False, "/m/small")
    stage.used = (plain, replace(plain, name="other", path="/m/other"))
    refused = await stage.client.delete("models", params={"model": "own/small:Q4_K_M"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "in_use")
    assert "big" in refused.json()["error"]["message"]
    assert stage.removed == []
    stage.used = ()
    name = (await stage.client.post("models/pull", json={"reference": "small"})).json()["id"]
    assert (await stage.client.delete("models", params={"model": "own/small:Q4_K_M"})).status_code == 400
    stage.go.set()
    assert (await stage.over(name))["state"] == JobState.DONE
    removed = await stage.client.delete("models", params={"model": "own/small:Q4_K_M"})
    assert removed.json() == {"reference": "own/small:Q4_K_M", "path": "/m/small", "size": 1000}
    assert stage.removed == ["/m/small"]


def test_who_may_read_may_ask_the_hub_and_only_who_may_change_fetches():
    base = "/admin/api/models"
    assert {needed("POST", f"{base}/{one}") for one in ("find", "announce")} == {Endpoint.ADMIN_READ}
    assert needed("POST", f"{base}/pull") is Endpoint.ADMIN
    assert needed("DELETE", base) is Endpoint.ADMIN
    assert needed("POST", f"{base}/pulls/x/stop") is Endpoint.ADMIN
