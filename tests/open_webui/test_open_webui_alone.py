"""Open WebUI asks no other host by itself, also without ``--offline``: where every packet is heard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import open_webui_alone
import pytest

pytestmark = pytest.mark.timeout(1200)


def namespace() -> list[str]:
    """The words that run a command in a network namespace of its own; skips where that is not allowed."""
    words = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs Linux with unshare (util-linux) and ip (iproute2)")
    if subprocess.run([*words, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    return words


def test_start_chat_and_file_ask_nobody_else(installed: Path, embedded_model_folder: Path, tmp_path: Path) -> None:
    support = str(Path(open_webui_alone.__file__).parent)
    done = subprocess.run(
        [*namespace(), sys.executable, open_webui_alone.__file__, tmp_path, embedded_model_folder, installed],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": support},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["outside"] == []
    assert "keeper" in found["models"]
    assert found["answer"].strip()
    assert found["file"] == 200
