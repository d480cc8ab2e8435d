"""Each browser of other makers that this machine has, beside the real product on the real small model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from foreign_browsers import BROWSERS, NotThereError, OtherBrowser
from product import Started, running_product

SCREENSHOTS = Path(__file__).resolve().parents[2] / "test-output" / "screenshots"
VARIABLE = "ANSAMBL_TEST_BROWSERS"
"""Names those that must be there; without it a browser that is missing is skipped by its name."""


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory, embedded_model_folder: Path) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("product")
    with running_product(folder, embedded_model_folder, "", "--offline") as started:
        yield started


@pytest.fixture(scope="module", params=BROWSERS)
def window(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtherBrowser]:
    """One window of the browser for all tests of a module."""
    try:
        opened = BROWSERS[request.param](tmp_path_factory.mktemp(request.param))
    except NotThereError as error:
        if request.param in os.environ.get(VARIABLE, "").split():
            pytest.fail(str(error))
        pytest.skip(str(error))
    yield opened
    opened.close()


@pytest.fixture
def browser(window: OtherBrowser) -> Iterator[OtherBrowser]:
    """The window, of which nothing may go wrong in a test, and whose pages ask nobody but this machine."""
    window.resize(1280, 800)
    window.wrongs()
    window.asked()
    yield window
    assert window.wrongs() == []
    hosts = {urlsplit(one).hostname for one in window.asked() if not one.startswith(("blob:", "data:", "about:"))}
    assert hosts
    assert hosts <= {"127.0.0.1", "localhost"}


@pytest.fixture
def picture(browser: OtherBrowser) -> Callable[[str], None]:
    """Keeps a picture of what the browser shows under a name."""
    return lambda name: browser.picture(SCREENSHOTS / f"{browser.name}-{name}.png")
