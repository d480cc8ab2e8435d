"""What `ansambl doctor` finds wrong, and what it says to do."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from model_files import write_gguf
from product import wait_for

from ansambl.app.check import Check, Level
from ansambl.app.data_folder import DataLock, open_database, prepare_folder
from ansambl.app.doctor import examine
from ansambl.app.running_state import write_state
from ansambl.domain.hardware import Memory
from ansambl.domain.text import text
from ansambl.domain.units import MIB, Bytes
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.runtime.events import EventLog
from ansambl.runtime.store import RuntimeStore


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataPaths:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "data"))
    return DataPaths(tmp_path / "data")


def found(name: str) -> Check:
    return next(one for one in examine() if one.name == name)


def test_a_fresh_machine_has_no_problem_but_no_model_yet(paths: DataPaths) -> None:
    checks = {one.name: one for one in examine()}
    assert checks["model:embedded"].level is Level.WARNING
    assert checks["engine:embedded"].level is Level.OK
    assert checks["database"].level is Level.OK
    assert not paths.root.exists()


def test_a_wrong_configuration_is_said_with_its_line(paths: DataPaths) -> None:
    Path("ansambl.toml").write_text("[gateway]\nprot = 1\n")
    check = found("configuration")
    assert check.level is Level.PROBLEM
    assert "ansambl.toml line 2" in str(check.message)
    assert found("data_folder").level is Level.OK


def test_a_file_that_is_not_toml_does_not_end_the_check(paths: DataPaths) -> None:
    Path("ansambl.toml").write_text("[gateway\n")
    assert found("configuration").level is Level.PROBLEM
    assert found("memory")


def test_a_port_of_another_program(paths: DataPaths) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        Path("ansambl.toml").write_text(f"[gateway]\nport = {other.getsockname()[1]}\n")
        check = found("port")
    assert check.level is Level.PROBLEM
    assert str(check.fix) == "stop what uses it, or choose another with --port"


def test_our_own_port_is_fine(paths: DataPaths) -> None:
    prepare_folder(paths)
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        Path("ansambl.toml").write_text(f"[gateway]\nport = {port}\n")
        write_state(paths, "127.0.0.1", port, "x")
        assert found("port").level is Level.OK
        assert str(os.getpid()) in str(found("running").message)


def test_a_crash_is_noticed(paths: DataPaths) -> None:
    prepare_folder(paths)
    paths.state.write_text(
        '{"pid": 1, "started": 1.0, "host": "127.0.0.1", "port": 1, "token": "", "version": "", "mark": 1.0}'
    )
    check = found("leftovers")
    assert check.level is Level.WARNING
    assert "ansambl down" in str(check.fix)


def test_a_damaged_and_a_newer_database(paths: DataPaths) -> None:
    prepare_folder(paths)
    with DataLock(paths):
        database = open_database(paths)
        database.transaction(lambda connection: connection.execute("PRAGMA user_version = 999"))
        database.close()
    assert "newer" in str(found("database").message)
    paths.database.write_bytes(b"not a database at all" * 100)
    assert found("database").level is Level.PROBLEM


def test_a_data_folder_below_a_file(tmp_path: Path, paths: DataPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "file" / "data"))
    assert found("data_folder").level is Level.PROBLEM


def test_a_missing_file_and_an_address_without_anybody(paths: DataPaths) -> None:
    Path("ansambl.toml").write_text(
        '[models.a]\ncheckpoint = "none.gguf"\n[models.b]\naddress = "http://127.0.0.1:9/v1"\n'
    )
    assert found("model:a").level is Level.PROBLEM
    assert found("model:b").level is Level.WARNING


def test_a_key_that_is_not_set(paths: DataPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    Path("ansambl.toml").write_text('[models.b]\naddress = "http://127.0.0.1:9/v1"\nkey_env = "NO_SUCH_KEY"\n')
    assert "NO_SUCH_KEY is not set" in str(found("configuration").message)


def _written(slots: int) -> None:
    fields = {
        "general.architecture": "llama", "general.name": "Small", "llama.block_count": 2, "llama.embedding_length": 64,
        "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2, "llama.context_length": 4096,
        "llama.feed_forward_length": 128, "llama.vocab_size": 100,
    }  # fmt: skip
    write_gguf(Path("small.gguf"), fields, {"token_embd.weight": ("F16", (64, 100))})
    Path("ansambl.toml").write_text(f'[models.m]\ncheckpoint = "small.gguf"\ncontext = 4096\nparallel = {slots}\n')


def test_a_model_that_can_start_is_said_to(paths: DataPaths) -> None:
    _written(1)
    assert found("engine:m").level is Level.OK
    assert found("start:m").level is Level.OK


def test_a_model_that_cannot_start_is_said_with_its_reason(paths: DataPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 bytes of KV cache for each of 4,096 tokens in each of 64 slots: 64 MiB, on a machine of 32 MiB."""
    _written(64)
    small = replace(inventory.detect(), memory=Memory(Bytes(32 * MIB), Bytes(32 * MIB)), gpus=())
    monkeypatch.setattr(inventory, "detect", lambda **_folders: small)
    check = found("start:m")
    assert check.level is Level.PROBLEM
    assert "models.m" in str(check.message)
    assert "32.0 MiB" in str(check.message)


def test_a_setting_that_the_engine_does_not_have_is_a_problem(paths: DataPaths) -> None:
    _written(1)
    with Path("ansambl.toml").open("a") as file:
        file.write("settings = { nosuch = 1 }\n")
    check = found("start:m")
    assert check.level is Level.PROBLEM
    assert "nosuch" in str(check.message)


def test_pinned_models_beyond_the_budget_are_a_problem_and_one_too_large_a_warning(paths: DataPaths) -> None:
    _written(1)
    tables = '[models.{}]\ncheckpoint = "small.gguf"\ncontext = 128\npinned = {}\n'
    both = tables.format("a", "true") + tables.format("b", "true")
    Path("ansambl.toml").write_text(both)
    assert found("plan").level is Level.OK
    Path("ansambl.toml").write_text(f'{both}[budget]\nram = "2MiB"\n')
    check = found("plan")
    assert check.level is Level.PROBLEM
    assert "budget.ram is 2.0 MiB" in str(check.message)
    Path("ansambl.toml").write_text(f'{tables.format("a", "false")}[budget]\nram = "2MiB"\n')
    check = found("plan")
    assert check.level is Level.WARNING
    assert "models.a needs" in str(check.message)


def test_the_disk_for_conversations_is_told(paths: DataPaths) -> None:
    assert "8.0 GiB" in str(found("conversations").message)
    Path("ansambl.toml").write_text("[conversations]\npersist = false\n")
    assert str(found("conversations").message) == "No conversations are kept on the disk"


def test_a_certificate_is_looked_at(paths: DataPaths) -> None:
    Path("ansambl.toml").write_text('[gateway]\ntls_certificate = "nothing.pem"\n', encoding="utf-8")
    check = found("certificate")
    assert check.level is Level.PROBLEM
    assert "nothing.pem cannot be read" in str(check.message)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "99", "-subj", "/CN=x", "-keyout", "key.pem", "-out", "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    Path("key.pem").chmod(0o600)
    Path("ansambl.toml").write_text('[gateway]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n', encoding="utf-8")
    assert found("certificate").level is Level.OK
    Path("key.pem").chmod(0o644)
    check = found("certificate")
    assert check.level is Level.WARNING
    assert "chmod 600" in str(check.message)


def test_what_went_wrong_with_open_webui_in_this_run_is_told_until_it_answers_again(paths: DataPaths) -> None:
    prepare_folder(paths)
    database = open_database(paths)
    events = EventLog(RuntimeStore(database))
    try:
        events.add("open-webui", "failed", text("Open WebUI does not run: {reason}", reason="an earlier run"))
        time.sleep(0.01)
        write_state(paths, "127.0.0.1", 1, "token")
        assert not [one for one in examine() if one.name == "open_webui"]
        events.add("open-webui", "restarting", text("Open WebUI ended by itself ({reason})", reason="signal 9"))
        wait_for(lambda: [one for one in examine() if one.name == "open_webui"], "the event is written")
        check = found("open_webui")
        assert check.level is Level.WARNING
        assert str(check.message) == "Open WebUI ended by itself (signal 9)"
        events.add("open-webui", "ready", text("Open WebUI answers again"))
        wait_for(lambda: not [one for one in examine() if one.name == "open_webui"], "it is well again")
    finally:
        database.close()
