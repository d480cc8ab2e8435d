"""The environment that Open WebUI is started with. Pure.

The names are those of its settings (its documentation, "Environment Variable Configuration", and ``open_webui/env.py``
and ``config.py`` of 0.12.4). With ``ENABLE_PERSISTENT_CONFIG=False`` they hold at every start; what people set for
themselves (look, language, own instructions, chats) is kept in its database all the same.
"""

from __future__ import annotations

import json
from pathlib import Path

from ansambl.companions.open_webui.records import Connection, Wanted

SECRET_NAMES = frozenset({"WEBUI_SECRET_KEY", "OPENAI_API_KEYS", "RAG_OPENAI_API_KEY"})
"""The variables whose values nobody may see."""

_HEADERS = {
    "X-Task": "{{TASK}}",
    "X-Ansambl-Events": "open-webui",
    "X-OpenWebUI-Chat-Id": "{{CHAT_ID}}",
    "X-OpenWebUI-User-Id": "{{USER_ID}}",
    "X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}",
}
"""Sent with every request: what by-product of a chat it is, which chat, whose, and that events of its stream are read.

Open WebUI fills the gaps. A user's name and mail address are not sent."""


def environment_of(wanted: Wanted, connection: Connection, data: Path, secret: str) -> dict[str, str]:
    """The variables, in a fixed order.

    Args:
        wanted: the configuration.
        connection: where Ansambl is.
        data: the folder for all that Open WebUI keeps.
        secret: signs its sessions; the same at every start, or everybody would have to sign in again.
    """
    found = {
        "DATA_DIR": str(data),
        "WEBUI_SECRET_KEY": secret,
        "WEBUI_AUTH": _flag(wanted.signs_in),
        "WEBUI_URL": wanted.address,
        "CORS_ALLOW_ORIGIN": _origins(wanted),
        "ENABLE_PERSISTENT_CONFIG": _flag(False),
        # Roles are seen by all who may come in: what each may use is Ansambl's to say.
        "BYPASS_MODEL_ACCESS_CONTROL": _flag(True),
        "PYTHONUNBUFFERED": "1",
    }
    return {
        **found, **_connected(wanted, connection), **_tasks(wanted), **_private(connection.offline),
        **_documents(wanted, connection), **_by_build(wanted.build), **wanted.environment,
    }  # fmt: skip


def _flag(value: bool) -> str:
    return "True" if value else "False"


def _origins(wanted: Wanted) -> str:
    """The pages that may use it. Without a sign-in any page of the web could, were every origin let in."""
    if not wanted.is_local:
        return "*"
    return ";".join(f"http://{host}:{wanted.port}" for host in ("127.0.0.1", "localhost", "[::1]"))


def _connected(wanted: Wanted, connection: Connection) -> dict[str, str]:
    # The provider is what has the green dot and the loading of models, which llama.cpp's router has, and we too.
    config = {"0": {"enable": True, "provider": "llama.cpp", "headers": _HEADERS}}
    found = {
        "ENABLE_OLLAMA_API": _flag(False),
        "ENABLE_OPENAI_API": _flag(True),
        "OPENAI_API_BASE_URLS": f"{connection.address}/v1",
        "OPENAI_API_KEYS": connection.key,
        "OPENAI_API_CONFIGS": json.dumps(config, separators=(",", ":")),
        "ENABLE_EVALUATION_ARENA_MODELS": _flag(False),
    }
    if connection.address.startswith("https:"):
        # Our certificate may be one that this machine alone knows; the connection does not leave the machine.
        found["AIOHTTP_CLIENT_SESSION_SSL"] = _flag(False)
    if wanted.default_model:
        found["DEFAULT_MODELS"] = wanted.default_model
    return found


def _tasks(wanted: Wanted) -> dict[str, str]:
    found = {
        "ENABLE_TITLE_GENERATION": _flag(wanted.titles),
        "ENABLE_TAGS_GENERATION": _flag(wanted.tags),
        "ENABLE_FOLLOW_UP_GENERATION": _flag(wanted.follow_ups),
        "ENABLE_AUTOCOMPLETE_GENERATION": _flag(False),
    }
    if wanted.task_model:
        # The one counts for models that it takes for local ones, the other for all others.
        found |= {"TASK_MODEL": wanted.task_model, "TASK_MODEL_EXTERNAL": wanted.task_model}
    return found


def _private(offline: bool) -> dict[str, str]:
    found = {
        "ANONYMIZED_TELEMETRY": _flag(False),
        "DO_NOT_TRACK": "true",
        "SCARF_NO_ANALYTICS": "true",
        "ENABLE_VERSION_UPDATE_CHECK": _flag(False),
        "ENABLE_COMMUNITY_SHARING": _flag(False),
    }
    if offline:
        found |= {"OFFLINE_MODE": _flag(True), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return found


def _documents(wanted: Wanted, connection: Connection) -> dict[str, str]:
    """What becomes of files put into a chat: vectors of ours, or the whole text; no model is fetched for it."""
    found = {
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_OPENAI_API_BASE_URL": f"{connection.address}/v1",
        "RAG_OPENAI_API_KEY": connection.key,
    }
    if wanted.embedding_model:
        return {**found, "RAG_EMBEDDING_MODEL": wanted.embedding_model}
    return {**found, "BYPASS_EMBEDDING_AND_RETRIEVAL": _flag(True)}


def _by_build(build: str) -> dict[str, str]:
    # Its own name for the mode in which it imports no torch, no chromadb and no speech.
    return {"USE_SLIM_DOCKER": "true"} if build == "slim" else {}
