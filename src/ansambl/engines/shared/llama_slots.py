"""llama.cpp's slots over HTTP: pinning a request to one, and saving and restoring its state.

Followed: tools/server/README.md of ggml-org/llama.cpp and the answers of the real server (xllamacpp 2026.10.11549): a
prompt of token numbers with ``n_predict`` 0 leaves exactly these tokens in the slot; a restored slot reports all of
them as cached; of two equal keys in a body the last one counts. A slot is erased, as it is saved, only where
``--slot-save-path`` is set (else 501). With ``--cache-ram`` what one slot held comes back in any other that holds
something else; in an empty one, and for a request with ``cache_prompt`` false, it does not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansambl.engines.adapter import EngineCall, PrefilledPrompt, SlotState

_PIN = "id_slot"
_CACHE = frozenset({"--cache-ram", "-cram"})
_STREAM_FIELDS = frozenset({"stream", "stream_options", _PIN})


class LlamaSlots:
    """The calls of a llama-server.

    Args:
        can_copy: it was started with ``--slot-save-path``.
        mixes_slots: its cache of finished prompts (``--cache-ram``) is on.
    """

    def __init__(self, *, can_copy: bool, mixes_slots: bool = False) -> None:
        self.can_copy = can_copy
        self.mixes_slots = mixes_slots

    def pinned(self, body: bytes, slot: int) -> bytes:
        """Ours comes last, so that it counts when the client wrote one too."""
        return b'%b,"id_slot":%d}' % (body[: body.rindex(b"}")], slot)

    def render(self, fields: Mapping[str, Any]) -> EngineCall:
        """The whole request: tools, response format and template arguments are parts of the prompt, too."""
        return EngineCall("/apply-template", {key: one for key, one in fields.items() if key not in _STREAM_FIELDS})

    def read_prompt(self, body: bytes) -> str | None:
        """The rendered template."""
        found = _object(body).get("prompt")
        return found if isinstance(found, str) else None

    def tokenize(self, prompt: str) -> EngineCall:
        """With special tokens added and read, as the chat endpoint does it."""
        return EngineCall("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})

    def read_tokens(self, body: bytes) -> list[int] | None:
        """The token numbers."""
        found = _object(body).get("tokens")
        if not isinstance(found, list) or not all(isinstance(one, int) for one in found):
            return None
        return found

    def prefill(self, tokens: Sequence[int], slot: int) -> EngineCall:
        """A completion of no tokens."""
        return EngineCall("/completion", {"prompt": list(tokens), "n_predict": 0, "cache_prompt": True, _PIN: slot})

    def read_prefilled(self, body: bytes) -> PrefilledPrompt | None:
        """From the timings, which count what was cached apart from what was read."""
        timings = _object(body).get("timings")
        if not isinstance(timings, dict):
            return None
        cached, read = timings.get("cache_n"), timings.get("prompt_n")
        if not isinstance(cached, int) or not isinstance(read, int):
            return None
        return PrefilledPrompt(cached + read, cached)

    def save(self, slot: int, file: str) -> EngineCall:
        """Into the folder that it was started with."""
        return EngineCall(f"/slots/{slot}?action=save", {"filename": file})

    def restore(self, slot: int, file: str) -> EngineCall:
        """Out of the folder that it was started with."""
        return EngineCall(f"/slots/{slot}?action=restore", {"filename": file})

    def erase(self, slot: int) -> EngineCall | None:
        """It needs the folder, too, although it writes nothing there."""
        return EngineCall(f"/slots/{slot}?action=erase", {}) if self.can_copy else None

    def unshared(self, body: bytes) -> bytes:
        """Ours comes last, so that it counts when the client wrote one too."""
        return b'%b,"cache_prompt":false}' % body[: body.rindex(b"}")]

    def read_state(self, body: bytes) -> SlotState | None:
        """Tokens and bytes under the name of what was done."""
        found = _object(body)
        for tokens, size in (("n_saved", "n_written"), ("n_restored", "n_read")):
            if isinstance(found.get(tokens), int) and isinstance(found.get(size), int):
                return SlotState(found[tokens], found[size])
        return None


def mixes_slots(arguments: Sequence[str], *, caches: bool) -> bool:
    """Whether a llama-server's cache of finished prompts is on; `caches` says whether it is without `arguments`.

    They come after ours, so the last one among them counts.
    """
    value = "" if caches else "0"
    for word, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        name, is_joined, joined = word.partition("=")
        if name in _CACHE:
            value = joined if is_joined else following
    return value != "0"


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
