"""Arguments of llama-server, mapped to the bundled llama.cpp's parameters; what Ansambl sets itself is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansambl.domain.errors import UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import text

_KV_TYPES = {
    name: f"GGML_TYPE_{name.upper()}"
    for name in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
}
_FLASH_ATTENTION = {
    "on": "LLAMA_FLASH_ATTN_TYPE_ENABLED",
    "off": "LLAMA_FLASH_ATTN_TYPE_DISABLED",
    "auto": "LLAMA_FLASH_ATTN_TYPE_AUTO",
}
_SPLIT_MODES = {name: f"LLAMA_SPLIT_MODE_{name.upper()}" for name in ("none", "layer", "row", "tensor")}
_LOAD_MODES = {
    "auto": "LLAMA_LOAD_MODE_AUTO",
    "mmap": "LLAMA_LOAD_MODE_MMAP",
    "none": "LLAMA_LOAD_MODE_NONE",
    "mlock": "LLAMA_LOAD_MODE_MLOCK",
    "mmap+mlock": "LLAMA_LOAD_MODE_MMAP_MLOCK",
    "dio": "LLAMA_LOAD_MODE_DIRECT_IO",
}
_POOLING = {name: f"LLAMA_POOLING_TYPE_{name.upper()}" for name in ("none", "mean", "cls", "last", "rank")}
_NUMA = {
    name: f"GGML_NUMA_STRATEGY_{name.upper()}" for name in ("disabled", "distribute", "isolate", "numactl", "mirror")
}
_REASONING = {
    "auto": "COMMON_REASONING_FORMAT_AUTO",
    "none": "COMMON_REASONING_FORMAT_NONE",
    "deepseek": "COMMON_REASONING_FORMAT_DEEPSEEK",
    "deepseek-legacy": "COMMON_REASONING_FORMAT_DEEPSEEK_LEGACY",
}


def _layers(value: str) -> int:
    return {"auto": -1, "all": 9999}.get(value) or int(value)


def _numbers(value: str) -> list[float]:
    return [float(part) for part in value.replace("/", ",").split(",")]


@dataclass(frozen=True, slots=True)
class _Flag:
    """`names` are its spellings. `read` turns the word after it into a value; a switch has none and sets `value`.

    `also` are other parameters that it sets.
    """

    names: tuple[str, ...]
    parameter: str
    read: Callable[[str], Any] | None = None
    choices: Mapping[str, str] | None = None
    value: bool = True
    also: Mapping[str, str] = field(default_factory=dict)


_FLAGS = (
    _Flag(("--threads", "-t"), "cpuparams.n_threads", int),
    _Flag(("--threads-batch", "-tb"), "cpuparams_batch.n_threads", int),
    _Flag(("--threads-http",), "n_threads_http", int),
    _Flag(("--poll",), "cpuparams.poll", int),
    _Flag(("--n-gpu-layers", "--gpu-layers", "-ngl"), "n_gpu_layers", _layers),
    _Flag(("--split-mode", "-sm"), "split_mode", choices=_SPLIT_MODES),
    _Flag(("--tensor-split", "-ts"), "tensor_split", _numbers),
    _Flag(("--main-gpu", "-mg"), "main_gpu", int),
    _Flag(("--flash-attn", "-fa"), "flash_attn_type", choices=_FLASH_ATTENTION),
    _Flag(("--cache-type-k", "-ctk"), "cache_type_k", choices=_KV_TYPES),
    _Flag(("--cache-type-v", "-ctv"), "cache_type_v", choices=_KV_TYPES),
    _Flag(("--batch-size", "-b"), "n_batch", int),
    _Flag(("--ubatch-size", "-ub"), "n_ubatch", int),
    _Flag(("--cache-ram", "-cram"), "cache_ram_mib", int),
    _Flag(("--cache-reuse",), "n_cache_reuse", int),
    _Flag(("--ctx-checkpoints", "--swa-checkpoints"), "n_ctx_checkpoints", int),
    _Flag(("--swa-full",), "swa_full"),
    _Flag(("--no-kv-offload", "-nkvo"), "no_kv_offload"),
    _Flag(("--no-warmup",), "warmup", value=False),
    _Flag(("--no-repack", "-nr"), "no_extra_bufts"),
    _Flag(("--check-tensors",), "check_tensors"),
    _Flag(("--load-mode",), "load_mode", choices=_LOAD_MODES),
    _Flag(("--numa",), "numa", choices=_NUMA),
    _Flag(("--rope-freq-base",), "rope_freq_base", float),
    _Flag(("--rope-freq-scale",), "rope_freq_scale", float),
    _Flag(("--jinja",), "use_jinja"),
    _Flag(("--no-jinja",), "use_jinja", value=False),
    _Flag(("--chat-template",), "chat_template", str),
    _Flag(("--reasoning-format",), "reasoning_format", choices=_REASONING),
    _Flag(("--embeddings", "--embedding"), "embedding"),
    _Flag(("--reranking", "--rerank"), "embedding", also={"pooling_type": _POOLING["rank"]}),
    _Flag(("--pooling",), "pooling_type", choices=_POOLING),
    _Flag(("--slot-prompt-similarity", "-sps"), "slot_prompt_similarity", float),
    _Flag(("--sleep-idle-seconds",), "sleep_idle_seconds", int),
    _Flag(("--verbosity", "-lv"), "verbosity", int),
)  # fmt: skip
_BY_NAME = {name: flag for flag in _FLAGS for name in flag.names}

_OURS = {
    "--model": "checkpoint", "-m": "checkpoint",
    "--ctx-size": "context", "-c": "context",
    "--parallel": "parallel", "-np": "parallel",
    "--alias": "aliases", "-a": "aliases",
}  # fmt: skip
_INTERNAL = frozenset(
    {
        "--host",
        "--port",
        "--api-key",
        "--api-key-file",
        "--metrics",
        "--slots",
        "--kv-unified",
        "-kvu",
        "--slot-save-path",
    }
)


def read_flags(arguments: Sequence[str], model: str) -> dict[str, Any]:
    """Turn `arguments` of the model named `model` into parameters of the bundled llama.cpp.

    Raises:
        UsageError: a flag is unknown, has no or a bad value, or is one that Ansambl sets itself.
    """
    options: dict[str, Any] = {}
    words = list(arguments)
    while words:
        name, joined, value = words.pop(0).partition("=")
        flag = _BY_NAME.get(name)
        if flag is None:
            raise _refusal(name, model)
        if flag.read is None and flag.choices is None:
            options |= {flag.parameter: flag.value, **flag.also}
            continue
        if not joined:
            if not words:
                raise UsageError(
                    text("models.{model}.arguments: {flag} needs a value after it", model=model, flag=name)
                )
            value = words.pop(0)
        options[flag.parameter] = _value(flag, name, value, model)
    return options


def _value(flag: _Flag, name: str, value: str, model: str) -> Any:
    if flag.choices is not None:
        if value not in flag.choices:
            raise UsageError(
                text("models.{model}.arguments: {flag} takes one of {choices}, not '{value}'", model=model, flag=name,
                     choices=", ".join(flag.choices), value=value)
            )  # fmt: skip
        return flag.choices[value]
    try:
        return flag.read(value) if flag.read else value
    except ValueError:
        raise UsageError(
            text("models.{model}.arguments: {flag} takes a number, not '{value}'", model=model, flag=name, value=value)
        ) from None


def _refusal(name: str, model: str) -> UsageError:
    if name in _OURS:
        return UsageError(
            text("models.{model}.arguments: {flag} is set by Ansambl; write models.{model}.{key} instead", model=model,
                 flag=name, key=_OURS[name])
        )  # fmt: skip
    if name in _INTERNAL:
        return UsageError(
            text("models.{model}.arguments: {flag} is set by Ansambl itself; leave it out", model=model, flag=name)
        )
    near = nearest_names(name, _BY_NAME, 1)
    if near:
        return UsageError(
            text("models.{model}.arguments: the bundled llama.cpp does not know '{flag}'; did you mean {nearest}?",
                 model=model, flag=name, nearest=near[0])
        )  # fmt: skip
    return UsageError(
        text("models.{model}.arguments: the bundled llama.cpp does not know '{flag}'; docs/reference/engines/"
             "llama.cpp-bundled.md lists what it knows", model=model, flag=name)
    )  # fmt: skip
