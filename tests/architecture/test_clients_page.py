"""The page of clients names the versions that make test-clients installs."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ("langchain-anthropic", "langchain-openai", "llm", "ollama")


def test_the_page_of_clients_names_the_versions_that_are_installed():
    page = (ROOT / "docs" / "reference" / "clients.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    locked = (ROOT / "requirements" / "clients.txt").read_text(encoding="utf-8")
    wanted = {name: re.search(rf"^{name}==(\S+)", locked, re.MULTILINE)[1] for name in PYTHON}
    dev = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    wanted |= {
        f"{name} (Python)": re.search(rf"^{name}==(\S+)", dev, re.MULTILINE)[1] for name in ("anthropic", "openai")
    }
    packages = json.loads((ROOT / "tests" / "clients" / "node" / "package.json").read_text(encoding="utf-8"))
    # A library that the scripts use; it asks nobody for anything.
    wanted |= {name: version for name, version in packages["dependencies"].items() if name != "zod"}
    missing = {
        name: version
        for name, version in wanted.items()
        if not any(name.split()[0].lower() in row.lower() and version in row for row in rows)
    }
    assert not missing


def test_the_locks_of_clients_name_no_address_of_a_package_index():
    lock = (ROOT / "tests" / "clients" / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "://" not in (ROOT / "requirements" / "clients.txt").read_text(encoding="utf-8")
