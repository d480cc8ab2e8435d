"""Nothing in the repository belongs to one machine, one network or one language alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Written in parts, so that this file does not hold what it looks for.
HOSTS = ("py" + "pi.org", "python" + "hosted.org", "test.py" + "pi", "npm" + "js.org", "hugging" + "face.co")
MACHINE_PATHS = re.compile("/ho" + r"me/[a-z][\w.-]*/|/Us" + r"ers/[A-Za-z][\w.-]*/|/ro" + "ot/|/wo" + "rk/")
BINARY = {".mo", ".gguf", ".png", ".gif", ".ico", ".woff2", ".db", ".cast", ".gz", ".npy", ".pdf"}


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git cannot tell which files belong to the project")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in found if path.is_file() and path.suffix not in BINARY]


def lines_with(pattern: re.Pattern[str], folders: tuple[str, ...] = ()) -> list[str]:
    found = []
    for path in tracked_files():
        name = path.relative_to(ROOT).as_posix()
        if folders and not name.startswith(folders):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    return found


def test_no_registry_host_is_written_anywhere() -> None:
    assert lines_with(re.compile("|".join(re.escape(host) for host in HOSTS))) == []


def test_no_path_of_one_machine_is_written_anywhere() -> None:
    # Recordings of other machines under tests/data are what those machines said.
    found = [line for line in lines_with(MACHINE_PATHS) if not line.startswith("tests/data/")]
    assert found == []


def test_every_sentence_is_translated() -> None:
    done = subprocess.run(
        [sys.executable, "tools/locales.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
