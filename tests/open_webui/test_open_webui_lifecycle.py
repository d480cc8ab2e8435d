"""What goes wrong around Open WebUI, with the real one: killed, Ansambl restarted or killed under it, a taken port."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable

import pytest
from open_webui_stage import Stage
from playwright.sync_api import Page, expect
from product import alive, family, wait_for

from ansambl.foundation.network import bound_socket

pytestmark = pytest.mark.timeout(1200)


def asks_and_is_answered(page: Page, words: str) -> None:
    page.add_locator_handler(page.get_by_role("button", name="Okay, Let's Go!"), lambda one: one.click())
    page.locator("#chat-input").click()
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.locator(".copy-response-button").last.wait_for(timeout=240_000)
    expect(page.locator("#response-content-container").last).to_contain_text(re.compile(r"\w"))


def test_killed_it_is_started_again_and_its_chats_are_kept(stage: Stage, open_page: Callable[[str], Page]) -> None:
    page = open_page(stage.beside_address)
    asks_and_is_answered(page, "When is the lamp lit?")
    chat = page.url
    before = stage.beside()
    os.kill(before["pid"], signal.SIGKILL)
    wait_for(lambda: stage.beside()["restarts"] == 1, "the end was noticed")
    after = stage.wait_for_beside("ready")
    assert after["pid"] != before["pid"]
    assert "Open WebUI ended by itself (signal 9); it is started again" in stage.product.output.replace("\n", " ")
    assert stage.product.client.get("/health").status_code == 200
    page.goto(chat)
    expect(page.locator("#response-content-container").last).to_contain_text(re.compile(r"\w"), timeout=60_000)


def test_ansambl_restarted_under_it_works_again_and_leaves_nothing(
    stage: Stage, open_page: Callable[[str], Page]
) -> None:
    page = open_page(stage.beside_address)
    page.locator("#chat-input").wait_for()
    processes = family(stage.product.process.pid)
    assert stage.product.stop() == 0
    assert not alive(processes)
    bound_socket("127.0.0.1", stage.beside_port).close()
    stage.start()
    page.goto(stage.beside_address)
    asks_and_is_answered(page, "When is the lamp lit?")


def test_after_a_crash_of_ansambl_the_left_over_one_is_ended(stage: Stage) -> None:
    left = stage.beside()["pid"]
    stage.product.process.kill()
    stage.product.process.wait()
    assert alive({left}) == {left}
    stage.start()
    assert not alive({left})
    assert stage.beside()["pid"] != left


def test_with_keys_it_gets_one_of_its_own_without_a_restart(stage: Stage, open_page: Callable[[str], Page]) -> None:
    pid = stage.beside()["pid"]
    assert stage.product.command("keys", "create", "someone").returncode == 0

    def names() -> list[str]:
        found = stage.product.client.get("/admin/api/keys").json()["keys"]
        return sorted(one["name"] for one in found)

    wait_for(lambda: names() == ["open-webui", "someone"], "a key for Open WebUI")
    page = open_page(stage.beside_address)
    asks_and_is_answered(page, "When is the lamp lit?")
    assert stage.beside()["pid"] == pid
    for name in ("open-webui", "someone"):
        assert stage.product.command("keys", "revoke", name, "--yes").returncode == 0


def test_a_taken_port_is_told_and_ansambl_answers_all_the_same(stage: Stage) -> None:
    stage.product.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", stage.beside_port))
        taken.listen()
        stage.start(state="failed")
        said = " ".join(stage.product.output.split())
        assert f"Open WebUI does not run: port {stage.beside_port} is taken by" in said
        assert f"process {os.getpid()}" in said
        assert stage.product.chat("keeper", "hello").status_code == 200


def test_a_name_of_300_characters_is_refused_in_one_line(stage: Stage) -> None:
    config = stage.config.with_name("long.toml")
    config.write_text(f'[roles.{"x" * 300}]\ninstruction = "x"\n', encoding="utf-8")
    refused = stage.product.command("config", "show", "--config", str(config))
    assert refused.returncode == 2
    assert "1 to 100 characters" in " ".join(refused.stderr.split())
