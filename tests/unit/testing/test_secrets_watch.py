"""The watch over secrets in logs: it finds what is planted, and says where; and it leaves innocent words alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from secrets_watch import Watch

SUPPORT = Path(__file__).resolve().parents[2] / "support"
# Put together here, so that this file holds no secret itself.
API_KEY = "ansambl-" + "Ab3dE6gH9k" * 5
TOKEN = "tok" + "Zx9_Qw8-Er7" * 4

PLANTED = f"""
import asyncio
import secrets_watch
from ansambl.foundation.redaction import register_secret

API_KEY, TOKEN = {API_KEY!r}, {TOKEN!r}

def write(folder, name, words):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(words, encoding="utf-8")

def test_an_api_key_in_a_log(tmp_path):
    write(tmp_path / "data" / "logs", "ansambl.log", "event=x key=" + API_KEY)

def test_a_registered_secret_in_a_rotated_log_as_an_escape(tmp_path):
    register_secret(TOKEN)
    write(tmp_path / "logs", "engine-m.log.1", "args: a\\\\n" + TOKEN + "' ")

def test_an_api_key_in_the_database(tmp_path):
    write(tmp_path, "ansambl.db", "row " + API_KEY)

def test_a_secret_on_standard_error(tmp_path):
    import sys
    print("token " + TOKEN, file=sys.stderr)

def test_a_secret_in_an_answer():
    secrets_watch.heard("GET /x", b'{{"error": "' + TOKEN.encode() + b'"}}')

def test_a_shared_folder(tmp_path_factory):
    write(tmp_path_factory.mktemp("shared"), "up.log", TOKEN)

def test_a_key_that_is_shown_once(tmp_path):
    print(API_KEY)
    write(tmp_path, "notes.md", API_KEY)
    write(tmp_path, "state.json", TOKEN)
    write(tmp_path, "ansambl.log", "ansambl-requests-of-the-week, a word_that_is_long_and_harmless " + TOKEN[:20])
"""


@pytest.fixture
def outcome() -> Iterator[subprocess.CompletedProcess[str]]:
    """A session whose tests leak; not below `tmp_path`, which the watch over this very test would find."""
    with TemporaryDirectory() as folder:
        yield _session(Path(folder))


def _session(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "test_planted.py").write_text(PLANTED, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "secrets_watch", "-p", "no:cacheprovider",
         f"--basetemp={tmp_path / 'base'}", "--rootdir", str(tmp_path), "test_planted.py"],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "COLUMNS": "200"}, cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_every_planted_leak_fails_its_test_and_names_the_place(outcome: subprocess.CompletedProcess[str]) -> None:
    output = outcome.stdout
    assert outcome.returncode == 1, output + outcome.stderr
    bad = {
        "test_an_api_key_in_a_log": "ansambl.log",
        "test_a_registered_secret_in_a_rotated_log_as_an_escape": "engine-m.log.1",
        "test_an_api_key_in_the_database": "ansambl.db",
        "test_a_secret_on_standard_error": "Captured stderr",
        "test_a_secret_in_an_answer": "GET /x",
    }
    for test, place in bad.items():
        assert re.search(rf"(?:FAILED|ERROR)\s.*{test}\b", output), (test, output)
        assert place in output
    assert re.search(r"shared0/up\.log: a secret", output)
    assert not re.search(r"(?:FAILED|ERROR)\s.*(?:test_a_key_that_is_shown_once|test_a_shared_folder)", output), output
    assert f"a secret ({TOKEN[:4]}…, registered by the product)" in output


def test_plain_words_of_tests_are_no_secrets() -> None:
    watch = Watch()
    watch.learn("key-of-a-test", "a test")
    watch.learn("a" * 40, "a test")
    watch.learn("has a gap in the middle of it, 0123456789", "a test")
    assert watch.leaks(b"key-of-a-test " + b"a" * 40) == set()
    watch.learn(TOKEN, "a test")
    assert len(watch.leaks(TOKEN.encode() + b"x")) == 1
    assert watch.leaks(TOKEN[1:].encode()) == set()
