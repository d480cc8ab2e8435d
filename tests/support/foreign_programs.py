"""Programs of others as children of a test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

LIMIT = 170.0
"""Seconds that one may take."""


async def output_of(*command: str | Path, **more: str) -> str:
    """What a program wrote; it must succeed. It sees no setting of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *command, env={**kept, "NO_PROXY": "127.0.0.1", **more}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, problems = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, problems.decode(errors="replace") + out.decode(errors="replace")
    return out.decode()
