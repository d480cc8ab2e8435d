"""vLLM over HTTP: sleep and wake, LoRA adapters loaded, used and unloaded while it runs.

Followed: entrypoints/serve/dev/sleep, serve/dev/rpc and serve/lora of vLLM 0.32.0, and the answers of its CPU build.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ansambl.domain.lora import LoraAdapter
from ansambl.engines.adapter import EngineCall


class VllmSleep:
    """Level 1 keeps the weights in RAM, level 2 drops them. Both drop the KV cache."""

    levels = (1, 2)

    def sleep(self, level: int) -> EngineCall:
        """Requests that are worked on are ended by it: it is asked when there are none."""
        return EngineCall(f"/sleep?level={level}", {})

    def wake(self, level: int) -> Sequence[EngineCall]:
        """After level 2 the memory of the weights comes first, then they are read from the disk, then the KV cache."""
        if level < 2:
            return (EngineCall("/wake_up", {}),)
        return (
            EngineCall("/wake_up?tags=weights", {}),
            EngineCall("/collective_rpc", {"method": "reload_weights"}),
            EngineCall("/wake_up?tags=kv_cache", {}),
        )

    def ask(self) -> EngineCall:
        """Whether it sleeps."""
        return EngineCall("/is_sleeping", {}, "GET")

    def read_asleep(self, body: bytes) -> bool | None:
        """What it answered."""
        found = _object(body).get("is_sleeping")
        return found if isinstance(found, bool) else None


class VllmLora:
    """Adapters are loaded from PEFT folders; a request chooses one by writing its name in place of the model's.

    Args:
        model: the name under which the model itself is asked for.
        max_rank: the largest rank that it was started for; None where that is not known.
    """

    at_start = False
    can_load = True

    def __init__(self, model: str, max_rank: int | None = None) -> None:
        self._model = model
        self.max_rank = max_rank

    def load(self, lora: LoraAdapter) -> EngineCall:
        """A second time is refused (400) with words that say so."""
        return EngineCall("/v1/load_lora_adapter", {"lora_name": lora.name, "lora_path": lora.files["peft"]})

    def unload(self, lora: LoraAdapter) -> EngineCall:
        """From then on a request that names it is refused (404)."""
        return EngineCall("/v1/unload_lora_adapter", {"lora_name": lora.name})

    def listed(self) -> EngineCall:
        """They are listed with the models."""
        return EngineCall("/v1/models", {}, "GET")

    def read_listed(self, body: bytes) -> frozenset[str] | None:
        """Those that have a parent; the model itself has none."""
        data = _object(body).get("data")
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            return None
        return frozenset(
            one["id"] for one in data if isinstance(one.get("id"), str) and isinstance(one.get("parent"), str)
        )

    def applied(self, body: bytes, path: str, lora: str | None) -> bytes:  # noqa: ARG002 - every path has the field
        """Ours comes last, so that it counts when the client wrote one too; tried on its own parser."""
        name = json.dumps(lora or self._model).encode()
        return b'%b,"model":%b}' % (body[: body.rindex(b"}")], name)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
