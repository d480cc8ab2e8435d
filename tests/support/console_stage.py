"""What a console shows when it is lived with: documents, a role of one's own, keys, answered requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

WAIT = 180.0
"""Seconds that one command or answer may take."""
NOTES = {
    "lease.md": (
        "# Lease of the workshop\n\nThe tenant is Petrov. The rent is paid on the third working day.\n\n"
        "## Notice\n\nThe notice period is four months to the end of a quarter.\n\n"
        "## Deposit\n\nThe deposit is three rents, paid in advance.\n"
    ),
    "maples.md": (
        "# Maples\n\nThe vine maple grows well in deep shade and needs little water in its third year.\n\n"
        "## Pruning\n\nPrune it in late summer, when the sap rests.\n"
    ),
}
QUESTIONS = (
    ("coder", "Write a function that reverses a list."), ("brief", "Why is the sky blue?"),
    ("reasoner", "A train leaves at nine and arrives at noon. How long does it travel?"),
    ("tutor", "What is a prime number?"),
)  # fmt: skip
ROLE = {
    "description": "Explains one thing at a time and asks whether it is clear",
    "instruction": "You explain patiently, one idea at a time, with a small example. End with one short question.",
    "temperature": 0.4, "max_tokens": 120,
}  # fmt: skip
KEYS: tuple[dict[str, object], ...] = (
    {"name": "laptop", "endpoints": ["chat", "embeddings"], "limit": ["60/min", "2000/day"], "tokens": ["1M/day"]},
    {"name": "night jobs", "roles": ["coder", "brief"], "request_class": "batch", "expires": "90d"},
)


def seed(address: str, data: Path, folder: Path, environment: Mapping[str, str], *, keys: bool) -> str:
    """Fill a running Ansambl, as its own commands do; `folder` holds the documents. Returns the run's token."""
    token = str(json.loads((data / "state.json").read_text(encoding="utf-8"))["token"])
    notes = folder / "notes"
    notes.mkdir()
    for name, content in NOTES.items():
        (notes / name).write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "ansambl", "knowledge", "add", str(notes), "--collection", "papers", "--yes"]
    subprocess.run(command, env=dict(environment), check=True, capture_output=True, timeout=WAIT, cwd=folder)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, timeout=WAIT, trust_env=False) as client:
        client.put("/admin/api/roles/tutor", json={"fields": ROLE}).raise_for_status()
        # One conversation, so that each role finds in the cache what those before it have read.
        messages: list[dict[str, str]] = []
        for role, question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            answer = client.post(
                "/v1/chat/completions", json={"model": role, "messages": messages, "max_tokens": 24}
            ).raise_for_status()
            messages.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})
        for key in KEYS if keys else ():
            client.post("/admin/api/keys", json=key).raise_for_status()
    return token
