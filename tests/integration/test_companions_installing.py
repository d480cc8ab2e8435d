"""The child that installs Open WebUI, with the real pip, which waits for a package index that never answers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ansambl.companions.open_webui import installing
from ansambl.companions.open_webui.records import NAME
from ansambl.engines.install.folders import only_installer
from ansambl.foundation.child_process import command_of

LIMIT = 120.0


@pytest.fixture
def silent_index(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package index that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/simple")
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            monkeypatch.delenv(name, raising=False)
        yield


def wait_until(condition, what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def pips_below(folder: Path) -> list[int]:
    found = []
    for one in psutil.process_iter():
        try:
            words = one.cmdline()
        except psutil.Error:
            continue
        if "download" in words and any(word.startswith(str(folder)) for word in words):
            found.append(one.pid)
    return found


@pytest.mark.usefixtures("silent_index")
def test_it_ends_with_whoever_started_it_and_leaves_no_pip(tmp_path: Path) -> None:
    child = subprocess.Popen(
        command_of(installing.__name__, tmp_path, "slim", "en"), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: pips_below(tmp_path), "pip asks the index")
        assert installing.is_being_installed(tmp_path)
        assert child.stdin is not None
        # What the kernel does for an Ansambl that was killed.
        child.stdin.close()
        assert child.wait(LIMIT) == 130
        assert not pips_below(tmp_path)
        assert not installing.is_being_installed(tmp_path)
    finally:
        child.kill()
        child.wait()


@pytest.mark.usefixtures("silent_index")
async def test_it_is_ended_with_ansambl_and_its_stages_are_told_in_words_for_a_program(tmp_path: Path) -> None:
    told: list[str] = []
    work = asyncio.create_task(installing.install_in_child(tmp_path, "slim", lambda one: told.append(one.render())))
    async with asyncio.timeout(LIMIT):
        while not await asyncio.to_thread(pips_below, tmp_path):  # noqa: ASYNC110 - another process is looked at
            await asyncio.sleep(0.05)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert told[0] == "making the environment"
    assert not pips_below(tmp_path)
    assert not installing.is_being_installed(tmp_path)


def test_nothing_is_made_by_looking_whether_it_is_being_installed(tmp_path: Path) -> None:
    assert not installing.is_being_installed(tmp_path / "programs")
    assert not list(tmp_path.iterdir())
    with only_installer(tmp_path / "programs", NAME):
        assert installing.is_being_installed(tmp_path / "programs")
