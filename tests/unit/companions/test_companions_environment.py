"""The environment of Open WebUI: pure, so the whole of it is written down here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansambl.companions.open_webui.environment import SECRET_NAMES, environment_of
from ansambl.companions.open_webui.records import Connection, Wanted
from ansambl.companions.open_webui.watching import launch_spec

CONNECTION = Connection("http://127.0.0.1:8484", "ansambl-secret")


def made(wanted: Wanted | None = None, connection: Connection = CONNECTION) -> dict[str, str]:
    return environment_of(wanted or Wanted(), connection, Path("/data"), "session-secret")


def test_the_whole_environment_of_the_defaults() -> None:
    found = made()
    config = json.loads(found.pop("OPENAI_API_CONFIGS"))
    assert config == {
        "0": {
            "enable": True,
            "provider": "llama.cpp",
            "headers": {
                "X-Task": "{{TASK}}",
                "X-Ansambl-Events": "open-webui",
                "X-OpenWebUI-Chat-Id": "{{CHAT_ID}}",
                "X-OpenWebUI-User-Id": "{{USER_ID}}",
                "X-OpenWebUI-Message-Id": "{{MESSAGE_ID}}",
            },
        }
    }
    assert found == {
        "DATA_DIR": "/data",
        "WEBUI_SECRET_KEY": "session-secret",
        "WEBUI_AUTH": "False",
        "WEBUI_URL": "http://127.0.0.1:8485",
        "CORS_ALLOW_ORIGIN": "http://127.0.0.1:8485;http://localhost:8485;http://[::1]:8485",
        "ENABLE_PERSISTENT_CONFIG": "False",
        "BYPASS_MODEL_ACCESS_CONTROL": "True",
        "PYTHONUNBUFFERED": "1",
        "ENABLE_OLLAMA_API": "False",
        "ENABLE_OPENAI_API": "True",
        "OPENAI_API_BASE_URLS": "http://127.0.0.1:8484/v1",
        "OPENAI_API_KEYS": "ansambl-secret",
        "ENABLE_EVALUATION_ARENA_MODELS": "False",
        "ENABLE_TITLE_GENERATION": "True",
        "ENABLE_TAGS_GENERATION": "True",
        "ENABLE_FOLLOW_UP_GENERATION": "True",
        "ENABLE_AUTOCOMPLETE_GENERATION": "False",
        "ANONYMIZED_TELEMETRY": "False",
        "DO_NOT_TRACK": "true",
        "SCARF_NO_ANALYTICS": "true",
        "ENABLE_VERSION_UPDATE_CHECK": "False",
        "ENABLE_COMMUNITY_SHARING": "False",
        "RAG_EMBEDDING_ENGINE": "openai",
        "RAG_OPENAI_API_BASE_URL": "http://127.0.0.1:8484/v1",
        "RAG_OPENAI_API_KEY": "ansambl-secret",
        "BYPASS_EMBEDDING_AND_RETRIEVAL": "True",
    }


@pytest.mark.parametrize(
    ("host", "sign_in", "signs_in", "origins"),
    [
        ("127.0.0.1", None, "False", "http://127.0.0.1:8485;http://localhost:8485;http://[::1]:8485"),
        ("127.0.0.1", True, "True", "http://127.0.0.1:8485;http://localhost:8485;http://[::1]:8485"),
        ("0.0.0.0", None, "True", "*"),  # noqa: S104 - a setting under test
        ("192.168.1.5", None, "True", "*"),
    ],
)
def test_people_sign_in_where_others_can_reach_it(host: str, sign_in: bool | None, signs_in: str, origins: str) -> None:
    found = made(Wanted(host=host, sign_in=sign_in))
    assert found["WEBUI_AUTH"] == signs_in
    assert found["CORS_ALLOW_ORIGIN"] == origins


def test_a_browser_of_this_machine_opens_what_listens_everywhere_at_loopback() -> None:
    assert Wanted(host="0.0.0.0").address == "http://127.0.0.1:8485"  # noqa: S104 - a setting under test
    assert Wanted(host="::1", port=9).address == "http://[::1]:9"


def test_offline_looks_for_nothing_on_the_network() -> None:
    found = made(connection=Connection("http://127.0.0.1:1", "k", offline=True))
    assert {name: found[name] for name in ("OFFLINE_MODE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")} == {
        "OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
    }  # fmt: skip
    assert "OFFLINE_MODE" not in made()


def test_what_is_switched_off_is_not_asked_for() -> None:
    found = made(Wanted(titles=False, tags=False, follow_ups=False))
    assert [found[f"ENABLE_{one}_GENERATION"] for one in ("TITLE", "TAGS", "FOLLOW_UP")] == ["False"] * 3


def test_models_by_name() -> None:
    found = made(Wanted(task_model="brief", default_model="coder", embedding_model="vectors"))
    # One counts for models that Open WebUI takes for local ones, the other for all others.
    assert found["TASK_MODEL"] == found["TASK_MODEL_EXTERNAL"] == "brief"
    assert found["DEFAULT_MODELS"] == "coder"
    assert found["RAG_EMBEDDING_MODEL"] == "vectors"
    assert "BYPASS_EMBEDDING_AND_RETRIEVAL" not in found


def test_the_slim_build_is_told_that_it_is_slim() -> None:
    assert made(Wanted(build="slim"))["USE_SLIM_DOCKER"] == "true"
    assert "USE_SLIM_DOCKER" not in made()


def test_our_own_certificate_is_not_checked_within_the_machine() -> None:
    assert made(connection=Connection("https://127.0.0.1:1", "k"))["AIOHTTP_CLIENT_SESSION_SSL"] == "False"
    assert "AIOHTTP_CLIENT_SESSION_SSL" not in made()


def test_the_users_own_variables_win() -> None:
    assert made(Wanted(environment={"ENABLE_TAGS_GENERATION": "False", "X": "1"}))["X"] == "1"
    assert made(Wanted(environment={"ENABLE_TAGS_GENERATION": "False"}))["ENABLE_TAGS_GENERATION"] == "False"


def test_no_secret_stands_on_the_command_line_or_is_shown() -> None:
    environment = made()
    spec = launch_spec(Path("/env/bin/python"), Wanted(port=9), environment, Path("/data"))
    secrets = {environment[name] for name in SECRET_NAMES}
    assert secrets == {"session-secret", "ansambl-secret"}
    assert not any(one in word for one in secrets for word in spec.argv)
    assert not any(one in repr(spec) + repr(CONNECTION) for one in secrets)
    assert spec.argv[-4:] == ("--host", "127.0.0.1", "--port", "9")
    assert spec.secret_environment == SECRET_NAMES
