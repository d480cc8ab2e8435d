"""What vLLM says while it loads and when it ends, read into our records.

Followed: the messages of vLLM 0.32.0 (v1/worker/gpu_worker.py, gpu_model_runner.py, cpu_worker.py, utils.py,
v1/core/kv_cache_utils.py, config/model.py) and of logs of 0.8 to 0.21 that its users published; those of the CPU build
were provoked on the real engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ansambl.domain.engine import ExitExplanation, ExitReason, LogFacts
from ansambl.domain.text import Text, text
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.shared import exits

TITLE = "vLLM"

_LINES = 400
"""A failed start prints the same trace three times: by the worker, by the engine's core and by the API server."""

_CLEAN_ENDS = frozenset({0, -2, -15, 143, -4, 132})
_PREFIX = re.compile(r"^(?:\([\w ]+ pid=\d+\) ?)?(?:(?:INFO|WARNING|ERROR|DEBUG) [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
_FAILURE = re.compile(r"^(?:[\w.]*(?:Error|Exception|Interrupt)|  Value error), ?:? ?\S|^[\w.]*(?:Error|Exception): \S")
_WRAPPED = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|Worker failed with error|validation error for|"
    r"EngineDeadError|EngineCore encountered an issue"
)


def bare(line: str) -> str:
    """A line without the process and the time that vLLM writes before it."""
    return _PREFIX.sub("", line, count=1)


# --- while it loads ---------------------------------------------------------------------------------------------------

_WEIGHTS = re.compile(r"Model loading took (?P<gib>[\d.]+) GiB")
_KV_CACHE = re.compile(r"Available KV cache memory: (?P<gib>[\d.]+) GiB|(?:Explicitly|Auto) set \((?P<cpu>[\d.]+)/")
_KV_TOKENS = re.compile(r"KV cache size: (?P<tokens>[\d,]+) tokens")
_CONTEXT = re.compile(r"Maximum concurrency for (?P<tokens>[\d,]+) tokens per request")
_GRAPHS = re.compile(r"Graph capturing finished in \S+ secs, took (?P<gib>[\d.]+) GiB")
_ACTIVATION = re.compile(r"Actual usage is .*?(?P<gib>[\d.]+) GiB for peak activation")
_NON_TORCH = re.compile(r"(?P<gib>[\d.]+) GiB for non-torch memory")
_FITS = re.compile(r"estimated maximum model length is (?P<tokens>\d+)")


def read_log(line: str) -> LogFacts | None:
    """One line of its log: memory by part (each process tells its own), tokens of the KV cache, what would have fit."""
    memory: dict[str, Bytes] = {}
    for part, pattern in (
        ("weights", _WEIGHTS), ("kv_cache", _KV_CACHE), ("overhead", _GRAPHS), ("compute", _ACTIVATION),
        ("overhead", _NON_TORCH),
    ):  # fmt: skip
        match = pattern.search(line)
        if match:
            size = next(value for value in match.groups() if value is not None)
            memory[part] = Bytes(memory.get(part, 0) + round(float(size) * GIB))
    context, kv_tokens, largest = (
        int(match["tokens"].replace(",", "")) if (match := pattern.search(line)) else None
        for pattern in (_CONTEXT, _KV_TOKENS, _FITS)
    )
    if not memory and context is None and kv_tokens is None and largest is None:
        return None
    return LogFacts(memory=memory, context=context, kv_tokens=kv_tokens, largest_context=largest)


# --- when it ends -----------------------------------------------------------------------------------------------------


def _gib(value: str) -> Bytes:
    return Bytes(round(float(value) * GIB))


def _no_room_for_a_request(match: re.Match[str]) -> ExitExplanation:
    largest = int(match["largest"]) if match["largest"] else None
    needed, available = match["needed"], match["available"]
    if largest is None:
        message = text("vLLM has {available} GiB for its KV cache, and one request of {context} tokens takes {needed} "
                       "GiB; lower context, or give it more memory", available=available, context=match["context"],
                       needed=needed)  # fmt: skip
    else:
        message = text("vLLM has {available} GiB for its KV cache, and one request of {context} tokens takes {needed} "
                       "GiB; set context to {largest} or lower, or give it more memory", available=available,
                       context=match["context"], needed=needed, largest=largest)  # fmt: skip
    missing = Bytes(_gib(needed) - _gib(available)) or None
    return ExitExplanation(
        ExitReason.OUT_OF_MEMORY, message, restart_helps=False, missing=missing, largest_context=largest
    )


def _no_memory_left(_match: re.Match[str]) -> ExitExplanation:
    return ExitExplanation(
        ExitReason.OUT_OF_MEMORY,
        text("vLLM has no memory left for its KV cache beside the weights; raise gpu_memory_utilization, or choose a "
             "smaller checkpoint or a lower context"), restart_helps=False)  # fmt: skip


def _budget_not_free(match: re.Match[str]) -> ExitExplanation:
    free, total, share, wanted = match["free"], match["total"], match["share"], match["wanted"]
    return ExitExplanation(
        ExitReason.OUT_OF_MEMORY,
        text("vLLM wants {wanted} GiB ({share} of the memory), but only {free} of {total} GiB are free; lower "
             "gpu_memory_utilization, or stop what uses the rest", wanted=wanted, share=share, free=free, total=total),
        missing=Bytes(_gib(wanted) - _gib(free)))  # fmt: skip


def _kv_not_free(match: re.Match[str]) -> ExitExplanation:
    free, wanted = match["free"], match["wanted"]
    return ExitExplanation(
        ExitReason.OUT_OF_MEMORY,
        text("vLLM wants {wanted} GiB for its KV cache, but only {free} GiB are free; lower kv_cache_memory_bytes, or "
             "stop what uses the rest", wanted=wanted, free=free),
        missing=Bytes(_gib(wanted) - _gib(free)))  # fmt: skip


def _cuda_allocation(match: re.Match[str]) -> ExitExplanation:
    scale = {"MiB": GIB // 1024, "GiB": GIB, "KiB": GIB // 1024**2, "bytes": 1}
    wanted = round(float(match["wanted"]) * scale[match["wanted_unit"]])
    free = round(float(match["free"]) * scale[match["free_unit"]])
    return ExitExplanation(
        ExitReason.OUT_OF_MEMORY,
        text("vLLM ran out of GPU memory: it wanted {wanted} more, and {free} were free; lower gpu_memory_utilization "
             "or context, or choose a smaller checkpoint",
             wanted=f"{match['wanted']} {match['wanted_unit']}", free=f"{match['free']} {match['free_unit']}"),
        missing=Bytes(max(wanted - free, 0)) or None)  # fmt: skip


def _beyond_training(match: re.Match[str]) -> ExitExplanation:
    trained = int(float(match["trained"]))
    return ExitExplanation(
        ExitReason.BAD_FLAG,
        text("context is {context}, but the model was trained for {trained} tokens; lower it", context=match["context"],
             trained=trained), restart_helps=False, largest_context=trained)  # fmt: skip


def _unknown_architecture(match: re.Match[str]) -> ExitExplanation:
    return _hopeless(
        ExitReason.UNSUPPORTED_MODEL,
        text("vLLM does not know models of the kind {name}; use a newer vLLM, another engine or another checkpoint",
             name=match["name"]))  # fmt: skip


def _unknown_quantization(match: re.Match[str]) -> ExitExplanation:
    return _hopeless(
        ExitReason.UNSUPPORTED_MODEL,
        text("vLLM cannot read the quantization {name} here; take a checkpoint in another one, or another engine",
             name=match["name"]))  # fmt: skip


def _capability(match: re.Match[str]) -> ExitExplanation:
    return _hopeless(
        ExitReason.UNSUPPORTED_MODEL,
        text("vLLM needs a newer GPU for this checkpoint ({words}); take another quantization, or another engine",
             words=match[0][:200]))  # fmt: skip


def _missing_module(match: re.Match[str]) -> ExitExplanation:
    return _hopeless(
        ExitReason.MISSING_PROGRAM,
        text("vLLM's environment lacks {name}; install it anew: ansambl engines remove vllm, then ansambl engines "
             "install vllm", name=match["name"]))  # fmt: skip


def _no_vocabulary(_match: re.Match[str]) -> ExitExplanation:
    return _hopeless(
        ExitReason.CHECKPOINT_MISSING,
        text("vLLM could not fetch the vocabulary that gpt-oss needs; put o200k_base.tiktoken into a folder and name "
             "it in environment as TIKTOKEN_ENCODINGS_BASE"))  # fmt: skip


def _hopeless(reason: ExitReason, message: Text) -> ExitExplanation:
    return ExitExplanation(reason, message, restart_helps=False)


def _plainly(reason: ExitReason) -> Callable[[re.Match[str]], ExitExplanation]:
    return lambda match: exits.explain(reason, TITLE, match[0][:200])


_WORDS: Mapping[re.Pattern[str], Callable[[re.Match[str]], ExitExplanation]] = {
    re.compile(pattern): meaning
    for pattern, meaning in (
        ((r"max seq len \((?P<context>\d+)\), \(?(?P<needed>[\d.]+) GiB KV cache is needed, which is larger than the "
         r"available KV cache memory \((?P<available>[\d.]+) GiB\)"
         r"(?:.*estimated maximum model length is (?P<largest>\d+))?"), _no_room_for_a_request),
        (r"No available memory for the cache blocks", _no_memory_left),
        ((r"\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than (?:desired (?:GPU|CPU) memory "
         r"utilization|the engine's budget[^(]*) ?\((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)"), _budget_not_free),
        ((r"\((?P<free>[\d.]+)/[\d.]+ GiB\) on kv cache allocation is less than requested memory for kv "
         r"\((?P<wanted>[\d.]+)[ /]"), _kv_not_free),
        ((r"out of memory\. Tried to allocate (?P<wanted>[\d.]+) (?P<wanted_unit>[GMK]iB|bytes)\..*?of which "
         r"(?P<free>[\d.]+) (?P<free_unit>[GMK]iB|bytes) is free"), _cuda_allocation),
        ((r"max_model_len \((?P<context>\d+)\) is greater than the derived max_model_len "
         r"\(\w+=(?P<trained>\d+(?:\.\d+)?)"), _beyond_training),
        (r"Model architectures \['?(?P<name>[^]'\"]+)'?.* are not supported", _unknown_architecture),
        (r"has model type `(?P<name>[^`]+)` but Transformers does not recognize", _unknown_architecture),
        (r"Unknown quantization method: (?P<name>\w+)", _unknown_quantization),
        (r"(?P<name>\w+) quantization is currently not supported in", _unknown_quantization),
        (r"The quantization method (?P<name>\w+) is not supported for the current GPU\.[^\n]*", _capability),
        (r"Bfloat16 is only supported on GPUs with compute capability[^\n]*", _capability),
        (r"No package metadata was found for (?P<name>[\w.-]+)", _missing_module),
        (r"No module named '(?P<name>[\w.-]+)'", _missing_module),
        (r"(?:Cannot find any model weights with|Repo id must be in the form|does not appear to have a file named).*",
         _plainly(ExitReason.CHECKPOINT_MISSING)),
        (r"error downloading or loading vocab file", _no_vocabulary),
        (r"Cannot find the config file for \w+", _plainly(ExitReason.UNSUPPORTED_MODEL)),
        ((r"(?:driver on your system is too old|Failed to infer device type|No CUDA GPUs are available|"
         r"Found no NVIDIA driver|No HIP GPUs are available).*"), _plainly(ExitReason.MISSING_DRIVER)),
        (r"error: (?:argument [\w/-]+: .*|unrecognized arguments: .*)", _plainly(ExitReason.BAD_FLAG)),
        (r"Sleep mode is not supported on current platform", _plainly(ExitReason.BAD_FLAG)),
    )
}  # fmt: skip
"""In this order: what tells more comes first."""


def explain_exit(code: int | None, tail: Sequence[str]) -> ExitExplanation:
    """Why it ended: by its own words, else as any process ends, with the failure that began it as its last words."""
    lines = [bare(line) for line in list(tail)[-_LINES:]]
    if code not in _CLEAN_ENDS:
        for pattern, meaning in _WORDS.items():
            for line in lines:
                match = pattern.search(line)
                if match:
                    return meaning(match)
    found = exits.explain_exit(code, lines, TITLE)
    cause = root_cause(lines)
    if found.reason is ExitReason.UNKNOWN and cause:
        return exits.explain_exit(code, [cause], TITLE)
    return found


def root_cause(lines: Sequence[str]) -> str:
    """The last exception that is not merely the echo of another process's; "" for none."""
    return next((line.strip() for line in reversed(lines) if _FAILURE.search(line) and not _WRAPPED.search(line)), "")
