"""Why an engine's process ended, from its exit code and its last words; what llama.cpp says is known here too."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence

from ansambl.domain.engine import ExitExplanation, ExitReason, LogFacts
from ansambl.domain.text import Text, text
from ansambl.domain.units import GIB, MIB, Bytes, format_bytes

_MAX_QUOTE = 240
_READ = 200
"""Lines of a log's end that are read."""
_NOT_FOUND = 127
"""What a shell ends with when there is no such program."""

# First match in this order wins; each was provoked on the real engine where tests/data/engines has a file for it.
_WORDS: tuple[tuple[ExitReason, re.Pattern[str]], ...] = tuple(
    (reason, re.compile("|".join(patterns), re.IGNORECASE))
    for reason, patterns in (
        (ExitReason.PORT_TAKEN, (
            r"couldn't bind HTTP server socket", r"address already in use", r"port \d+ is taken",
        )),
        (ExitReason.CHECKPOINT_MISSING, (
            r"failed to open GGUF file.*No such file", r"no such file or directory.*(?:gguf|safetensors)",
        )),
        (ExitReason.UNSUPPORTED_MODEL, (
            r"unknown model architecture", r"unknown pre-tokenizer", r"unsupported model architecture",
            r"architectures? .* (?:is|are) not supported", r"wrong number of tensors",
            r"unknown (?:quantization|ggml) type", r"invalid ggml type",
        )),
        (ExitReason.CHECKPOINT_DAMAGED, (
            r"not within the file bounds", r"corrupted or incomplete", r"invalid magic", r"has invalid data",
            r"failed to read (?:magic|header|key-value|tensor)", r"unexpectedly reached end of file",
            r"header too small", r"SafetensorError", r"gguf_init_from",
        )),
        (ExitReason.BAD_FLAG, (
            r"error: (?:invalid|unknown) argument", r"unrecognized arguments", r"no such option", r"bad parameters",
            r"requires flash_attn to be enabled",
        )),
        (ExitReason.OUT_OF_MEMORY, (
            r"out of memory", r"outofmemory", r"cudaMalloc failed", r"insufficient memory",
            r"cannot allocate memory", r"std::bad_alloc",
            r"failed to (?:allocate|create context|initialize the context)", r"ErrorOutOfDeviceMemory",
        )),
        (ExitReason.MISSING_DRIVER, (
            r"CUDA driver version is insufficient", r"no CUDA-capable device", r"libcuda\.so", r"libcudart",
            r"libamdhip64", r"no kernel image is available",
        )),
    )
)  # fmt: skip
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": GIB}
# llama.cpp: ggml.c, ggml-alloc.c, ggml-cuda.cu, ggml-metal.cpp (build 11434; provoked on a processor); last: PyTorch.
_WANTED = tuple(
    (re.compile(pattern), unit)
    for pattern, unit in (
        (r"failed to allocate (?:\S+ )?buffer of size (?P<size>\d+)", 1),
        (r"allocating (?P<size>\d+(?:\.\d+)?) MiB on device \d+: \w+ failed: out of memory", MIB),
        (r"attempted to allocate (?P<size>\d+(?:\.\d+)?) MB", MIB),
        (r"failed to allocate Metal buffer of (?P<size>\d+) bytes", 1),
        (r"you tried to allocate (?P<size>\d+) bytes", 1),
    )
)
_WANTED_AND_FREE = re.compile(
    r"Tried to allocate (?P<wanted>\d+(?:\.\d+)?) (?P<unit>bytes|[KMG]iB).*?(?P<free>\d+(?:\.\d+)?) "
    r"(?P<free_unit>bytes|[KMG]iB) is free"
)
"""torch.cuda.OutOfMemoryError, PyTorch 2.x."""
_TROUBLE = re.compile(r"\b(?:error|failed|fatal|exception|abort|cannot|couldn't)\b| E ", re.IGNORECASE)
_TIME_AND_LEVEL = re.compile(r"^[\d.]+ [EWID] (?:\S+ +\S+: )?")

_BUFFER = re.compile(
    r"(?:(?P<device>[A-Za-z][\w\-]*)\s+)?(?P<what>model|LoRA|KV|RS|compute|output)\s+buffer size\s*=\s*"
    r"(?P<mib>\d+(?:\.\d+)?) MiB"
)  # fmt: skip
_PARTS = {
    "model": "weights", "LoRA": "weights", "KV": "kv_cache", "RS": "kv_cache", "compute": "compute",
    "output": "overhead",
}  # fmt: skip
_CONTEXT = re.compile(r"load_model: .*n_ctx_slot = (?P<context>\d+)")
_CELLS = re.compile(r"llama_context: n_ctx +=  *(?P<cells>\d+)")


def trouble(tail: Sequence[str]) -> str:
    """The newest line that speaks of trouble, without its time stamp; "" when there is none."""
    for line in reversed(tail):
        if _TROUBLE.search(line) and not line.startswith("ansambl: error"):
            return _bare(line)
    return ""


def last_words(tail: Sequence[str]) -> str:
    """The line that most likely says what went wrong: one that speaks of trouble, else simply the last; "" for none."""
    return trouble(tail) or next((_bare(line) for line in reversed(tail) if line.strip()), "")


def _bare(line: str) -> str:
    return _TIME_AND_LEVEL.sub("", line.strip())[:_MAX_QUOTE]


def _reason_of_words(tail: Sequence[str]) -> tuple[ExitReason, str] | None:
    lines = list(tail)[-_READ:]
    for reason, pattern in _WORDS:
        for line in lines:
            if pattern.search(line):
                return reason, _bare(line)
    return None


def _say(reason: ExitReason, engine: str, words: str) -> Text:
    messages: Mapping[ExitReason, Text] = {
        ExitReason.PORT_TAKEN: text("{engine} could not listen: its port is taken by another program", engine=engine),
        ExitReason.UNSUPPORTED_MODEL: text(
            "{engine} does not support this model ({words}); use a newer engine or another checkpoint",
            engine=engine, words=words),
        ExitReason.CHECKPOINT_DAMAGED: text(
            "the checkpoint is damaged or incomplete ({words}); fetch it again", words=words),
        ExitReason.CHECKPOINT_MISSING: text(
            "{engine} cannot find the checkpoint ({words}); give the right path or fetch it again",
            engine=engine, words=words),
        ExitReason.OUT_OF_MEMORY: text(
            "{engine} ran out of memory ({words}); lower context or parallel, or choose a smaller checkpoint",
            engine=engine, words=words),
        ExitReason.MISSING_DRIVER: text(
            "{engine} cannot use the GPU ({words}); install or update the GPU's driver", engine=engine, words=words),
        ExitReason.BAD_FLAG: text(
            "{engine} does not accept its arguments ({words}); correct `arguments` or `command` of this model",
            engine=engine, words=words),
        ExitReason.MISSING_PROGRAM: text(
            "{engine} is not installed ({words}); install it or choose another engine", engine=engine, words=words),
    }  # fmt: skip
    return messages[reason]


_HOPELESS = frozenset({
    ExitReason.UNSUPPORTED_MODEL, ExitReason.CHECKPOINT_DAMAGED, ExitReason.CHECKPOINT_MISSING,
    ExitReason.MISSING_DRIVER, ExitReason.BAD_FLAG, ExitReason.MISSING_PROGRAM, ExitReason.WRONG_CPU,
})  # fmt: skip
"""Reasons that the same start would meet again."""


def missing_memory(tail: Sequence[str]) -> Bytes | None:
    """The memory that an engine could not get, by its own words; None where it does not say.

    Where it says what was free (PyTorch), it is what was missing beyond that; else it is the whole piece that it asked
    for, of which a part may have been free.
    """
    lines = list(tail)[-_READ:]
    for line in lines:
        both = _WANTED_AND_FREE.search(line)
        if both:
            wanted = float(both["wanted"]) * _UNITS[both["unit"]]
            free = float(both["free"]) * _UNITS[both["free_unit"]]
            return Bytes(round(max(0.0, wanted - free))) or None
    # The first pattern gives whole bytes, those after it what is rounded.
    for pattern, unit in _WANTED:
        match = next((found for line in lines if (found := pattern.search(line))), None)
        if match:
            return Bytes(round(float(match["size"]) * unit)) or None
    return None


def out_of_memory(engine: str, words: str, missing: Bytes | None) -> ExitExplanation:
    """The explanation for memory that did not suffice; `missing` is what it could not get, where that is known."""
    if missing is None:
        return explain(ExitReason.OUT_OF_MEMORY, engine, words)
    return ExitExplanation(
        ExitReason.OUT_OF_MEMORY,
        text("{engine} ran out of memory: it could not get {size} ({words}); lower context or parallel, or "
             "choose a smaller checkpoint", engine=engine, size=format_bytes(missing), words=words),
        missing=missing)  # fmt: skip


def explain(reason: ExitReason, engine: str, words: str) -> ExitExplanation:
    """The explanation for a reason that is known otherwise (a special exit code, a program that does not exist)."""
    return ExitExplanation(reason, _say(reason, engine, words), restart_helps=reason not in _HOPELESS)


def explain_exit(code: int | None, tail: Sequence[str], engine: str) -> ExitExplanation:
    """Why a process of the engine titled `engine` ended. `code` is negative for a signal, None when unknown."""
    if code in (-signal.SIGILL, 128 + signal.SIGILL):
        return ExitExplanation(
            ExitReason.WRONG_CPU,
            text("{engine} was built for another processor (illegal instruction); install a build for this one",
                 engine=engine), restart_helps=False)  # fmt: skip
    if code in (0, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM):
        return ExitExplanation(ExitReason.STOPPED, text("{engine} was stopped", engine=engine))
    known = _reason_of_words(tail)
    if known and known[0] is ExitReason.OUT_OF_MEMORY:
        return out_of_memory(engine, known[1], missing_memory(tail))
    if known:
        return explain(known[0], engine, known[1])
    if code == _NOT_FOUND:
        return explain(ExitReason.MISSING_PROGRAM, engine, last_words(tail))
    return _explain_by_code(code, engine, tail)


def _explain_by_code(code: int | None, engine: str, tail: Sequence[str]) -> ExitExplanation:
    words = last_words(tail) or "-"
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return ExitExplanation(
            ExitReason.KILLED,
            text("{engine} was killed from outside (signal 9), often by the kernel when memory runs out; see the "
                 "system's log (dmesg), or lower context", engine=engine))  # fmt: skip
    if code is None:
        return ExitExplanation(
            ExitReason.UNKNOWN, text("{engine} ended; its last words: {words}", engine=engine, words=words)
        )
    if code < 0 or code in (128 + signal.SIGABRT, 128 + signal.SIGSEGV):
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in {one.value for one in signal.Signals} else str(number)
        complaint = trouble(tail)
        if not complaint:
            return ExitExplanation(ExitReason.CRASHED, text("{engine} crashed ({signal})", engine=engine, signal=name))
        return ExitExplanation(
            ExitReason.CRASHED,
            text("{engine} crashed ({signal}); its last words: {words}", engine=engine, signal=name, words=complaint),
        )
    return ExitExplanation(
        ExitReason.UNKNOWN,
        text("{engine} ended with status {code}; its last words: {words}", engine=engine, code=code, words=words),
    )


def read_llama_log(line: str) -> LogFacts | None:
    """Memory by part and the context of a slot, from one line of llama.cpp's log."""
    buffer = _BUFFER.search(line)
    if buffer:
        size = Bytes(round(float(buffer["mib"]) * MIB))
        return LogFacts(memory={_PARTS[buffer["what"]]: size}, device=buffer["device"])
    context = _CONTEXT.search(line)
    if context:
        return LogFacts(context=int(context["context"]))
    cells = _CELLS.search(line)
    return LogFacts(kv_tokens=int(cells["cells"])) if cells else None
