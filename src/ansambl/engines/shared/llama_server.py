"""The bundled llama.cpp as a program of its own; the only module that knows the ``xllamacpp`` wheel.

Run as ``python -m ansambl.engines.shared.llama_server PARAMETERS`` where PARAMETERS is a JSON object (`Parameters`);
the API key comes in the environment variable ``ANSAMBL_ENGINE_KEY``. It is a process so that a crash of the engine
never takes the gateway down, and it outlives its parent on purpose: the next Ansambl adopts it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, TypedDict

from ansambl.domain.engine import KEY_VARIABLE
from ansambl.foundation.network import bound_socket

EXIT_MODEL, EXIT_PORT, EXIT_NO_WHEEL, EXIT_PARAMETERS = 81, 82, 83, 84
"""Exit codes: the model cannot be loaded, the port is taken, the wheel cannot be imported, bad parameters."""

_STOP = {signal.SIGTERM, signal.SIGINT}
# 4 is where the load of a model is told part by part (weights, KV cache, compute buffers); no message text is logged.
_VERBOSITY = 4


class _MayBeLeftOut(TypedDict, total=False):
    loras: list[str]


class Parameters(_MayBeLeftOut):
    """What the program is told.

    `context` is in tokens per slot; `options` are names and values of `CommonParams`, a dot for what lies inside, an
    enumeration by the name of its value; `loras` are files of LoRA adapters, which no request uses unasked.
    """

    checkpoint: str
    model: str
    host: str
    port: int
    context: int
    parallel: int
    threads: int | None
    prompt_cache_mib: int
    options: dict[str, Any]


def _fail(code: int, words: str) -> int:
    print(f"ansambl: error: {words}", flush=True)  # noqa: T201 - standard output is this program's log
    return code


def _can_bind(host: str, port: int) -> bool:
    try:
        bound_socket(host, port).close()
    except OSError:
        return False
    return True


def _set(target: Any, name: str, value: Any) -> None:
    """Set one option; the type of what stands there says how `value` is meant."""
    *path, last = name.split(".")
    for step in path:
        target = getattr(target, step)
    current = getattr(target, last)
    if isinstance(value, list) and isinstance(current, list):
        value = [*value, *current[len(value) :]]
    elif isinstance(value, str) and not isinstance(current, str):
        value = getattr(type(current), value)
    setattr(target, last, value)


def _settings(wheel: Any, given: Parameters, key: str) -> Any:
    settings = wheel.CommonParams()
    settings.model.path = given["checkpoint"]
    settings.model_alias = {given["model"]}
    settings.hostnames = [given["host"]]
    settings.port = given["port"]
    # Slots are kept apart so that each has exactly the context that was promised.
    settings.kv_unified = False
    settings.n_parallel = given["parallel"]
    settings.n_ctx = given["context"] * given["parallel"]
    # The wheel's own default lets the cache of finished prompts grow to 8 GiB of RAM.
    settings.cache_ram_mib = given["prompt_cache_mib"]
    # What fits was decided before; its trial load would only cost time.
    settings.fit_params = False
    settings.verbosity = _VERBOSITY
    settings.endpoint_metrics = True
    settings.endpoint_slots = True
    settings.ui = False
    settings.cors_origins = ""
    if key:
        settings.api_keys = [key]
    if given["threads"]:
        settings.cpuparams.n_threads = given["threads"]
        settings.cpuparams_batch.n_threads = given["threads"]
    settings.lora_adapters = [wheel.CommonAdapterLoraInfo(path, 0.0) for path in given.get("loras", ())]
    for name, value in given["options"].items():
        _set(settings, name, value)
    return settings


def serve(given: Parameters, key: str) -> int:
    """Load the model, serve it until SIGTERM or SIGINT, and return the exit code."""
    # Before the engine makes its threads: they inherit the mask, and the default action would end us in mid-sentence.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # What it saves of a slot is somebody's conversation.
    os.umask(0o077)
    host, port = given["host"], given["port"]
    if not _can_bind(host, port):
        return _fail(EXIT_PORT, f"port {port} is taken")
    try:
        import xllamacpp
    except ImportError as failure:
        return _fail(EXIT_NO_WHEEL, f"the xllamacpp package cannot be imported: {failure}")
    try:
        settings = _settings(xllamacpp, given, key)
    except (AttributeError, TypeError, ValueError, AssertionError, OverflowError) as failure:
        return _fail(EXIT_PARAMETERS, f"bad parameters: {failure}")
    try:
        server = xllamacpp.Server(settings)
    except (RuntimeError, ValueError) as failure:
        if not _can_bind(host, port):
            return _fail(EXIT_PORT, f"port {port} is taken")
        return _fail(EXIT_MODEL, f"the model cannot be loaded: {failure}")
    print(f"ansambl: ready on {server.listening_address}", flush=True)  # noqa: T201 - see above
    signal.sigwait(_STOP)
    del server
    return 0


def main(arguments: list[str]) -> int:
    """Read the parameters and serve."""
    try:
        given: Parameters = json.loads(arguments[0])
        missing = Parameters.__required_keys__ - given.keys()
    except (IndexError, ValueError, AttributeError) as failure:
        return _fail(EXIT_PARAMETERS, f"bad parameters: {failure}")
    if missing:
        return _fail(EXIT_PARAMETERS, f"bad parameters: {', '.join(sorted(missing))} missing")
    # Out of the environment at once, so that nothing that the engine starts inherits it.
    return serve(given, os.environ.pop(KEY_VARIABLE, ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
