"""Tell whether a running engine was started from an equal launch spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence


def launch_digest(argv: Sequence[str], environment: Mapping[str, str], version: str) -> str:
    """A hash over arguments (the port left out), environment (secrets left out) and the engine's version."""
    content = json.dumps([list(argv), sorted(environment.items()), version], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
