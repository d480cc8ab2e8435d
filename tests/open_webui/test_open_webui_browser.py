"""Open WebUI in a real browser beside Ansambl: roles, an answer with its source, tasks without swaps, Stop."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from open_webui_stage import NASTY, Stage
from playwright.sync_api import Locator, Page, expect
from product import wait_for

OpenPage = Callable[[str], Page]
LONG = 240_000
"""Milliseconds for what a small model writes on a busy machine."""

pytestmark = pytest.mark.timeout(1200)


def open_chat(stage: Stage, open_page: OpenPage) -> Page:
    page = open_page(stage.beside_address)
    # What is new in this version, which a browser is shown once.
    news = page.get_by_role("button", name="Okay, Let's Go!")
    page.add_locator_handler(news, lambda one: one.click())
    page.locator("#chat-input").wait_for()
    return page


def option(page: Page, name: str) -> Locator:
    return page.locator(f'#model-selector-list [role=option][data-value="{name}"]')


def pick(page: Page, name: str) -> None:
    page.locator("#model-selector-model-button").click()
    option(page, name).click()
    expect(page.locator("#model-selector-model-button")).to_contain_text(name)


def ask(page: Page, words: str) -> None:
    page.locator("#chat-input").click()
    page.keyboard.type(words)
    page.keyboard.press("Enter")


def answered(page: Page) -> None:
    page.locator(".copy-response-button").last.wait_for(timeout=LONG)


def test_roles_stand_in_the_picker_with_descriptions_and_a_dot_where_they_are_loaded(
    stage: Stage, open_page: OpenPage, screenshot: Callable[[Page, str], None]
) -> None:
    page = open_chat(stage, open_page)
    expect(page.locator("#chat-pane")).to_contain_text("Answers from the handbook of the lighthouse")
    page.locator("#model-selector-model-button").click()
    option(page, "keeper").wait_for()
    screenshot(page, "open-webui-picker")
    for name, about, loaded in (
        ("coder", "Writes and mends code", True),
        ("keeper", "Answers from the handbook", True),
        ("other", "Runs on the second model", False),
        ("council", "answer at once", True),
    ):
        expect(option(page, name)).to_contain_text(about)
        expect(option(page, name).locator(".bg-green-500")).to_have_count(1 if loaded else 0)
    # Aliases in two languages are names for clients, and no second entries.
    assert page.locator("#model-selector-list [role=option]").count() <= 20
    expect(page.locator("#model-selector-list")).not_to_contain_text("кодер")


def test_a_long_name_and_scripts_in_it_are_plain_text(stage: Stage, open_page: OpenPage) -> None:
    page = open_chat(stage, open_page)
    page.locator("#model-selector-model-button").click()
    page.locator("#model-search-input").fill("svg")
    found = option(page, NASTY)
    found.wait_for()
    expect(found).to_contain_text("<svg|onload=window.hacked=1>")
    found.click()
    expect(page.locator("#model-selector-model-button")).to_contain_text("<svg|onload")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_answer_is_streamed_with_usage_and_a_source_that_opens_at_its_passage(
    stage: Stage, open_page: OpenPage, screenshot: Callable[[Page, str], None]
) -> None:
    page = open_chat(stage, open_page)
    pick(page, "keeper")
    swaps, tasks = stage.metric("ansambl_swaps_total"), stage.metric("ansambl_tasks_total")
    page.evaluate(
        """() => { window.seen = []; new MutationObserver(() => {
             const found = document.querySelector('#response-content-container')?.innerText ?? '';
             if (found && found !== window.seen.at(-1)) window.seen.push(found);
           }).observe(document.body, {subtree: true, childList: true, characterData: true}) }"""
    )
    ask(page, "How often does the foghorn sound?")
    answered(page)
    assert len(page.evaluate("window.seen")) > 2, "the answer came at once, not word by word"
    expect(page.locator(".status-description")).to_contain_text("Passages found in the documents")
    info = page.locator("[id^=info-]").last
    info.hover()
    expect(page.locator("[data-tippy-root], [role=tooltip]").last).to_contain_text(re.compile("token"))
    sources = page.get_by_role("button", name=re.compile(r"Toggle \d+ source"))
    sources.click()
    page.locator("[id^=source-]").first.click()
    link = page.locator('a[href*="/console/knowledge/documents/"]').first
    link.wait_for()
    screenshot(page, "open-webui-source")
    address = link.get_attribute("href") or ""
    assert address.startswith(stage.product.address)
    assert "passage=" in address
    with page.context.expect_page() as opened:
        link.click()
    passage = opened.value.locator("#passage")
    expect(passage).to_contain_text(re.compile("foghorn|lamp", re.IGNORECASE))
    screenshot(opened.value, "open-webui-passage")
    page.keyboard.press("Escape")
    # Title, tags and follow-ups, all on what is in memory.
    wait_for(lambda: stage.metric("ansambl_tasks_total") >= tasks + 3, "three tasks", 3 * LONG / 1000)
    assert stage.metric("ansambl_swaps_total") == swaps == 0
    assert stage.product.instance("second")["state"] == "stopped"
    page.mouse.move(640, 640)
    screenshot(page, "open-webui")


def test_a_chat_swaps_and_its_tasks_do_not(stage: Stage, open_page: OpenPage) -> None:
    page = open_chat(stage, open_page)
    pick(page, "other")
    swaps, tasks = stage.metric("ansambl_swaps_total"), stage.metric("ansambl_tasks_total")
    ask(page, "Say hello.")
    answered(page)
    wait_for(lambda: stage.metric("ansambl_tasks_total") >= tasks + 3, "three tasks", 3 * LONG / 1000)
    assert stage.metric("ansambl_swaps_total") == swaps + 1
    # What waited is told in a line that the answer has taken away again.
    expect(page.locator(".status-description.shimmer")).to_have_count(0)


def test_the_picker_follows_roles_that_come_and_go_while_it_runs(stage: Stage, open_page: OpenPage) -> None:
    name = "смотритель"
    made = stage.product.command(
        "roles", "edit", name, "--set", "model=first", "--set", "instruction=Answer briefly.",
        "--set", "description=Отвечает кратко", "--set", "max_tokens=20",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    page = open_chat(stage, open_page)
    page.locator("#model-selector-model-button").click()
    expect(option(page, name)).to_contain_text("Отвечает кратко")
    option(page, name).click()
    ask(page, "Say hello.")
    answered(page)
    expect(page.locator("#response-content-container").last).to_contain_text(re.compile(r"\w"))
    assert stage.product.command("roles", "remove", name, "--yes").returncode == 0
    page.goto(stage.beside_address)
    page.locator("#model-selector-model-button").click()
    option(page, "keeper").wait_for()
    expect(option(page, name)).to_have_count(0)


def test_stop_frees_the_slot(stage: Stage, open_page: OpenPage) -> None:
    def requests() -> list[dict[str, Any]]:
        return list(stage.product.client.get("/admin/api/requests").json()["requests"])

    def running() -> int:
        return sum(1 for one in requests() if one["seconds"] is None)

    wait_for(lambda: not running(), "the tasks of earlier chats are over", 3 * LONG / 1000)
    page = open_chat(stage, open_page)
    pick(page, "first")
    ask(page, "Write all numbers from 1 to 900 in words, one below the other.")
    expect(page.locator("#response-content-container")).to_contain_text(re.compile(r"\w"), timeout=LONG)
    assert stage.product.instance("first")["running"] >= 1
    page.get_by_role("button", name="Stop", exact=True).click()

    def left() -> bool:
        return any(one["name"] == "first" and one["status"] == 499 for one in requests())

    wait_for(left, "the stopped chat is over", 10)
    # Its title may still be at work, which is a request of its own; no slot is held beyond those.
    wait_for(lambda: stage.product.instance("first")["running"] == running(), "the slot is free", 10)


def test_its_secrets_are_on_no_command_line_and_for_the_user_alone(stage: Stage) -> None:
    words = psutil.Process(stage.beside()["pid"]).cmdline()
    own = stage.data / "companions" / "data" / "open-webui"
    secrets = (own / "secrets.json").read_text(encoding="utf-8")
    for secret in re.findall(r'"(?:session|key)":"([^"]+)"', secrets):
        assert secret not in " ".join(words)
        assert secret not in stage.log.read_text(encoding="utf-8")
        assert secret not in _text(stage.data / "logs" / "open-webui.log")
    assert stat.S_IMODE((own / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert words[-1] == str(stage.beside_port)
    assert "127.0.0.1" in words


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("file", ["ansambl.log", "requests.log"])
def test_what_was_asked_stands_in_no_log(stage: Stage, file: str) -> None:
    assert "foghorn" not in _text(stage.data / "logs" / file)
