"""``cache_salt``: what a request is given so that its KV is shared only with requests of the same salt.

vLLM has the field in its chat, completion and response requests since 0.9 (it must not be empty, and its version-0
engine refuses it), SGLang since 0.5.3, where it becomes a part of the key of its prefix tree.
"""

from __future__ import annotations

import json


def with_cache_salt(body: bytes, salt: str) -> bytes:
    """Ours comes last, so that it counts when the client wrote one too."""
    return b'%b,"cache_salt":%b}' % (body[: body.rindex(b"}")], json.dumps(salt).encode())
