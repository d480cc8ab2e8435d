"""The fake engine's sleep, as vLLM's, and its LoRA adapters, as vLLM's or llama.cpp's, with the traps of the real ones.

* Sleep gives back memory that the fake really holds. After level 2 it answers rubbish until the weights are read again.
* vLLM's adapters are loaded and unloaded, and chosen by the request's ``model``.
* llama.cpp's are there from the start, and chosen by the request's ``lora`` list. A request without a list goes on with
  the adapter that its slot had before: what one adapter read is used for another.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansambl.testing.fake_http import Request

RUBBISH = "!"
_MIB = 2**20

Answer = tuple[int, dict[str, Any] | list[Any]]


class FakeSleep:
    """Sleep and wake of an engine that holds `memory` MiB; without any it has no such calls."""

    def __init__(self, memory: int, script: Mapping[str, str]) -> None:
        self._size = memory * _MIB
        self._script = script
        self._held = self._filled()
        self._damaged = False
        self._level = 0
        self.awake = asyncio.Event()
        self.awake.set()

    @property
    def damaged(self) -> bool:
        """Whether it answers rubbish."""
        return self._damaged

    def answer(self, request: Request) -> Answer | None:
        """The status and body for one of the calls; None for another path."""
        if not self._size:
            return None
        if request.path == "/is_sleeping":
            return 200, {"is_sleeping": not self.awake.is_set()}
        if request.path == "/sleep":
            return self._sleep(2 if "level=2" in request.query else 1)
        if request.path == "/wake_up":
            return self._wake(request.query)
        if request.path == "/collective_rpc":
            self._damaged = "wake-rubbish" in self._script
            return 200, {"results": [None]}
        return None

    def _sleep(self, level: int) -> Answer:
        self.awake.clear()
        self._level = level
        self._damaged = level == 2 or "wake-rubbish" in self._script
        if "sleep-keeps" not in self._script:
            self._held = bytearray()
        return 200, {}

    def _wake(self, query: str) -> Answer:
        if "wake-fails" in self._script:
            return 500, {"error": {"message": "CUDA out of memory", "type": "server_error"}}
        if not self._held:
            self._held = self._filled()
        if query != "tags=weights":
            self.awake.set()
        return 200, {}

    def _filled(self) -> bytearray:
        # Zeros alone would take no memory before they are written to.
        return bytearray(b"\1") * self._size


class FakeLoras:
    """LoRA adapters: `at_start` are llama.cpp's, `loads` tells whether they are loaded while it runs, as vLLM's."""

    def __init__(self, model: str, at_start: Sequence[str], *, loads: bool, slots: int) -> None:
        self._model = model
        self._at_start = tuple(at_start)
        self._loads = loads
        self._loaded: list[str] = []
        self._of_slot: list[str | None] = [None] * slots
        self.calls: list[str] = []

    def models(self) -> list[dict[str, Any]]:
        """The loaded ones, as vLLM lists them."""
        return [{"id": one, "object": "model", "parent": self._model} for one in self._loaded]

    def answer(self, request: Request) -> Answer | None:
        """The status and body for one of the calls; None for another path."""
        if self._at_start and request.path == "/lora-adapters":
            return 200, [
                {"id": number, "path": f"{one}.gguf", "scale": 0.0} for number, one in enumerate(self._at_start)
            ]
        if not self._loads or request.path not in {"/v1/load_lora_adapter", "/v1/unload_lora_adapter"}:
            return None
        name = str(json.loads(request.body)["lora_name"])
        loading = request.path.endswith("/load_lora_adapter")
        if loading == (name in self._loaded):
            return 400, {"error": {"message": f"'{name}' is {'' if loading else 'not '}loaded", "type": "BadRequest"}}
        self.calls.append(f"{'load' if loading else 'unload'} {name}")
        if loading:
            self._loaded.append(name)
        else:
            self._loaded.remove(name)
        return 200, {}

    def unknown(self, body: Mapping[str, Any]) -> bool:
        """Whether a request names a model that vLLM would not know."""
        return self._loads and body.get("model") not in {None, self._model, *self._loaded}

    def asked(self, body: Mapping[str, Any]) -> str | None:
        """The adapter that a request asks for, None for none or for no word about it."""
        if self._loads:
            return body["model"] if body.get("model") in self._loaded else None
        return next((self._at_start[one["id"]] for one in body.get("lora") or () if one.get("scale")), None)

    def begin(self, slot: int, body: Mapping[str, Any]) -> tuple[str | None, bool]:
        """The adapter that answers in `slot`, and whether what the slot holds is of no use for it."""
        if self._at_start and not body.get("lora"):
            # The real trap: nothing is compared, so the slot goes on as it was.
            return self._of_slot[slot], False
        adapter = self.asked(body)
        changed = adapter != self._of_slot[slot]
        self._of_slot[slot] = adapter
        return adapter, changed
