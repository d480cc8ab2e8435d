"""The admin API's roles over HTTP, on a real book and a real database: documents, statuses, limits, languages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.api.roles import LARGEST_BODY
from ansambl.api.routes import make_admin_api
from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.app.data_folder import MIGRATIONS
from ansambl.app.roles.book import RoleBook
from ansambl.app.roles.controls import ProductRoles
from ansambl.app.wiring import Product
from ansambl.domain.access import OWNER
from ansambl.domain.errors import UnknownNameError
from ansambl.foundation.clock import RealClock
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.gateway.front.peers import is_local
from ansambl.roles.resolver import EnsembleTarget, Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.store import SavedRoles
from ansambl.roles.turns import TurnMemory

FILE = """
[roles.poet]
instruction = "Rhyme."
temperature = 0.5

[roles.coder]
top_k = 7
"""
TOKEN = "the-token-of-this-run"


class Stage:
    """The admin API on roles alone: a configuration file, a database, and what answers requests."""

    def __init__(self, folder: Path, source: str = FILE) -> None:
        self.file = folder / "ansambl.toml"
        self.file.write_text(source, encoding="utf-8")
        self.database = Database(folder / "ansambl.db", load_migrations(MIGRATIONS))
        loaded = self.read()
        book = RoleBook(loaded, SavedRoles(self.database))
        self.resolver = Resolver(book.joined.catalog)
        self.service = RoleService(book.joined.catalog, TurnMemory())
        none: Any = None
        self.product = Product(
            book.joined.catalog,
            self.resolver,
            self.service,
            none,
            none,
            none,
            lambda _: (),
            none,
            none,
            none,
            none,
            {},
            none,
            none,
            none,
            none,
        )
        self.book = book
        app = make_admin_api(
            none, ProductRoles(self.product, book, loaded, self.read), KeyDoor(TOKEN, RealClock()), is_local=is_local
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost",
            headers={"authorization": f"Bearer {TOKEN}"},
        )  # fmt: skip

    def read(self) -> LoadedSettings:
        return load_settings(self.file, engines=(), environment={})

    async def call(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.client.request(method, f"/admin/api{path}", **more)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def error(self, method: str, path: str, status: int, **more: Any) -> str:
        words = (await self.call(method, path, status, **more))["error"]["message"]
        assert "\n" not in words
        return str(words)

    async def names(self, table: str = "roles") -> list[str]:
        return [one["name"] for one in (await self.call("GET", f"/{table}"))["entries"]]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    found = Stage(tmp_path)
    yield found
    await found.client.aclose()
    found.database.close()


async def test_each_key_tells_where_it_comes_from(stage: Stage) -> None:
    await stage.call("PUT", "/roles/brief", json={"fields": {"max_tokens": 99}})
    coder = await stage.call("GET", "/roles/coder")
    assert (coder["origin"], coder["read_only"], coder["version"]) == ("configuration", True, None)
    assert coder["origins"]["instruction"] == "shipped"
    assert coder["origins"]["top_k"].endswith("ansambl.toml:7")
    assert (coder["fields"]["top_k"], coder["fields"]["temperature"]) == (7, 0.2)
    brief = await stage.call("GET", "/roles/brief")
    assert (brief["origin"], brief["version"], brief["saved"]) == ("saved", 1, {"max_tokens": 99})
    assert (brief["fields"]["max_tokens"], brief["origins"]["max_tokens"]) == (99, "saved")
    assert brief["origins"]["temperature"] == "shipped"
    assert brief["prefix_group"] == coder["prefix_group"] is not None
    assert stage.service.catalog.roles["brief"].output_limit == 99


async def test_a_saved_role_is_asked_for_at_once_and_gone_at_once(stage: Stage) -> None:
    fields = {"instruction": "Ответь стихами.", "instructions": {"en": "Answer in verse."}, "layout": "classic"}
    made = await stage.call("PUT", "/roles/бард", json={"fields": fields, "base_version": 0})
    assert (made["version"], made["saved"], made["layout"]) == (1, fields, "classic")
    assert made["prefix_group"] != (await stage.call("GET", "/roles/coder"))["prefix_group"]
    assert "classic" in made["not_shared"]
    before = stage.resolver.resolve("бард")
    again = await stage.call("PUT", "/roles/бард", json={"fields": {**fields, "seed": 4}, "base_version": 1})
    assert again["version"] == 2
    # What resolved a request already goes on with the role that it found.
    assert stage.resolver.resolve("бард") != before
    assert await stage.call("DELETE", "/roles/бард?base_version=2") == {"removed": True}
    assert "бард" not in await stage.names()
    await stage.error("GET", "/roles/бард", 404)
    versions = (await stage.call("GET", "/roles/бард/versions"))["versions"]
    assert [one["action"] for one in versions] == ["created", "changed", "removed"]
    restored = await stage.call("POST", "/roles/бард/restore", json={"version": 1})
    assert (restored["version"], restored["saved"]) == (4, fields)


async def test_two_who_change_at_once(stage: Stage) -> None:
    await stage.call("PUT", "/roles/bard", json={"fields": {"top_k": 1}})
    answers = await asyncio.gather(*(
        stage.client.put("/admin/api/roles/bard", json={"fields": {"top_k": number}, "base_version": 1})
        for number in range(2, 8)
    ))  # fmt: skip
    assert sorted(one.status_code for one in answers) == [200, 409, 409, 409, 409, 409]
    kept = next(one.json() for one in answers if one.status_code == 200)
    assert stage.service.catalog.roles["bard"].sampling == {"top_k": kept["fields"]["top_k"]}


REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("PUT", "/roles/poet", {"fields": {}}, 409, "stands in"),
    ("DELETE", "/roles/poet", None, 409, "ansambl roles edit NEW --from poet"),
    ("DELETE", "/roles/coder", None, 409, "stands in"),
    ("DELETE", "/roles/brief", None, 404, "comes with Ansambl"),
    ("DELETE", "/roles/briefs", None, 404, "nearest: brief"),
    ("GET", "/roles/poem/versions", None, 404, "No role 'poem' is saved"),
    ("POST", "/roles/poem/restore", {"version": 1}, 404, "No role 'poem' is saved"),
    ("PUT", "/roles/a%20b", {"fields": {}}, 400, "'a b' cannot be a name"),
    ("PUT", "/roles/a%5Bb", {"fields": {}}, 400, "'a[b'"),
    ("PUT", "/roles/", {"fields": {}}, 400, "'' cannot be a name"),
    ("PUT", "/roles/a%2Fb", {"fields": {}}, 400, "a name cannot hold '/'"),
    ("PUT", "/roles/a%2Fversions", {"fields": {}}, 405, "Nothing can be kept as 'a/versions': a name cannot hold '/'"),
    ("PUT", "/ensembles/a%2Ftrials", {"fields": {}}, 405, "a name cannot hold '/'"),
    ("PUT", "/roles/%2E%2E", {"fields": {}}, 400, "'.' and '..' cannot be names"),
    ("POST", "/roles/import", {"document": {"roles": {".": {}}}}, 400, "'.' and '..' cannot be names"),
    ("GET", "/roles/a%2Fb/versions", None, 404, "No role 'a/b' is saved"),
    ("PUT", "/roles/x", {"fields": {"temprature": 1}}, 400, "did you mean 'roles.x.temperature'"),
    ("PUT", "/roles/x", {"fields": {"temperature": 9}}, 400, "roles.x.temperature is 9; the most is 2"),
    ("PUT", "/roles/x", {"fields": {"model": "gpt"}}, 400, "roles.x.model: 'gpt' is not known"),
    ("PUT", "/roles/x", {"fields": {"aliases": ["кодер"]}}, 400, "the role 'coder' and the role 'x'"),
    ("PUT", "/roles/council", {"fields": {}}, 400, "the role 'council' and the ensemble 'council'"),
    ("PUT", "/roles/x", {"fields": []}, 422, "body.fields"),
    ("PUT", "/roles/x", {"field": {}}, 422, "body"),
    ("PUT", "/roles/x", {"fields": {}, "base_version": -1}, 422, "base_version"),
    ("PUT", "/ensembles/x", {"fields": {"roles": ["x"]}}, 400, "contains itself: x → x"),
    ("PUT", "/ensembles/x", {"fields": {"roles": ["auto", "codr"]}}, 400, "'codr' is not known"),
    ("POST", "/roles/brief/rename", {"name": "short"}, 404, "No role 'brief' is saved"),
    ("POST", "/roles/export", {"names": ["coder", "codr"]}, 404, "'codr'"),
    ("POST", "/roles/import", {"document": {"models": {}}}, 400, "'models' is no table of roles"),
]  # fmt: skip


async def test_what_cannot_be_done_says_why_in_one_line(stage: Stage) -> None:
    for method, path, body, status, words in REFUSED:
        assert words in await stage.error(method, path, status, json=body), (method, path)
    assert stage.book.store.all(removed=True) == ()


async def test_a_role_that_an_ensemble_needs_stays(stage: Stage) -> None:
    await stage.call("PUT", "/roles/bard", json={"fields": {"instruction": "Sing."}})
    await stage.call("PUT", "/ensembles/choir", json={"fields": {"roles": ["bard", "poet"]}})
    assert "ensembles.choir.roles: 'bard' is not known" in await stage.error("DELETE", "/roles/bard", 400)
    assert "'bard' is not known" in await stage.error("POST", "/roles/bard/rename", 400, json={"name": "skald"})
    await stage.call("DELETE", "/ensembles/choir")
    renamed = await stage.call("POST", "/roles/bard/rename", json={"name": "skald"})
    assert (renamed["name"], renamed["version"]) == ("skald", 2)
    assert await stage.names() == [*list(stage.service.catalog.roles)]


async def test_a_new_name_that_is_shipped_is_refused(stage: Stage) -> None:
    """It would put itself over what is shipped, as if that had been changed."""
    await stage.call("PUT", "/roles/bard", json={"fields": {"instruction": "Sing."}})
    words = await stage.error("POST", "/roles/bard/rename", 400, json={"name": "brief"})
    assert "'brief' comes with Ansambl" in words
    assert stage.service.catalog.roles["brief"].instruction != "Sing."
    assert stage.service.catalog.roles["bard"].instruction == "Sing."


async def test_a_cycle_over_what_is_saved_names_its_way(stage: Stage) -> None:
    await stage.call("PUT", "/ensembles/choir", json={"fields": {"roles": ["poet", "brief"]}})
    await stage.call("PUT", "/ensembles/opera", json={"fields": {"roles": ["poet", "choir"]}})
    words = await stage.error("PUT", "/ensembles/choir", 400, json={"fields": {"roles": ["poet", "opera"]}})
    assert "contains itself" in words
    assert "choir → opera → choir" in words or "opera → choir → opera" in words
    assert stage.service.catalog.ensembles["choir"].roles == ("poet", "brief")


async def test_an_import_is_all_or_nothing(stage: Stage) -> None:
    good = {"roles": {"bard": {"instruction": "Sing."}}, "ensembles": {"choir": {"roles": ["bard", "brief"]}}}
    dry = await stage.call("POST", "/roles/import", json={"document": good, "dry_run": True})
    assert dry == {"dry_run": True, "created": ["bard", "choir"], "changed": [], "unchanged": []}
    assert "bard" not in await stage.names()
    bad = {"roles": {**good["roles"], "poet": {"instruction": "Other."}}}
    assert "'poet' stands in" in await stage.error("POST", "/roles/import", 409, json={"document": bad})
    bad = {"roles": {**good["roles"], "y": {"model": "none"}}}
    assert "roles.y.model" in await stage.error("POST", "/roles/import", 400, json={"document": bad, "dry_run": True})
    assert stage.book.store.all(removed=True) == ()
    await stage.call("POST", "/ensembles/import", json={"document": good})
    assert stage.resolver.resolve("choir").name == "choir"
    # What is exported can be imported again, also what stands in the file.
    whole = await stage.call("POST", "/roles/export", json={})
    assert set(whole["roles"]) == {"bard", "poet", "coder"}
    again = await stage.call("POST", "/roles/import", json={"document": whole})
    assert (again["created"], again["changed"]) == ([], [])
    assert set(again["unchanged"]) == {"bard", "choir", "poet", "coder"}
    named = await stage.call("POST", "/roles/export", json={"names": ["philosopher", "auto"]})
    assert (set(named["roles"]), set(named["ensembles"])) == ({"philosopher"}, {"auto"})
    assert named["ensembles"]["auto"]["rules"][1] == {"role": "coder", "has": "code"}


async def test_a_body_that_is_too_large_is_refused(stage: Stage) -> None:
    large = b'{"fields": {"instruction": "' + b"x" * LARGEST_BODY + b'"}}'
    assert "larger than" in await stage.error("PUT", "/roles/x", 413, content=large)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    assert "larger than" in await stage.error("PUT", "/roles/x", 413, content=chunks())
    for content in (b"{", b"\xff", b"[" * 100_000, b'{"fields": {"instruction": "\\ud800"}}'):
        answer = await stage.client.put("/admin/api/roles/x", content=content)
        assert answer.status_code in {400, 422}, content[:40]
        assert answer.json()["error"]["message"]
    assert stage.book.store.all(removed=True) == ()


async def test_a_body_that_is_not_read_as_json_is_told_as_such(stage: Stage) -> None:
    """What curl sends by itself is no JSON, and a broken body has a place where it breaks."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    words = await stage.error("PUT", "/roles/x", 415, content=b'{"fields": {}}', headers=form)
    assert "application/x-www-form-urlencoded" in words
    assert "content-type: application/json" in words
    json = {"content-type": "application/json"}
    words = await stage.error("PUT", "/roles/x", 422, content=b'{"fields": bad}', headers=json)
    assert "The body is not JSON" in words
    assert "character 11" in words
    assert stage.book.store.all(removed=True) == ()


async def test_a_reload_applies_roles_as_a_whole(stage: Stage) -> None:
    await stage.call("PUT", "/roles/bard", json={"fields": {"instruction": "Sing."}})
    stage.file.write_text('[roles.poet]\ninstruction = "Free verse."\n[prompt]\ncommon_instruction = "Be true."\n')
    answer = await stage.call("POST", "/reload")
    assert answer["warnings"] == []
    roles = stage.service.catalog.roles
    assert (roles["poet"].instruction, roles["coder"].origin, roles["bard"].instruction) == (
        "Free verse.", "shipped", "Sing."
    )  # fmt: skip
    # A file that cannot be used leaves everything as it is.
    stage.file.write_text("[roles.poet]\ntemperature = 9\n")
    assert "line 2: roles.poet.temperature is 9" in await stage.error("POST", "/reload", 400)
    stage.file.write_text('[roles.poet]\nmodel = "nope"\n')
    assert "line 2: roles.poet.model: 'nope' is not known" in await stage.error("POST", "/reload", 400)
    stage.file.write_text('[gateway]\nport = 1\n[data]\nfolder = "x"\n[roles.poet]\ninstruction = "No."\n')
    words = await stage.error("POST", "/reload", 400)
    assert "[gateway], [data] changed too; nothing" in words
    assert stage.service.catalog.roles["poet"].instruction == "Free verse."
    # The file gains a name that is saved: the file comes first, and the saved one is kept.
    stage.file.write_text('[roles.bard]\ninstruction = "Hum."\n')
    answer = await stage.call("POST", "/reload")
    assert "'bard' is not in effect" in answer["warnings"][0]
    bard = await stage.call("GET", "/roles/bard")
    assert (bard["origin"], bard["fields"]["instruction"]) == ("configuration", "Hum.")
    assert bard["saved"] == {"instruction": "Sing."}
    assert "ansambl.toml has a table of this name" in bard["hidden"]
    stage.file.write_text("")
    await stage.call("POST", "/reload")
    assert stage.service.catalog.roles["bard"].instruction == "Sing."


async def test_russian_is_answered_in_russian(stage: Stage) -> None:
    entries = await stage.call("GET", "/ensembles", headers={"accept-language": "ru"})
    auto = next(one for one in entries["entries"] if one["name"] == "council")
    assert auto["aliases"] == ["совет"]


async def test_what_is_saved_never_stops_a_start(tmp_path: Path, stage: Stage) -> None:
    for name, fields in {"bard": {"aliases": ["lyrist"]}, "skald": {"top_k": 2}}.items():
        await stage.call("PUT", f"/roles/{name}", json={"fields": fields})
    await stage.call("PUT", "/ensembles/choir", json={"fields": {"roles": ["bard", "skald"]}})
    await stage.call("PUT", "/ensembles/duo", json={"fields": {"roles": ["skald", "brief"]}})
    # Meanwhile the file has taken the alias, and a saved value is no more allowed.
    stage.file.write_text('[roles.lyrist]\ninstruction = "Play."\n')
    stage.database.transaction(
        lambda one: one.execute("UPDATE saved_versions SET fields = replace(fields, 'top_k', 'top_q')")
    )
    book = RoleBook(stage.read(), SavedRoles(stage.database))
    assert {name for _, name in book.joined.hidden} == {"bard", "skald", "choir", "duo"}
    assert "Two things answer to 'lyrist'" in str(book.joined.hidden["roles", "bard"].warning)
    assert "unknown key 'roles.skald.top_q'" in str(book.joined.hidden["roles", "skald"].reason)
    assert "lyrist" in book.joined.catalog.roles
    stage.file.write_text("")
    book = RoleBook(stage.read(), SavedRoles(stage.database))
    assert {name for _, name in book.joined.hidden} == {"skald", "choir", "duo"}
    assert "bard" in book.joined.catalog.roles


async def test_the_groups_of_a_prefix_are_told_with_their_reasons(stage: Stage) -> None:
    await stage.call("PUT", "/roles/bard", json={"fields": {"layout": "classic"}})
    found = await stage.call("GET", "/roles")
    groups = {one["number"]: one for one in found["prefix_groups"]}
    # Every role stands in the group that its entry names, and nowhere else.
    for entry in found["entries"]:
        assert [number for number, one in groups.items() if entry["name"] in one["roles"]] == [entry["prefix_group"]]
    alone = next(one for one in groups.values() if one["roles"] == ["bard"])
    assert (alone["shares"], "classic" in alone["reason"]) == (False, True)
    assert any(one["shares"] and {"coder", "brief"} <= set(one["roles"]) for one in groups.values())
    assert (await stage.call("GET", "/ensembles"))["prefix_groups"] == []


async def test_what_was_removed_is_told_and_what_is_shipped_too(stage: Stage) -> None:
    await stage.call("PUT", "/roles/bard", json={"fields": {"top_k": 1}})
    assert (await stage.call("GET", "/roles"))["removed"] == []
    await stage.call("DELETE", "/roles/bard")
    removed = (await stage.call("GET", "/roles"))["removed"]
    assert [(one["name"], one["version"]) for one in removed] == [("bard", 2)]
    await stage.call("PUT", "/roles/brief", json={"fields": {"max_tokens": 99}})
    brief = await stage.call("GET", "/roles/brief")
    assert (brief["shipped"]["max_tokens"], brief["fields"]["max_tokens"]) == (512, 99)
    assert (await stage.call("GET", "/roles/poet"))["shipped"] == {}


@pytest.mark.parametrize(
    ("table", "fields", "param"),
    [
        ("roles", {"temperature": 9}, "temperature"),
        ("roles", {"max_tokens": 0}, "max_tokens"),
        ("roles", {"model": "nowhere"}, "model"),
        ("roles", {"answer_language": "Klingonish"}, "answer_language"),
        ("roles", {"instructions": {"xx-nothing": "A"}}, "instructions.xx-nothing"),
        ("roles", {"aliases": ["poet"]}, "aliases"),
        ("roles", {"tempo": 1}, "tempo"),
        ("ensembles", {"roles": ["nobody"]}, "roles"),
        ("ensembles", {"roles": ["coder"], "conductor": "nobody"}, "conductor"),
        ("ensembles", {"roles": ["new"]}, "roles"),
        ("ensembles", {"roles": ["coder"], "pattern": "route", "rules": [{"role": "poet", "has": "code"}]},
         "rules[0].role"),
    ],
)  # fmt: skip
async def test_a_save_that_is_refused_names_the_field(
    stage: Stage, table: str, fields: dict[str, Any], param: str
) -> None:
    for path, method in ((f"/{table}/new", "PUT"), (f"/{table}/new/trials", "POST")):
        error = (await stage.call(method, path, 400, json={"fields": fields}))["error"]
        assert error["param"] == param, (method, error)


async def test_a_name_that_cannot_be_one_is_named_as_the_field(stage: Stage) -> None:
    error = (await stage.call("PUT", "/roles/%5Bx%5D", 400, json={"fields": {}}))["error"]
    assert error["param"] == "name"


async def test_a_trial_is_checked_as_a_save_is_and_saves_nothing(stage: Stage) -> None:
    await stage.call("PUT", "/roles/bard", json={"fields": {"instruction": "Sing."}})
    names = await stage.names()
    tried = await stage.call("POST", "/roles/bard/trials", json={"fields": {"instruction": "Shout."}})
    assert tried["shown"] == "bard (trial)"
    found = stage.product.trials.find(tried["model"], OWNER)
    assert found is not None
    assert found.catalog.roles["bard"].instruction == "Shout."
    assert stage.service.catalog.roles["bard"].instruction == "Sing."
    assert await stage.names() == names
    assert len((await stage.call("GET", "/roles/bard/versions"))["versions"]) == 1
    with pytest.raises(UnknownNameError):
        stage.resolver.resolve(tried["model"])
    # What would never be saved is never tried: of the file, unknown, neither or both.
    await stage.error("POST", "/roles/poet/trials", 409, json={"fields": {"instruction": "Shout."}})
    await stage.error("POST", "/roles/bard/trials", 404, json={"version": 7})
    await stage.error("POST", "/roles/bard/trials", 400, json={})
    await stage.error("POST", "/roles/bard/trials", 400, json={"fields": {}, "version": 1})


async def test_a_version_and_a_new_ensemble_can_be_tried(stage: Stage) -> None:
    for words in ("Sing.", "Hum."):
        await stage.call("PUT", "/roles/bard", json={"fields": {"instruction": words}})
    first = await stage.call("POST", "/roles/bard/trials", json={"version": 1})
    found = stage.product.trials.find(first["model"], OWNER)
    assert found is not None
    assert found.catalog.roles["bard"].instruction == "Sing."
    choir = {"pattern": "council", "roles": ["bard", "coder"]}
    made = await stage.call("POST", "/ensembles/choir/trials", json={"fields": choir})
    tried = stage.product.trials.find(made["model"], OWNER)
    assert tried is not None
    assert isinstance(tried.target, EnsembleTarget)
    assert tried.target.ensemble.roles == ("bard", "coder")
    assert "choir" not in await stage.names("ensembles")
