"""Makes sure that bubblewrap is there, in which `ansambl eval` runs the code of answers; quick and silent when it is.

When it is not: Debian's package where we are root on Debian or Ubuntu, else it says what is missing. That is no
failure: without bubblewrap code is not run, and the tests that need it are skipped by name.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys

from ansambl.evaluation.sandbox import INSTALL, Sandbox
from ensure_browser import is_debian


def install() -> bool:
    """Install Debian's package. Says whether that worked."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "bubblewrap"]):
        # A stale package list is no reason to give up before the installation was tried.
        done = subprocess.run(
            ["apt-get", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
    if done.returncode != 0:
        print(done.stderr.decode("utf-8", "replace").strip()[-300:], file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Find bubblewrap, else install it; then try it."""
    if shutil.which("bwrap") is None:
        if os.geteuid() != 0 or not is_debian():
            print(f"bubblewrap is missing: code of answers is not run, its tests are skipped. Install it: {INSTALL}")
            return 0
        print("Installing bubblewrap for the tests that run code …")
        if not install():
            print("bubblewrap could not be installed; the tests that need it are skipped")
            return 0
    problem = asyncio.run(Sandbox().problem())
    if problem is not None:
        print(f"{problem}; the tests that need it are skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
