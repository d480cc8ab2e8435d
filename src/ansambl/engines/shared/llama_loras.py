"""LoRA adapters of a running llama.cpp over HTTP: each request says for every loaded adapter whether it is used.

Followed: tools/server/README.md of ggml-org/llama.cpp, and server-context.cpp and server-common.cpp of build 11434,
tried on the real llama-server of that build and on xllamacpp 2026.10.11549:

* Adapters are read from their files when the model is loaded, and never afterwards.
* A slot drops what it holds when a request names other adapters than the one before. A request that names none is not
  compared: it would go on with the KV cache of the last one's adapter. So every request names all of them.
* The host's cache of finished prompts (``--cache-ram``) knows no adapters: what one adapter read comes back for
  another. It must be off where there are any.
* A request to ``/v1/messages`` loses its list on the way, so none may be sent there.
* ``--lora`` loads adapters that every request without a list then uses, all at once and whatever
  ``--lora-init-without-apply`` says; ``--lora-scaled FILE:0`` loads one that nobody uses unasked.
* Of two equal keys in a body the last one counts.
* An activated adapter needs no second reading of what stands before its invocation: the slot keeps that. Turning back
  to the plain model, or to an ordinary adapter, reads everything again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ansambl.domain.engine import NotUsable
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineCall

FORMAT = "gguf"
"""The only format that llama.cpp reads."""

_CHOOSING = ("/completions", "/completion", "/responses")
_DEAF = "/messages"
# What would give one adapter's reading to another, or change the adapters' numbers.
_AGAINST = frozenset({"--cache-ram", "-cram", "--lora", "--lora-scaled"})


class LlamaLoras:
    """The calls of a llama.cpp that was started with `loras`, in this order: an adapter's number is its place there."""

    at_start = True
    can_load = False
    max_rank: int | None = None

    def __init__(self, loras: Sequence[LoraAdapter]) -> None:
        self._loras = tuple(loras)

    def load(self, lora: LoraAdapter) -> EngineCall:
        """There is no such call.

        Raises:
            NotSupportedError: always.
        """
        raise _only_at_start(lora.name)

    def unload(self, lora: LoraAdapter) -> EngineCall:
        """There is no such call.

        Raises:
            NotSupportedError: always.
        """
        raise _only_at_start(lora.name)

    def listed(self) -> EngineCall:
        """Ask for numbers, paths and scales."""
        return EngineCall("/lora-adapters", {}, "GET")

    def read_listed(self, body: bytes) -> frozenset[str] | None:
        """The names of those that lie at their own number; None when it is no list of adapters."""
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            return None
        paths = {(one.get("id"), one.get("path")) for one in found if isinstance(one.get("id"), int)}
        return frozenset(one.name for number, one in enumerate(self._loras) if (number, one.files.get(FORMAT)) in paths)

    def applied(self, body: bytes, path: str, lora: str | None) -> bytes:
        """Where `path` makes the model speak, a list of all adapters comes last in the body, so that it counts.

        Raises:
            NotSupportedError: the engine was started without that adapter, or hears of none at `path`.
        """
        if lora is not None and all(one.name != lora for one in self._loras):
            raise _only_at_start(lora)
        if not self._loras:
            return body
        if path.endswith(_DEAF):
            raise NotSupportedError(
                text("llama.cpp does not hear of LoRA adapters at {path}; ask at /v1/chat/completions", path=path)
            )
        if not path.endswith(_CHOOSING):
            return body
        scales = [{"id": number, "scale": float(one.name == lora)} for number, one in enumerate(self._loras)]
        return b'%b,"lora":%b}' % (body[: body.rindex(b"}")], json.dumps(scales, separators=(",", ":")).encode())


def lora_calls(placement: Placement) -> LlamaLoras | NotUsable:
    """How the adapters of this placement are used; why not, where llama.cpp cannot read the file of one."""
    for one in placement.loras:
        if FORMAT not in one.files:
            return NotUsable(
                text("llama.cpp reads LoRA adapters as GGUF files, and {lora} has none", lora=one.name),
                text("add it again, and let it be converted: ansambl lora add"),
            )
    return LlamaLoras(placement.loras)


def check_loras(placement: Placement) -> None:
    """Refuse what would go wrong with LoRA adapters on llama.cpp.

    Raises:
        NotSupportedError: one has no GGUF file.
        UsageError: the cache of finished prompts is asked for beside them.
    """
    found = lora_calls(placement)
    if isinstance(found, NotUsable):
        raise NotSupportedError(
            text("models.{model}: {reason}; {fix}", model=placement.model, reason=found.reason, fix=found.how_to_fix)
        )
    if not placement.loras:
        return
    for one in placement.loras:
        if ":" in one.files[FORMAT]:
            raise NotSupportedError(
                text("models.{model}: llama.cpp reads no LoRA adapter from a path with a colon ({path}); move it",
                     model=placement.model, path=one.files[FORMAT])
            )  # fmt: skip
    for word in placement.options.arguments:
        name = word.partition("=")[0]
        if name in _AGAINST:
            raise UsageError(
                text("models.{model}.arguments: {flag} goes wrong beside LoRA adapters that requests choose; leave it "
                     "out", model=placement.model, flag=name)
            )  # fmt: skip


def _only_at_start(name: str) -> NotSupportedError:
    return NotSupportedError(
        text("llama.cpp reads LoRA adapters only when it starts; {lora} is there after the next start", lora=name)
    )
