"""LoRA adapters: small trained differences that are loaded beside a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """One LoRA adapter for one configured model.

    `files` maps a format to what an engine of that format is given: ``"peft"`` to a folder, ``"gguf"`` to a file; one
    that was added in one format may have the other by conversion. `base` is the model that it says it was trained on.
    `invocation` are the tokens that switch an activated one (aLoRA) on, empty for an ordinary one: what stands before
    them in a prompt is read by the plain model, so that its KV cache is shared. `identity` tells two apart.
    """

    name: str
    model: str
    files: Mapping[str, str]
    rank: int
    size: Bytes
    identity: str
    alpha: float | None = None
    base: str | None = None
    targets: tuple[str, ...] = ()
    invocation: tuple[int, ...] = field(default=())

    @property
    def activated(self) -> bool:
        """Whether it works from its invocation on only, and leaves the KV cache of what stands before it alone."""
        return bool(self.invocation)
