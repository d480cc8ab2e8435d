"""No secret in any log of the suite: a plugin that knows what was made while the tests ran, and looks for it.

What it knows: every value that product code registered to be masked (`foundation.redaction`), what started products
hold (the token in their state file, the keys in the environment of their engines: `learn_from_product`), what tests say
(`learn`); and API keys by their shape, so that it does not have to know those.

Where it looks: after each test, its fixtures' ends included, in all logs below its folder, in its database (for API
keys, which are kept as digests alone) and in what it printed; at once in the answers that stages of the tests read
(`heard`); and at the end of the session in the folders that several tests share. A key that is meant to be shown (by
``keys create``, once) stands on standard output; only there is the shape of one allowed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansambl.foundation.redaction import registered_secrets

SHORTEST = 24
"""Characters of the shortest value that counts: what tests call a key themselves is often a plain word."""
_MOST_BYTES = 30_000_000
_WORD = re.compile(rb"[A-Za-z0-9_-]{%d,}" % SHORTEST)
_PLAIN_WORD = re.compile(rb"[A-Za-z0-9_-]+")
_API_KEY = re.compile(rb"ansambl-[0-9A-Za-z]{43,}")
_LOG = re.compile(r"\.(?:log|err|out|jsonl)(?:\.\d+)?$")
_DATABASE = re.compile(r"^ansambl\.db(?:-wal)?$")
_SECRET_NAME = re.compile(rb"(?:KEY|TOKEN|SECRET|PASSWORD)$")
_SKIPPED = frozenset({"models", "engines", "hub", "conversations", "__pycache__", ".git"})


class Watch:
    """What is known of secrets, and what was found."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}
        self._lengths: set[int] = set()
        self._read = 0
        self.found: list[str] = []
        self.seconds = 0.0

    def learn(self, value: str, origin: str) -> None:
        """From now on `value` is a secret, as long as it looks like one: one long word of many different letters."""
        word = value.encode()
        if len(word) >= SHORTEST and len(set(word)) >= 10 and _PLAIN_WORD.fullmatch(word):
            self._known.setdefault(word, origin)
            self._lengths.add(len(word))

    def known(self) -> dict[bytes, str]:
        """The secrets that are known, and where each is from."""
        return dict(self._known)

    def learn_registered(self) -> None:
        """Learn what product code in this process registered."""
        for value in registered_secrets():
            self.learn(value, "registered by the product")

    def leaks(self, content: bytes, *, keys: bool = True) -> set[str]:
        """What of all that is known stands in `content`; `keys` tells whether API keys are looked for, too."""
        found = {f"an API key ({one[:14].decode()}…)" for one in _API_KEY.findall(content)} if keys else set[str]()
        for word in _WORD.findall(content):
            for one in self._within(word):
                origin = self._known.get(one)
                if origin is not None:
                    found.add(f"a secret ({one[:4].decode()}…, {origin})")
        return found

    def _within(self, word: bytes) -> Iterator[bytes]:
        for length in self._lengths:
            # A word may go on: `\n` before a secret ends with a letter when it is written as an escape.
            yield from (word[start : start + length] for start in range(len(word) - length + 1))

    def look_into(self, folder: Path) -> list[str]:
        """Look into all logs and databases below a folder; a line for each that holds a secret."""
        found = []
        for file, is_log in _files(folder):
            try:
                with file.open("rb") as source:
                    content = source.read(_MOST_BYTES)
            except OSError:
                continue
            leaks = self.leaks(content) if is_log else {one for one in self.leaks(content) if "API key" in one}
            found += [f"{file}: {one}" for one in sorted(leaks)]
        return found

    def heard(self, where: str, content: bytes) -> None:
        """Look into what a stage of a test read."""
        self.learn_registered()
        leaks = self.leaks(content)
        if leaks:
            pytest.fail(f"{where} holds {', '.join(sorted(leaks))}", pytrace=False)


WATCH = Watch()


def learn(value: str, origin: str) -> None:
    """Tell the watch of a secret that it cannot know."""
    WATCH.learn(value, origin)


def heard(where: str, content: bytes) -> None:
    """Fail the test if an answer that it read holds a secret."""
    WATCH.heard(where, content)


def learn_from_product(data: Path, pids: Iterable[int]) -> None:
    """Learn the secrets of a running product: its token, and the keys in the environment of its engines."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        WATCH.learn(str(json.loads((data / "state.json").read_text(encoding="utf-8"))["token"]), "state.json")
    own = {value.encode() for value in os.environ.values()}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                name, _, value = line.partition(b"=")
                if _SECRET_NAME.search(name) and value not in own:
                    WATCH.learn(value.decode("utf-8", "replace"), f"{name.decode()} of process {pid}")


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The logs (True) and databases (False) below a folder."""
    waiting = [str(folder)]
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED:
                    waiting.append(entry.path)
            elif not os.path.isfile(entry.path):  # noqa: PTH113 - Path raises for a circle of links
                # A pipe that a test made would be waited for.
                continue
            elif _LOG.search(entry.name):
                yield Path(entry.path), True
            elif _DATABASE.match(entry.name):
                yield Path(entry.path), False


_seen_folders: set[Path] = set()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """After a test and the ends of its fixtures: look into what it left."""
    folder = (getattr(item, "funcargs", None) or {}).get("tmp_path")
    began = time.perf_counter()
    # Before fixtures end, because some take back what they registered.
    WATCH.learn_registered()
    WATCH.seconds += time.perf_counter() - began
    yield
    if not isinstance(folder, Path):
        return
    began = time.perf_counter()
    _seen_folders.add(folder)
    found = WATCH.look_into(folder)
    WATCH.seconds += time.perf_counter() - began
    if found:
        WATCH.found += found
        pytest.fail("secrets were written down by this test:\n" + "\n".join(found), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Look into what a test printed."""
    report: Any = yield
    began = time.perf_counter()
    WATCH.learn_registered()
    for title, words in report.sections:
        leaks = WATCH.leaks(words.encode("utf-8", "replace"), keys="stdout" not in title)
        if leaks and report.outcome == "passed":
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: {title} holds {', '.join(sorted(leaks))}"
            WATCH.found.append(report.longrepr)
    WATCH.seconds += time.perf_counter() - began
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """At the end: look into the folders that several tests share."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    base = getattr(factory, "_basetemp", None)
    if not isinstance(base, Path):
        return
    began = time.perf_counter()
    seen = {one.name for one in _seen_folders}
    found = []
    with contextlib.suppress(OSError):
        for one in sorted(base.iterdir()):
            if one.name not in seen and one.is_dir() and not one.is_symlink():
                found += WATCH.look_into(one)
    WATCH.seconds += time.perf_counter() - began
    if found:
        WATCH.found += found
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say where secrets were found, if they were."""
    if WATCH.found:
        terminalreporter.section("secrets were written down", red=True)
        for one in WATCH.found:
            terminalreporter.write_line(one)
    if terminalreporter.config.getoption("verbose") > 0:
        terminalreporter.write_line(f"looking for secrets in logs took {WATCH.seconds:.2f} s")
