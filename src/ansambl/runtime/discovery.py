"""Finding what already runs here and speaks OpenAI: Ollama, LM Studio, vLLM, SGLang, llama-server, and strangers.

Only loopback addresses are asked, only with GET, and nothing that answers there is trusted: bodies are bounded,
redirects are not followed, and a server counts only when it lists its models as OpenAI does. Which product it is, its
own endpoint tells; the shapes follow the products' documentation (SGLang's: its source, 0.5.23) and are not verified on
the real Ollama, LM Studio, vLLM and SGLang.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansambl.domain.plan import Attachment
from ansambl.foundation.network import is_loopback_address

if TYPE_CHECKING:
    import httpx

OLLAMA, LM_STUDIO, VLLM, SGLANG, LLAMA_SERVER = "Ollama", "LM Studio", "vLLM", "SGLang", "llama-server"
STRANGER = "an OpenAI-compatible server"
"""The title of a server that lists models and is none of the products that we know."""

_BODY_LIMIT = 4 * 2**20
_MODELS_LIMIT = 1000
_NOT_CHAT = re.compile(r"embed|rerank|whisper|minilm|(^|[^a-z0-9])(bge|e5|tts|clip)([^a-z0-9]|$)", re.IGNORECASE)
_NOT_CHAT_KINDS = frozenset({"embedding", "embeddings", "rerank", "reranker"})
_PARAMETERS = re.compile(r"(?<![a-z0-9.])(?:(\d{1,3})x)?(\d{1,4}(?:\.\d{1,3})?)([bm])(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address to ask. `product` only says who usually answers there."""

    product: str
    port: int
    host: str = "127.0.0.1"


DEFAULT = (
    Candidate(OLLAMA, 11434),
    Candidate(LM_STUDIO, 1234),
    Candidate(VLLM, 8000),
    Candidate(LLAMA_SERVER, 8080),
    Candidate(SGLANG, 30000),
)
"""The ports that the products use when nobody chose another."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that a found server offers.

    `loaded` is None where the server does not tell. `kind` is the server's word (``"llm"``, ``"vlm"``), None when it
    has none. `parameters` counts billions, as the server or else the name says.
    """

    name: str
    loaded: bool | None = None
    kind: str | None = None
    parameters: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A server that answers: its title, its address (ends with ``/v1``), its chat models, its version if it tells."""

    server: str
    address: str
    models: tuple[FoundModel, ...]
    version: str | None = None


async def discover(
    *,
    candidates: Sequence[Candidate] = DEFAULT,
    timeout: float = 0.7,  # noqa: ASYNC109 - bounds each single request, which the caller cannot
    exclude_ports: Iterable[int] = (),
) -> list[Found]:
    """Ask all candidates at once; never raises, and takes at most twice `timeout` seconds.

    ``OLLAMA_HOST`` moves Ollama's default address when it names a loopback address. `exclude_ports` are ours.
    """
    if candidates is DEFAULT:
        candidates = with_ollama_host(DEFAULT, os.environ.get("OLLAMA_HOST"))
    excluded = frozenset(exclude_ports)
    wanted = [one for one in candidates if one.port not in excluded and is_loopback_address(one.host)]
    if not wanted:
        return []
    import httpx

    # trust_env: a proxy of the environment must never be asked about our own loopback.
    async with httpx.AsyncClient(trust_env=False, headers={"Accept-Encoding": "identity"}) as client:
        found = await asyncio.gather(*(_ask_candidate(client, one, timeout) for one in wanted))
    return [one for one in found if one is not None]


def choose(found: Sequence[Found]) -> Attachment | None:
    """The best model to offer: a loaded one before others, then the largest; None when no chat model was found."""
    offers = [(server, model) for server in found for model in server.models if is_chat(model)]
    if not offers:
        return None
    rank = {True: 2, None: 1, False: 0}
    server, model = max(offers, key=lambda one: (rank[one[1].loaded], one[1].parameters or 0.0))
    return Attachment(model=short_name(model.name), address=server.address, name=model.name, server=server.server)


def is_chat(model: FoundModel) -> bool:
    """Whether a model can chat, as far as its kind and name tell; embedding and rerank models cannot."""
    return (model.kind or "").lower() not in _NOT_CHAT_KINDS and not _NOT_CHAT.search(model.name)


def short_name(name: str) -> str:
    """A name for people: the last part of a path or repository, without ``.gguf`` and ``:latest``."""
    last = re.split(r"[/\\]", name.strip().rstrip("/\\"))[-1]
    return last.removesuffix(".gguf").removesuffix(":latest") or name


def parameters_of(name: str) -> float | None:
    """Billions of parameters that a name tells: ``qwen3-30b-a3b`` is 30 (a3b are the active ones), ``8x7b`` is 56."""
    match = _PARAMETERS.search(name)
    if not match:
        return None
    return int(match[1] or 1) * float(match[2]) * (1.0 if match[3].lower() == "b" else 0.001)


def with_ollama_host(candidates: Sequence[Candidate], value: str | None) -> tuple[Candidate, ...]:
    """`candidates` with Ollama's address replaced by what ``OLLAMA_HOST`` says, if that is a loopback address."""
    match = re.fullmatch(
        r"(?:http://)?(\[[0-9a-fA-F:]+\]|[^:/\[\]]*)(?::(\d{1,5}))?/?", (value or "").strip().strip("\"'")
    )
    if not value or not match:
        return tuple(candidates)
    host = match[1].strip("[]") or "127.0.0.1"
    host = "127.0.0.1" if host.lower() == "localhost" else host
    port = int(match[2] or 11434)
    if not is_loopback_address(host) or not 0 < port < 65536:
        return tuple(candidates)
    return tuple(replace(one, host=host, port=port) if one.product == OLLAMA else one for one in candidates)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A JSON body of status 200, and the ``Server`` header that it came with."""

    body: Any
    server: str


async def _ask_candidate(client: httpx.AsyncClient, candidate: Candidate, patience: float) -> Found | None:
    host = f"[{candidate.host}]" if ":" in candidate.host else candidate.host
    root = f"http://{host}:{candidate.port}"
    try:
        listing = await _get(client, root + "/v1/models", patience)
        models = _openai_models(listing)
        if listing is None or models is None:
            return None
        names = ("/api/v0/models", "/api/version", "/api/tags", "/api/ps", "/version", "/props")
        answers = await asyncio.gather(*(_get(client, root + name, patience) for name in names))
        told = {name: answer.body if answer else None for name, answer in zip(names, answers, strict=True)}
        for recognise in (_lm_studio, _ollama, _vllm, _sglang, _llama_server):
            found = recognise(models, told, listing)
            if found:
                return _finish(found, root)
        return _finish(Found(STRANGER, "", tuple(FoundModel(name) for name, _ in models)), root)
    except Exception:  # noqa: BLE001 - whatever listens on somebody's port must never keep us from starting
        return None


async def _get(client: httpx.AsyncClient, url: str, patience: float) -> _Answer | None:
    """GET a small JSON document; None for anything else that may happen."""
    import httpx

    try:
        async with asyncio.timeout(patience), client.stream("GET", url, timeout=patience) as response:
            if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
                return None
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _BODY_LIMIT:
                    return None
            return _Answer(json.loads(body), response.headers.get("server", ""))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, RecursionError, TimeoutError):
        return None


_Listed = list[tuple[str, Mapping[str, Any]]]


def _openai_models(answer: _Answer | None) -> _Listed | None:
    """Names and entries of an OpenAI list of models; None when it is not one."""
    body = answer.body if answer else None
    if not isinstance(body, dict) or body.get("object") != "list":
        return None
    # Ollama without any model answers null for the list.
    entries = body.get("data") or []
    if not isinstance(entries, list):
        return None
    return _named(entries, "id")


def _named(entries: Any, key: str) -> _Listed:
    listed = entries if isinstance(entries, list) else []
    return [(one[key], one) for one in listed[:_MODELS_LIMIT] if isinstance(one, dict) and _word(one.get(key))]


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() and len(value) < 500 else None


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _lm_studio(_models: _Listed, told: Mapping[str, Any], _listing: _Answer) -> Found | None:
    entries = _named(_inside(told["/api/v0/models"], "data"), "id")
    if not isinstance(_inside(told["/api/v0/models"], "data"), list) or not all("state" in one for _, one in entries):
        return None
    states = {"loaded": True, "not-loaded": False}
    return Found(
        LM_STUDIO,
        "",
        tuple(FoundModel(name, states.get(str(one["state"])), _word(one.get("type"))) for name, one in entries),
    )


def _ollama(_models: _Listed, told: Mapping[str, Any], _listing: _Answer) -> Found | None:
    version = _word(_inside(told["/api/version"], "version"))
    tags = _inside(told["/api/tags"], "models")
    if version is None or not isinstance(tags, list):
        return None
    running = _inside(told["/api/ps"], "models")
    loaded = {name for name, _ in _named(running, "name")} if isinstance(running, list) else None
    found = []
    for name, one in _named(tags, "name"):
        family = _word(_inside(one, "details", "family")) or ""
        size = _word(_inside(one, "details", "parameter_size"))
        found.append(
            FoundModel(
                name=name,
                loaded=None if loaded is None else name in loaded,
                kind="embedding" if "bert" in family.lower() else None,
                parameters=parameters_of(size) if size else None,
            )
        )
    return Found(OLLAMA, "", tuple(found), version)


def _vllm(models: _Listed, told: Mapping[str, Any], _listing: _Answer) -> Found | None:
    version = _word(_inside(told["/version"], "version"))
    if version is None or not any(one.get("owned_by") == "vllm" for _, one in models):
        return None
    return Found(VLLM, "", tuple(FoundModel(name, loaded=True) for name, _ in models), version)


def _sglang(models: _Listed, _told: Mapping[str, Any], _listing: _Answer) -> Found | None:
    if not any(one.get("owned_by") == "sglang" for _, one in models):
        return None
    # Its LoRA adapters are listed too, each with the model that it belongs to.
    return Found(SGLANG, "", tuple(FoundModel(name, loaded=True) for name, one in models if not one.get("parent")))


def _llama_server(models: _Listed, told: Mapping[str, Any], listing: _Answer) -> Found | None:
    if "llama.cpp" not in listing.server.lower() and not any(one.get("owned_by") == "llamacpp" for _, one in models):
        return None
    found = []
    for name, one in models:
        count = _inside(one, "meta", "n_params")
        # In router mode, one server has many models, and each tells its status.
        status = _inside(one, "status", "value")
        found.append(
            FoundModel(
                name=name,
                loaded=status == "loaded" if isinstance(status, str) else True,
                parameters=count / 1e9 if isinstance(count, int) and 0 < count < 10**14 else None,
            )
        )
    return Found(LLAMA_SERVER, "", tuple(found), _word(_inside(told["/props"], "build_info")))


def _finish(found: Found, root: str) -> Found:
    models = (
        model if model.parameters is not None else replace(model, parameters=parameters_of(model.name))
        for model in found.models
        if is_chat(model)
    )
    return replace(found, address=root + "/v1", models=tuple(models))
