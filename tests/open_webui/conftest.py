"""Open WebUI as ``make test-open-webui`` installs it, beside the real product on the real small model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from open_webui_stage import Stage, make_stage
from playwright.sync_api import Browser, Page, sync_playwright

VARIABLE = "ANSAMBL_TEST_OPEN_WEBUI"
"""Names the data folder into which Open WebUI was installed; without it these tests are skipped."""

SCREENSHOTS = Path(__file__).resolve().parents[2] / "test-output" / "screenshots"
ARGUMENTS = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="session")
def installed() -> Path:
    """The data folder that Open WebUI was installed into."""
    folder = os.environ.get(VARIABLE)
    if folder is None:
        pytest.skip("Open WebUI is not installed for tests; make test-open-webui installs it and runs them")
    return Path(folder)


@pytest.fixture(scope="module")
def stage(installed: Path, embedded_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    found = make_stage(tmp_path_factory.mktemp("stage"), embedded_model_folder, installed)
    found.start()
    yield found
    found.product.end()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One real Chromium for all tests: the system's own, or what Playwright has."""
    own = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=own, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens pages of which no request may leave this machine, and where no script of a name may run."""
    pages: list[Page] = []
    outside: list[str] = []

    def note(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.hostname not in {"127.0.0.1", "localhost"}:
            outside.append(address)

    def open_one(address: str) -> Page:
        context = chromium.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB")
        context.set_default_timeout(30_000)
        context.on("request", lambda one: note(one.url))
        page = context.new_page()
        pages.append(page)
        page.goto(address)
        return page

    yield open_one
    for page in pages:
        assert page.evaluate("window.hacked") is None, "a script in a name or a description was executed"
        page.context.close()
    assert outside == []


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return take
