"""The console's answers: languages, headers, files, and what is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import ansambl.console
from ansambl.console.pages import make_console
from ansambl.console.strings import examples, page_strings

FOLDER = Path(ansambl.console.__file__).parent
# What a phone on a slow link should have to load, before any compression.
LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def client():
    return TestClient(make_console(version="1.2.3"))


def words(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="words">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def test_the_page_speaks_the_language_of_the_browser_or_of_the_address(client):
    for asked, accepted, expected in [
        ("/", None, "en"),
        ("/", "ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("/", "de,fr;q=0.5", "en"),
        ("/?lang=en", "ru", "en"),
        ("/?lang=ru", "en", "ru"),
        ("/?lang=xx", "ru", "ru"),
    ]:
        answer = client.get(asked, headers={"accept-language": accepted} if accepted else {})
        assert answer.status_code == 200
        assert f'<html lang="{expected}">' in answer.text, (asked, accepted)
        assert answer.headers["content-language"] == expected
        assert words(answer.text)["language"] == expected
        assert "accept-language" in answer.headers["vary"]


def test_the_language_in_the_address_cannot_carry_markup(client):
    answer = client.get("/?lang=ru%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "alert(1)" not in answer.text


def test_every_answer_keeps_the_page_to_itself(client):
    for path in ("/", "/console/words/en", "/console/static/old/style.css", "/console/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_page_holds_no_inline_code_and_no_other_host(client):
    page = client.get("/").text
    assert re.findall(r"<script(?![^>]*(?:src=|application/json))", page) == []
    assert re.findall(r"\son\w+=|\sstyle=|javascript:", page) == []
    assert re.findall(r'(?:src|href)="(?!/|#)', page) == []


def test_every_file_of_the_page_is_there_and_kept_by_the_browser(client):
    addresses = re.findall(r'(?:src|href)="(/console/[^"]+)"', client.get("/").text)
    assert len(addresses) >= 4
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    # A page that a browser still shows from an older version gets today's file, and does not keep it.
    old = client.get("/console/static/0123456789abcdef/style.css")
    assert old.status_code == 200
    assert old.headers["cache-control"] == "no-cache"
    assert old.headers["content-type"] == "text/css; charset=utf-8"


def test_scripts_import_only_files_that_are_served(client):
    for script in (FOLDER / "static").glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")):
            answer = client.get(f"/console/static/any/{name}")
            assert answer.status_code == 200, (script.name, name)
            assert answer.headers["content-type"].startswith("text/javascript")


def test_what_is_not_there_is_said_in_one_line(client):
    for path in ("/console/nothing", "/console/words/xx", "/console/static/any/secret.txt"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.text.count("\n") == 0
        assert path in answer.text
    for path in ("/console/static/any/..%2fpages.py", "/console/static/any/%2e%2e/templates/base.html"):
        assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_templates_and_scripts_name_only_sentences_that_exist(client):
    known = set(page_strings(str))
    used = set()
    for template in (FOLDER / "templates").glob("*.html"):
        found = template.read_text(encoding="utf-8")
        used |= set(re.findall(r'data-(?:text|label|placeholder)="(\w+)"', found))
        used |= set(re.findall(r'say\("(\w+)"\)', found))
    for script in (FOLDER / "static").glob("*.js"):
        used |= set(re.findall(r'\bsay\("(\w+)"', script.read_text(encoding="utf-8")))
    assert len(used) > 40
    assert used <= known


def test_a_language_can_be_fetched_alone(client):
    answer = client.get("/console/words/ru").json()
    assert answer["language"] == "ru"
    assert set(answer["strings"]) == set(page_strings(str))
    assert [one["role"] for one in answer["examples"]] == [one.role for one in examples(str)]


def test_all_files_together_stay_small():
    assert sum(one.stat().st_size for one in (FOLDER / "static").iterdir()) < LIMIT
