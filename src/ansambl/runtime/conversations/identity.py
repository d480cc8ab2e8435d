"""What must be equal for the state of a slot to be restored into another run of an engine.

Tried on xllamacpp 2026.10.11549: a state fits whatever the context is, as long as its tokens do, and whatever the batch
sizes and the threads are. It is refused by an engine with another number of slots, another KV type or another setting
of flash attention. What refuses nothing and answers wrongly (another build, other weights) can be kept away only here.
"""

from __future__ import annotations

import hashlib
import json

from ansambl.domain.plan import Placement

_NO_MATTER = frozenset({"context", "n_ctx", "threads", "threads_batch", "n_batch", "n_ubatch", "prompt_cache"})
"""Settings under which a state stays what it is."""


def state_identity(placement: Placement) -> str | None:
    """A digest of all that the state of a slot depends on; None where something of it is unknown.

    LoRA adapters are no part of it, because only what the plain model read is kept.
    """
    checkpoint, installed = placement.checkpoint, placement.installed
    if checkpoint is None or installed is None or placement.options.command:
        return None
    parts = [
        checkpoint.identity, placement.engine, installed.version, installed.build, placement.kv_type,
        placement.parallel, placement.mmproj, placement.draft, list(placement.options.arguments),
        sorted((name, repr(value)) for name, value in placement.settings.items() if name not in _NO_MATTER),
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
