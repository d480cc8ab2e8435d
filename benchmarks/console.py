"""How soon the console's pages can be used, how many bytes they take, and what an open one costs while nothing happens.

Real Chromium opens every page on loopback, first with an empty cache, then again. A page can be used when its script
has said so (``data-ready``); the time runs from the beginning of the navigation. The reference is a page without
scripts and styles from the same server, measured in the same run, so the browser's and the machine's own share can be
seen. Bytes are those that travelled, packed, without headers: of each page with all that it brings along for somebody
who comes for the first time, and of all pages together, each file counted once. CPU is the server's own user and system
time while event streams are open. Prints tables; asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ansambl.console.pages import PAGES
from support.comparison import Compared, Figure, Promise, comparison
from support.figures import Spread, spread
from support.processes import BenchmarkError, CpuClock, clean_up, start_ansambl, start_upstream, stop

READY_MS, BYTES_KB, CPU_PERCENT = 300, 150, 1
"""What is promised."""
CONSOLES = (0, 1, 10)
LIMIT_MS = 30_000
ARGUMENTS = ("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync")
WATCH_READY = """new MutationObserver(() => {
    if (document.body?.dataset.ready && !window.readyAt) window.readyAt = performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"] })"""
TRAVELLED = """() => performance.getEntriesByType("resource").map((one) => [one.name, one.encodedBodySize])"""
DOCUMENT = """() => performance.getEntriesByType("navigation")[0].encodedBodySize"""
LOADED = """() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd"""
BARE = "/health"
"""A page of plain text."""


class Times:
    """Milliseconds by page, and bytes by file."""

    def __init__(self) -> None:
        self.first: defaultdict[str, list[float]] = defaultdict(list)
        self.later: defaultdict[str, list[float]] = defaultdict(list)
        self.documents: dict[str, int] = {}
        self.files: dict[str, dict[str, int]] = {}


def ready_ms(page: Page, address: str) -> float:
    """Open a page and return when it could be used, in milliseconds after the navigation began."""
    page.goto(address)
    page.wait_for_function("window.readyAt", timeout=LIMIT_MS)
    return float(page.evaluate("window.readyAt"))


def visit(browser: Browser, address: str, token: str, found: Times, *, times: int) -> None:
    """Open every page `times` times with an empty cache, and as often again with what the browser kept."""
    for _ in range(times):
        for one in PAGES:
            with contextlib.closing(signed_in(browser, address, token)) as context:
                page = context.new_page()
                page.add_init_script(WATCH_READY)
                found.first[one.key].append(ready_ms(page, address + one.path))
                travelled = {name: size for name, size in page.evaluate(TRAVELLED) if "/console/static/" in name}
                found.files[one.key], found.documents[one.key] = travelled, int(page.evaluate(DOCUMENT))
                found.later[one.key].append(ready_ms(page, address + one.path))
                page.goto(address + BARE)
                found.first[BARE].append(float(page.evaluate(LOADED)))
                page.goto(address + BARE)
                found.later[BARE].append(float(page.evaluate(LOADED)))


def signed_in(browser: Browser, address: str, token: str) -> BrowserContext:
    """A browser without a cache that is let in."""
    context = browser.new_context()
    answer = context.request.post(f"{address}/console/session", data={"key": token}, headers={"origin": address})
    if answer.status != 204:
        raise BenchmarkError(f"the console did not let the browser in: {answer.status}")
    return context


def open_stream(port: int, token: str) -> socket.socket:
    """One console that is open: its event stream, from which everything that comes is left to the system's buffers."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"GET /admin/api/events HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n"
    stream.sendall(head.encode())
    if not stream.recv(65536).startswith(b"HTTP/1.1 200"):
        raise BenchmarkError("the event stream was refused")
    return stream


def cpu_percent(pid: int, seconds: float) -> float:
    """Of one core, while nothing is asked."""
    clock, began = CpuClock(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * clock.seconds() / (time.monotonic() - began)


def idle_costs(pid: int, port: int, token: str, *, seconds: float, times: int) -> dict[int, Spread]:
    """What the server spends in percent of a core, by how many consoles are open."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for _ in range(times):
        for count in CONSOLES:
            with contextlib.ExitStack() as stack:
                for _each in range(count):
                    stack.enter_context(contextlib.closing(open_stream(port, token)))
                # What was read for the first event of each is over by then.
                time.sleep(2)
                found[count].append(cpu_percent(pid, seconds))
    return {count: spread(values) for count, values in found.items()}


def print_tables(found: Times, idle: dict[int, Spread]) -> None:
    """Print what was measured beside what was promised."""
    promised = (Promise(READY_MS),)
    figures = []
    for title, by_page in (("first visit", found.first), ("again", found.later)):
        bare = spread(by_page[BARE])
        figures += [
            Figure(f"{one.key}, {title}", "ms", spread(by_page[one.key]), bare, promises=promised) for one in PAGES
        ]
    figures += weights(found)
    for count in CONSOLES[1:]:
        limit = (Promise(CPU_PERCENT, Compared.ITSELF),) if count == 1 else ()
        figures.append(Figure(f"CPU with {count} open, idle", "%", idle[count], idle[0], promises=limit))
    print(comparison(figures, "Ansambl", "bare page / none open", "-"))


def weights(found: Times) -> list[Figure]:
    """Bytes as they travel, packed: of each page with all that it brings along, and of all pages together."""
    promised = (Promise(BYTES_KB),)
    figures = []
    for one in PAGES:
        document = found.documents[one.key]
        whole = exactly((document + sum(found.files[one.key].values())) / 1000)
        figures += [
            Figure(f"{one.key}: the page itself", "kB", exactly(document / 1000)),
            Figure(f"{one.key}: with its files, nothing kept", "kB", whole, promises=promised),
        ]
    every = sum({name: size for files in found.files.values() for name, size in files.items()}.values())
    documents = sum(found.documents.values())
    figures += [
        Figure("scripts, styles and pictures of all pages", "kB", exactly(every / 1000), promises=promised),
        Figure("all pages themselves", "kB", exactly(documents / 1000)),
        Figure("both: every page opened once", "kB", exactly((every + documents) / 1000)),
    ]
    return figures


def exactly(value: float) -> Spread:
    """A figure that does not vary."""
    return Spread(value, value, value)


def measure(folder: Path, options: argparse.Namespace) -> tuple[Times, dict[int, Spread]]:
    """Start Ansambl before a fixed upstream, and measure.

    Raises:
        BenchmarkError: something did not start, or refused.
    """
    upstream_pid, upstream = start_upstream(folder)
    data = folder / "data"
    data.mkdir()
    config = f'[models.fixed]\naddress = "http://127.0.0.1:{upstream}/v1"\nname = "fixed"\n'
    pid, port = start_ansambl(config, data)
    address, token = f"http://127.0.0.1:{port}", token_of(data)
    found = Times()
    with sync_playwright() as playwright:
        as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM_PATH") or shutil.which("chromium"), args=[*ARGUMENTS, *as_root]
        )
        # The first of all pages is made with parts that are loaded then; nobody's figure is that alone.
        visit(browser, address, token, Times(), times=1)
        visit(browser, address, token, found, times=options.times)
        browser.close()
    idle = idle_costs(pid, port, token, seconds=options.seconds, times=max(1, options.times // 2))
    stop(pid)
    stop(upstream_pid)
    return found, idle


def token_of(data: Path) -> str:
    """The admin token of the run."""
    found: dict[str, Any] = json.loads(next(data.rglob("state.json")).read_text(encoding="utf-8"))
    return str(found["token"])


def main() -> int:
    """Measure and print; 1 where something could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="how often each page is opened, each way")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long the idle server is watched, each time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ansambl-bench-") as folder, clean_up():
        try:
            print_tables(*measure(Path(folder), options))
        except BenchmarkError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
