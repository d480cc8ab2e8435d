"""``ansambl keys`` without a running Ansambl: made, listed and revoked; each failure is one line."""

from __future__ import annotations

import concurrent.futures
import json
import stat

import pytest
from product import run_command

from ansambl.access.keys import digest_of, is_whole
from ansambl.cli import main as program
from ansambl.foundation.paths import DataPaths


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    monkeypatch.setenv("ANSAMBL_DATA", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def run(data, capsys):
    def call(*arguments):
        capsys.readouterr()
        code = program.main(["keys", *arguments, "--lang", "en"])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def test_the_secret_stands_alone_on_standard_output(run, data):
    code, out, err = run("create", "laptop", "--role", "coder", "--limit", "60/min", "--tokens", "1M/day",
                         "--class", "batch", "--expires", "30d", "--endpoint", "chat")  # fmt: skip
    secret = out.strip()
    assert (code, out) == (0, f"{secret}\n")
    assert is_whole(secret)
    assert secret not in err
    code, out, _ = run("list")
    assert code == 0
    assert "laptop" in out
    assert "60/min" in out
    assert secret[12:] not in out
    found = json.loads(run("list", "--json")[1])["keys"]
    assert [(one["name"], one["names"], one["endpoints"], one["request_class"], one["state"]) for one in found] == [
        ("laptop", ["coder"], ["chat"], "batch", "valid")
    ]
    assert json.loads(run("show", "laptop", "--json")[1]) == found[0]
    # Nothing in the data folder holds it, and only its owner can read what is there.
    for path in data.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    database = DataPaths(data).database
    assert digest_of(secret) in database.read_bytes()
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_one_json_document_holds_the_secret_once(run):
    code, out, _ = run("create", "--json")
    made = json.loads(out)
    assert code == 0
    assert is_whole(made["secret"])
    assert out.count(made["secret"]) == 1
    assert made["key"]["name"].startswith("key-")


def test_who_only_looks_makes_no_data_folder(run, data):
    code, out, _ = run("list")
    assert code == 0
    assert "no API keys" in out
    assert not data.exists()


def test_a_key_is_revoked_by_its_name_or_id_after_a_yes(run):
    run("create", "one")
    key = json.loads(run("create", "two", "--json")[1])["key"]
    code, _, err = run("revoke", "one")
    assert code == 1
    assert "--yes" in err
    assert run("revoke", "one", "--yes")[0] == 0
    code, out, err = run("revoke", key["id"], "--yes")
    assert code == 0
    assert "two" in out
    assert "last key" in err
    assert json.loads(run("list", "--json")[1]) == {"keys": []}
    assert [one["state"] for one in json.loads(run("list", "--all", "--json")[1])["keys"]] == ["revoked"] * 2
    # Its name can be given again, its id never is.
    assert run("create", "two")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "--role", "codr"), "nearest: coder"), (("create", "--endpoint", "all"), "admin:read"),
        (("create", "--limit", "60"), "60/min"), (("create", "--tokens", "1T/day"), "1M/day"),
        (("create", "--class", "fast"), "interactive"), (("create", "--expires", "0d"), "30d"),
        (("create", ""), "name of a key"), (("create", "taken"), "taken"),
        (("revoke", "takn", "--yes"), "nearest: taken"), (("show", "nothing-like-it"), "ansambl keys list"),
    ],
)  # fmt: skip
def test_each_failure_is_one_line_that_says_what_to_do(run, arguments, words):
    assert run("create", "taken")[0] == 0
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert len(json.loads(run("list", "--json")[1])["keys"]) == 1


def test_two_processes_that_make_keys_make_both_or_say_why_not(data):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda name: run_command("keys", "create", name, data=data), ("one", "two")))
    made = [one.stdout.strip() for one in ended if one.returncode == 0]
    assert made
    for one in ended:
        assert one.returncode == 0 or "Another ansambl command" in one.stderr
    found = json.loads(run_command("keys", "list", "--json", data=data).stdout)["keys"]
    assert len(found) == len(made) == len(set(made))


def test_another_address_is_listened_on_only_with_a_key_that_lets_somebody_in(data, tmp_path):
    config = tmp_path / "ansambl.toml"
    config.write_text("", encoding="utf-8")
    asked = ("up", "--config", str(config), "--host", "192.0.2.1", "--port", "0", "--offline")
    refused = run_command(*asked, data=data)
    assert refused.returncode == 2
    assert "ansambl keys create" in refused.stderr
    run_command("keys", "create", "old", "--expires", "1s", data=data)
    key = json.loads(run_command("keys", "create", "new", "--json", data=data).stdout)["key"]
    # The address is not this machine's, so the next thing that fails is listening there.
    allowed = run_command(*asked, data=data)
    assert allowed.returncode == 1
    assert "Cannot listen on 192.0.2.1" in allowed.stderr
    run_command("keys", "revoke", key["id"], "--yes", data=data)
    assert run_command(*asked, data=data).returncode == 2
