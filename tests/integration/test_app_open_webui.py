"""Open WebUI beside a product: another installer, a port that is ours, a key that is revoked. A stand-in answers."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret, shown_of
from ansambl.access.store import KeyStore
from ansambl.api.schemas import CompanionDocument
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.data_folder import open_database, prepare_folder
from ansambl.app.open_webui import LOCKED_OUT, NOT_INSTALLED, OpenWebuiBeside
from ansambl.companions.open_webui.building import build_of
from ansambl.companions.open_webui.keeping import Places
from ansambl.companions.open_webui.records import NAME
from ansambl.domain.text import Text
from ansambl.engines.install.folders import only_installer
from ansambl.engines.installations import InstallManifest, engine_folder, write_install_manifest
from ansambl.foundation.clock import RealClock
from ansambl.foundation.network import free_port
from ansambl.runtime.events import EventLog

STAND_IN = textwrap.dedent("""
    import http.server, sys
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
""")


class Stage:
    """A data folder, its keys, and Open WebUI beside an Ansambl that answers at `address`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, port: int, address: str) -> None:
        monkeypatch.setenv("ANSAMBL_DATA", str(folder / "data"))
        config = folder / "ansambl.toml"
        config.write_text(f"[open_webui]\nbuild = 'slim'\nport = {port}\n", encoding="utf-8")
        self.loaded = load_settings(config)
        self.paths = self.loaded.paths
        prepare_folder(self.paths)
        self.database = open_database(self.paths)
        self.store, self.clock = KeyStore(self.database), RealClock()
        self.door = KeyDoor("token-of-this-run", self.clock, self.store)
        self.said: list[str] = []
        product: Any = SimpleNamespace(events=EventLog())
        self.beside = OpenWebuiBeside(
            self.loaded, self.paths, address, door=self.door, store=self.store, clock=self.clock, product=product,
            say=self._hear, warn=self._hear, installs=False, offline=False,
        )  # fmt: skip

    @property
    def programs(self) -> Path:
        return Places(self.paths.companions).programs

    def _hear(self, message: Text) -> None:
        self.said.append(message.render())

    def document(self) -> CompanionDocument:
        (found,) = self.beside.documents(str)
        return found

    def install_stand_in(self) -> None:
        build, folder = build_of("slim"), engine_folder(self.programs, NAME)
        program = folder / build.folder / build.program
        program.parent.mkdir(parents=True)
        (folder / "stand_in.py").write_text(STAND_IN, encoding="utf-8")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/stand_in.py" "$@"\n', encoding="utf-8")
        program.chmod(0o700)
        write_install_manifest(
            folder, InstallManifest(NAME, build.version, "slim", f"{build.folder}/{build.program}", "-", "-", 0.0, 1)
        )

    def add_key(self, name: str) -> ApiKey:
        secret = new_secret()
        key = ApiKey(new_id(), name, digest_of(secret), shown_of(secret), created=self.clock.now())
        self.store.add(key)
        self.door.add(key)
        return key

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(60):
            while not (found := condition()):  # noqa: ASYNC110 - the state is a plain field
                await asyncio.sleep(0.02)
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.beside.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.database.close()


async def test_what_another_installer_does_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path, monkeypatch, port=free_port(), address="http://127.0.0.1:1")
    with only_installer(stage.programs, NAME):
        async with stage.running():
            await stage.until(lambda: stage.document().state == "installing")
            assert stage.document().message == "another Ansambl installs or removes it at this moment"
    stage = Stage(tmp_path, monkeypatch, port=free_port(), address="http://127.0.0.1:1")
    with only_installer(stage.programs, NAME):
        waiting = stage.running()
        task = await waiting.__aenter__()
        await stage.until(lambda: stage.document().state == "installing")
        stage.install_stand_in()
    await stage.until(lambda: stage.document().state == "ready")
    assert not task.done()
    await waiting.__aexit__(None, None, None)
    assert stage.document().state == "stopped"


async def test_where_it_is_not_installed_and_nobody_agreed_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, port=free_port(), address="http://127.0.0.1:1")
    async with stage.running() as task:
        await asyncio.wait_for(task, 60)
        assert stage.document().message == NOT_INSTALLED.render()
    assert not stage.programs.exists()


async def test_ansambls_own_port_is_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    stage = Stage(tmp_path, monkeypatch, port=port, address=f"http://127.0.0.1:{port}")
    stage.install_stand_in()
    async with stage.running() as task:
        await asyncio.wait_for(task, 60)
        assert stage.document().state == "failed"
        assert f"its port {port} is Ansambl's own" in (stage.document().message or "")
        assert stage.document().pid is None


async def test_a_revoked_key_is_told_and_the_next_start_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, monkeypatch, port=free_port(), address="http://127.0.0.1:1")
    stage.install_stand_in()

    def own(stage: Stage) -> list[ApiKey]:
        return [one for one in stage.door.all_keys() if one.name == NAME and one.revoked is None]

    async with stage.running():
        await stage.until(lambda: stage.document().state == "ready")
        assert stage.document().message is None
        assert not own(stage), "while nobody needs a key it has none"
        stage.add_key("someone")
        (first,) = await stage.until(lambda: own(stage))
        stage.store.revoke(first.id, stage.clock.now())
        await stage.door.revoke(first.id, stage.clock.now())
        await stage.until(lambda: stage.document().message == LOCKED_OUT.render())
        assert stage.document().state == "ready"
        assert stage.said.count(LOCKED_OUT.render()) == 1
    stage = Stage(tmp_path, monkeypatch, port=free_port(), address="http://127.0.0.1:1")
    async with stage.running():
        (second,) = await stage.until(lambda: own(stage))
        assert second.digest != first.digest
        await stage.until(lambda: stage.document().state == "ready")
        assert stage.document().message is None
