"""What a placement must be for llama.cpp to run it, and its common settings in llama.cpp's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.engines.shared.llama_loras import check_loras


def check_placement(placement: Placement, title: str) -> None:
    """Refuse what llama.cpp, called `title`, cannot run.

    Raises:
        NotSupportedError: the checkpoint is no GGUF file, or the context longer than the model was trained for.
        UsageError: there is no checkpoint, or the placement makes no sense.
    """
    checkpoint = placement.checkpoint
    if checkpoint is None:
        raise UsageError(text("models.{model} has no checkpoint for llama.cpp to run", model=placement.model))
    if checkpoint.format != "gguf":
        raise NotSupportedError(
            text("{engine} runs GGUF files, not {format}; give models.{model}.checkpoint a GGUF file", engine=title,
                 format=checkpoint.format, model=placement.model)
        )  # fmt: skip
    if placement.context < 1 or placement.parallel < 1:
        raise UsageError(text("models.{model}: context and parallel must be at least 1", model=placement.model))
    if checkpoint.context is not None and placement.context > checkpoint.context:
        raise NotSupportedError(
            text("models.{model}.context is {context}, but the model was trained for {trained} tokens; lower it",
                 model=placement.model, context=placement.context, trained=checkpoint.context)
        )  # fmt: skip
    check_loras(placement)


def settings_of(placement: Placement) -> Mapping[str, Any]:
    """The placement's settings, with its threads and its prompt cache where these say nothing of them.

    With LoRA adapters there is no prompt cache: it would give what one adapter read to another.
    """
    common: dict[str, Any] = {"prompt_cache": 0 if placement.loras else placement.prompt_cache}
    if placement.threads is not None:
        common["threads"] = placement.threads
    return {**common, **placement.settings}
