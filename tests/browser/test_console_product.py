"""The console on the real product: `ansambl up` as a user starts it, the real engine, the embedded model."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect
from product import Started, alive, environment, family, wait_for

from ansambl.foundation.network import free_port

pytestmark = [pytest.mark.browser, pytest.mark.engine]

ANSWER_LIMIT = 90_000


@pytest.fixture
def product(tmp_path, embedded_model_folder):
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    for file in embedded_model_folder.iterdir():
        try:
            os.link(file, models / file.name)
        except OSError:
            shutil.copy(file, models / file.name)
    config = tmp_path / "ansambl.toml"
    config.write_text("", encoding="utf-8")
    log = tmp_path / "up.log"
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ansambl", "up", "--config", str(config), "--port", str(port), "--offline"],
            env=environment(tmp_path / "data"), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
    started = Started(process, port, tmp_path / "data", log, client)

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"ansambl up ended with {process.returncode}: {started.output}")
        with contextlib.suppress(httpx.HTTPError):
            return client.get("/ready").status_code == 200
        return False

    try:
        wait_for(answers, "/ready of ansambl up", 90)
        yield started
    finally:
        client.close()
        everything = family(process.pid)
        started.stop(signal.SIGTERM)
        wait_for(lambda: not alive(everything), "no process left", 15)


def test_a_stranger_opens_the_console_and_talks_to_the_roles(open_page, product, screenshot):
    watched = open_page(product.address)
    page = watched.page
    expect(page.locator("#state .instance")).to_contain_text("ready")
    expect(page.locator("#state .instance")).to_contain_text("llama.cpp")
    expect(page.locator("#welcome .embedded")).to_contain_text("demonstration")
    expect(page.locator("#chips label")).to_have_text(["coder", "reasoner", "brief", "philosopher", "council"])
    page.locator("#examples button").first.click()
    page.get_by_role("button", name="Send").click()
    answers = page.locator("article.answer")
    expect(answers.nth(0).locator(".figures")).to_contain_text("cached", timeout=ANSWER_LIMIT)
    expect(answers.nth(0).locator(".text").last).not_to_be_empty()

    # The next role goes on with the same conversation, and most of it is not read again.
    page.locator("#chips label", has_text="brief").click()
    page.get_by_label("Message", exact=True).fill("Say it in one sentence.")
    page.keyboard.press("Enter")
    expect(answers.nth(1).locator(".figures")).to_contain_text("cached", timeout=ANSWER_LIMIT)
    expect(answers.nth(1).locator("h2")).to_contain_text("brief")
    cached, prefilled = (
        int("".join(one for one in answers.nth(1).locator(f".{name}").inner_text() if one.isdigit()))
        for name in ("cached", "prefilled")
    )
    assert cached > prefilled
    screenshot(page, "product-light-en")

    # Stop frees the engine: nothing is running on the instance any more.
    page.locator("#chips label", has_text="council").click()
    page.get_by_label("Message", exact=True).fill("Describe the sea at length.")
    page.keyboard.press("Enter")
    expect(answers.nth(2).locator("details.thinking .text")).to_contain_text("coder", timeout=ANSWER_LIMIT)
    page.get_by_role("button", name="Stop").click()
    expect(answers.nth(2)).to_contain_text("Stopped.")
    wait_for(lambda: product.instance()["running"] == 0, "the instance has nothing to do")
