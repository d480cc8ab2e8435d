"""Why llama.cpp ended, where it speaks of what only llama.cpp has: LoRA adapters, values of its flags."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.text import text
from ansambl.engines.shared import exits

_LORA = re.compile(r"failed to load lora adapter '(?P<path>.*)'")
_LORA_WORDS = re.compile(
    r"llama_adapter_lora_init\w*: (?:failed to apply lora adapter: )?(?P<words>.*(?:failed|does not|incorrect|mismatch|"
    r"expect|invalid|missing|unexpected|not within|not transposed).*)"
)
_FLAG = re.compile(r'error while handling argument "(?P<flag>[^"]+)": (?P<words>.*)')

_NO_NUMBER = frozenset({"stoi", "stof", "stol", "stoul"})
"""What it says of a value that is no number: the name of the function that refused it."""


def explain_exit(code: int | None, tail: Sequence[str], engine: str) -> ExitExplanation:
    """Why a llama.cpp titled `engine` ended: its own words first, then what every engine can die of."""
    if code is None or code > 0:
        for line in reversed(tail):
            lora, flag = _LORA.search(line), _FLAG.search(line)
            if lora:
                return _lora(tail, lora["path"], engine)
            if flag:
                words = "not a number" if flag["words"] in _NO_NUMBER else flag["words"]
                return exits.explain(ExitReason.BAD_FLAG, engine, f"{flag['flag']}: {words}"[:240])
    return exits.explain_exit(code, tail, engine)


def _lora(tail: Sequence[str], path: str, engine: str) -> ExitExplanation:
    found = [match["words"] for line in tail if (match := _LORA_WORDS.search(line))]
    words = (found or ["-"])[-1][:240]
    if "No such file" in words:
        reason = ExitReason.CHECKPOINT_MISSING
    elif "file bounds" in words or "failed to load lora adapter from file" in words:
        reason = ExitReason.CHECKPOINT_DAMAGED
    else:
        reason = ExitReason.UNSUPPORTED_MODEL
    return ExitExplanation(
        reason,
        text("{engine} cannot load the LoRA adapter {path} ({words}); add the right one again, or remove it with: "
             "ansambl lora remove", engine=engine, path=path, words=words), restart_helps=False,
    )  # fmt: skip
