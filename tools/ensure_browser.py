"""Makes sure that a Chromium is there for the browser tests; quick and silent when one is.

Looks at CHROMIUM_PATH, then at the system's browsers, then at Playwright's own. When there is none: Debian's package
where we are root on Debian or Ubuntu, else Playwright's download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The path of a Chromium that Playwright can drive; None when there is none."""
    chosen = os.environ.get("CHROMIUM_PATH")
    if chosen:
        return chosen if os.access(chosen, os.X_OK) else None
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    return own_browser()


def own_browser() -> str | None:
    """The Chromium that Playwright downloaded; None when it did not or is not installed."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def is_debian() -> bool:
    """Whether this is Debian, Ubuntu or something made from them."""
    try:
        words = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(line.startswith(("ID=", "ID_LIKE=")) and "debian" in line for line in words.splitlines())


def install_packaged() -> bool:
    """Install Debian's Chromium. Says whether that worked."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    update = ["apt-get", "update", "-qq"]
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"]
    # A stale package list is no reason to give up before the installation was tried.
    subprocess.run(update, env=environment, stdout=subprocess.DEVNULL, check=False)
    done = subprocess.run(install, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        print(done.stderr.decode("utf-8", "replace").strip()[-300:], file=sys.stderr)
    return done.returncode == 0


def install_own() -> bool:
    """Let Playwright download its Chromium. Says whether that worked."""
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def main() -> int:
    """Find a browser, else install one."""
    if find_browser() is not None:
        return 0
    if os.environ.get("CHROMIUM_PATH"):
        print("CHROMIUM_PATH names no program; correct it or unset it", file=sys.stderr)
        return 1
    print("Installing Chromium for the browser tests …")
    packaged = os.geteuid() == 0 and is_debian() and install_packaged()
    if packaged or install_own():
        return 0 if find_browser() is not None else 1
    print("No Chromium could be installed; install one and name it in CHROMIUM_PATH", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
