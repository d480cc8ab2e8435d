"""Takes the README's pictures of the console from a real run: ``make screenshots`` writes docs/assets/console-*.png.

What they show is real: the embedded model answers, the documents are found, the plan is solved. A run differs from
another in its figures and in what the small model says.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
for folder in ("tests/support", "tests/browser"):
    sys.path.insert(0, str(ROOT / folder))

from console_stage import seed  # noqa: E402
from product import Started, environment, make_data_folder, start_product  # noqa: E402

from ansambl.model_catalog import embedded  # noqa: E402
from conftest import ARGUMENTS, find_chromium  # noqa: E402 - found by the line above

ASSETS = ROOT / "docs" / "assets"
MODELS = ROOT / ".build" / "models"
WIDTH, HEIGHT = 1280, 860
LARGEST = 200_000
"""Bytes of one picture."""
COLOURS = (256, 128, 64, 32)
PATIENCE = 120_000
"""Milliseconds that an answer or a plan may take."""
PLAN = "/console/plan?machine=rtx-pro-6000-128g&machine=rtx-4090-64g&context=32768&parallel=2&helpers=no"


def overview(page: Page) -> None:
    """What the machine does, from its first page."""
    expect(page.get_by_text("RAM", exact=True).first).to_be_visible(timeout=PATIENCE)


def plan(page: Page) -> None:
    """The three options for a workstation."""
    button = page.get_by_role("button", name="Three options")
    if button.count():
        button.first.click()
    options = page.locator("#options")
    expect(options).not_to_be_empty(timeout=PATIENCE)
    # The options themselves, clear of the bar at the top.
    first = options.locator("article").first
    first.evaluate("one => window.scrollTo(0, one.getBoundingClientRect().top + window.scrollY - 64)")


def chat(page: Page) -> None:
    """Two questions to two roles, side by side."""
    page.locator("#compare").check()
    for name in ("coder", "brief"):
        box = page.locator(f"#chips input[value={name}]")
        if not box.is_checked():
            page.locator("#chips label").get_by_text(name, exact=True).click()
    page.get_by_label("Message", exact=True).fill("How do I reverse a list in Python?")
    page.keyboard.press("Enter")
    done = page.locator("article.answer .figures").filter(has_text="tokens/s")
    expect(done).to_have_count(2, timeout=PATIENCE)
    # A second question: what was said before is in the cache.
    page.get_by_label("Message", exact=True).fill("And a string?")
    page.keyboard.press("Enter")
    expect(done).to_have_count(4, timeout=PATIENCE)


def knowledge(page: Page) -> None:
    """A question to one's own documents."""
    page.get_by_label("What to look for").fill("When must the notice be given?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("four months").first).to_be_visible(timeout=PATIENCE)


PICTURES: dict[str, tuple[str, Callable[[Page], None], str]] = {
    "overview": ("/", overview, "light"),
    "plan": (PLAN, plan, "light"),
    "chat": ("/console/chat", chat, "dark"),
    "knowledge": ("/console/knowledge", knowledge, "light"),
}


def take(context: BrowserContext, address: str, name: str) -> Path:
    """Take one picture, in as many colours as its size allows."""
    path, prepare, colours = PICTURES[name]
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light", reduced_motion="reduce")
    page.goto(address + path)
    expect(page.locator("body")).to_have_attribute("data-ready", "yes", timeout=PATIENCE)
    prepare(page)
    wanted = ASSETS / f"console-{name}.png"
    page.screenshot(path=wanted, animations="disabled")
    page.close()
    with Image.open(wanted) as taken:
        whole = taken.convert("RGB")
    for count in COLOURS:
        whole.quantize(count, dither=Image.Dither.NONE).save(wanted, optimize=True)
        if wanted.stat().st_size <= LARGEST:
            break
    return wanted


def begin(folder: Path) -> Started:
    """A product that somebody lives with."""
    embedded.pull(MODELS, lambda _done, _total: None)
    config = folder / "ansambl.toml"
    config.write_text("", encoding="utf-8")
    data = make_data_folder(folder / "data", MODELS)
    started = start_product(data, config, folder / "up.log", "--offline")
    try:
        seed(started.address, data, folder, environment(data), keys=False)
    except BaseException:
        started.end()
        raise
    return started


def main() -> int:
    """Take all pictures, or those that are named."""
    names = sys.argv[1:] or list(PICTURES)
    with tempfile.TemporaryDirectory(prefix="ansambl-pictures-") as folder, sync_playwright() as playwright:
        started = begin(Path(folder))
        try:
            as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*ARGUMENTS, *as_root])
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB")
            for name in names:
                made = take(context, started.address, name)
                print(f"{made.relative_to(ROOT)}  {made.stat().st_size / 1000:.0f} kB")
            browser.close()
        finally:
            started.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
