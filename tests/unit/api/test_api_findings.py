"""What the admin API says of a body that it cannot use: about the part that is wrong, in the reader's language."""

import errno
import sqlite3
from contextlib import closing

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from ansambl.api.body_limit import BodyLimit, holds_half_characters
from ansambl.api.errors import add_error_handlers, answer_with
from ansambl.api.planning_schemas import DescribedMachine
from ansambl.foundation.full_disk import is_full_disk


class Described(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=5)
    ram: int = Field(ge=1, le=100)


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    machines: list[str | Described] = Field([], max_length=2)
    context: int = Field(8, ge=1, le=1000)
    share: float = 0.5
    whole: bool = True
    anything: dict[str, object] = Field(default_factory=dict)


@pytest.fixture
async def client():
    app = FastAPI()
    add_error_handlers(app, app.routes)
    app.add_middleware(BodyLimit, limit=100_000, prefixes=("/",), answer=answer_with)

    @app.post("/ask")
    async def ask(question: Question) -> Question:
        return question

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"machines": [{"name": "x", "ram": 0}]}, "body.machines.0.ram", "body.machines.0.ram must be 1 or more."),
        ({"machines": ["a", {"name": "x", "ram": 10**12}]}, "body.machines.1.ram",
         "body.machines.1.ram must be 100 or less."),
        ({"machines": [{"name": "x"}]}, "body.machines.0.ram", "body.machines.0.ram is missing; send it."),
        ({"machines": [{"name": "x", "ram": 1, "rom": 1}]}, "body.machines.0.rom",
         "body.machines.0.rom is not known here; leave it out."),
        ({"machines": [{"name": "x" * 6, "ram": 1}]}, "body.machines.0.name",
         "body.machines.0.name may have 5 characters at most."),
        ({"machines": [7]}, "body.machines.0", None),
        ({"machines": ["a", "b", "c"]}, "body.machines", "body.machines may name 2 at most."),
        ({"machines": "a"}, "body.machines", "body.machines must be a list."),
        ({"context": "many"}, "body.context", "body.context must be a whole number."),
        ({"context": 1.5}, "body.context", "body.context must be a whole number."),
        ({"context": -1}, "body.context", "body.context must be 1 or more."),
        ({"share": "x"}, "body.share", "body.share must be a number."),
        ({"whole": "perhaps"}, "body.whole", "body.whole must be true or false."),
    ],
)  # fmt: skip
async def test_a_mistake_is_told_of_the_part_that_is_wrong(client, body, param, message):
    answer = await client.post("/ask", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (422, param)
    if message is not None:
        assert error["message"] == message
    # Neither the names of our classes nor the English of a library.
    assert "Described" not in error["message"]
    assert "constrained" not in error["message"]
    assert "Input" not in error["message"]


@pytest.mark.parametrize(
    ("ram", "words"),
    [(2**26 - 1, "ram must be 64.0 MiB or more (67108864 bytes)."),
     (2**46 + 1, "ram must be 64.0 TiB or less (70368744177664 bytes).")],
)  # fmt: skip
async def test_sizes_are_told_in_units_that_people_use(ram, words):
    app = FastAPI()
    add_error_handlers(app, app.routes)

    @app.post("/ask")
    async def ask(machine: DescribedMachine) -> None:
        return None

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as asking:
        answer = await asking.post("/ask", json={"ram": ram})
        fitting = await asking.post("/ask", json={"ram": 2**26})
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, f"body.{words}")
    assert fitting.status_code == 200
    # Who generates a client from the description still finds the bounds there.
    bounds = app.openapi()["components"]["schemas"]["DescribedMachine"]["properties"]["ram"]
    assert (bounds["minimum"], bounds["maximum"]) == (2**26, 2**46)


@pytest.mark.parametrize(
    "body",
    [rb'{"anything": {"a": "\ud800"}}', rb'{"anything": {"\udfff": 1}}', rb'{"anything": {"a": "\udc00\ud800"}}',
     rb'{"anything": {"a": [["\uD83D x"]]}}', b'{"anything": {"a": "\xed\xa0\x80"}}',
     r'{"anything": {"a": "\ud800"}}'.encode("utf-16"), r'{"anything": {"a": "\ud800"}}'.encode("utf-32-le")],
)  # fmt: skip
async def test_half_a_character_is_refused_before_anything_is_kept(client, body):
    answer = await client.post("/ask", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "body")
    assert "half a character" in answer.json()["error"]["message"]


async def test_whole_characters_pass_however_they_are_written(client):
    body = rb'{"anything": {"a": "\ud83d\ude00", "b": "\\ud800"}}'
    answer = await client.post("/ask", content=body, headers={"content-type": "application/json"})
    assert answer.json()["anything"] == {"a": "😀", "b": "\\ud800"}


def test_what_is_no_json_is_left_to_who_reads_it():
    assert not holds_half_characters(rb"{\ud800")
    assert not holds_half_characters(rb'"\ud800' + b"[" * 100_000)
    assert not holds_half_characters(b"\xff\\ud800")


def full_database():
    """What SQLite itself raises where a database may not grow."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("PRAGMA max_page_count = 2")
        database.execute("CREATE TABLE t (x)")
        try:
            database.execute("INSERT INTO t VALUES (?)", ["x" * 100_000])
        except sqlite3.Error as error:
            return error
    raise AssertionError


def wrapped(error):
    outer = RuntimeError("it did not work")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "is_full"),
    [(full_database(), True), (OSError(errno.ENOSPC, "No space left on device"), True),
     (OSError(errno.EDQUOT, "Disk quota exceeded"), True), (wrapped(full_database()), True),
     (OSError(errno.EACCES, "Permission denied"), False), (sqlite3.ProgrammingError("closed"), False),
     (ValueError("No space left on device"), False)],
)  # fmt: skip
def test_a_full_disk_is_known_by_its_code(error, is_full):
    assert is_full_disk(error) is is_full


@pytest.mark.parametrize("error", [full_database(), OSError(errno.ENOSPC, "No space left on device")])
async def test_a_full_disk_is_said_in_words_and_the_connection_lives_on(error):
    app = FastAPI()
    add_error_handlers(app, app.routes)

    @app.post("/keep")
    async def keep() -> None:
        raise error

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as asking:
        answer = await asking.post("/keep")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "disk_full")
    assert "free some room" in answer.json()["error"]["message"]


async def test_any_other_failure_of_the_disk_is_a_crash():
    app = FastAPI()
    add_error_handlers(app, app.routes)

    @app.post("/keep")
    async def keep() -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as asking:
        answer = await asking.post("/keep")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
