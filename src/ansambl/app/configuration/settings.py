"""Every setting with its default, its meaning and its bounds.

``docs/reference/configuration.md`` is made from this file. The key paths are a stable interface
(DESIGN section 10). Reading a file, and errors with its lines, is `settings_file`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationInfo, field_validator, model_validator

from ansambl.app.configuration.gateway_settings import GatewaySettings
from ansambl.app.configuration.knowledge_settings import AUTO as ANY_EMBEDDER
from ansambl.app.configuration.knowledge_settings import BUNDLED, MODEL, NONE, KnowledgeSettings
from ansambl.app.configuration.name_checks import check_model, unknown_engine
from ansambl.app.configuration.open_webui_settings import OpenWebuiSettings
from ansambl.app.configuration.role_settings import EnsembleSettings, RoleSettings
from ansambl.app.configuration.setting_types import (
    Duration,
    Name,
    Names,
    Numbers,
    SettingError,
    Size,
    Table,
    Words,
    setting,
)
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes, Seconds
from ansambl.foundation.paths import default_data_folder

EMBEDDED = "embedded"
"""The name of the model that runs when no model is configured, and the checkpoint reference of the embedded model."""

AUTO = "auto"
"""The engine that the checkpoint's format asks for."""

ATTACHED_ENGINE, COMMAND_ENGINE = "openai-compatible", "command"
"""The engines of a model with an address, and of one with a command line of its own."""

BUNDLED_ENGINE = "llama.cpp-bundled"
"""The engine that every installation has, in a process of ours."""

ENGINES_IN_CONTEXT = "engines"
"""The key of the validation context that holds the names of the engines that exist."""

LONGEST_CONTEXT = 16_777_216


class ModelSettings(Table):
    """A model: `checkpoint` runs it here, `address` attaches to where it runs, `command` starts it your own way."""

    checkpoint: str | None = setting(
        None,
        "Path of a model file or folder, a name on the hub that was fetched (owner/name:Q4_K_M), a name of the "
        'catalog, "ollama:NAME" or "lmstudio:PATH" for what these programs have, or "embedded".',
        min_length=1,
    )
    address: str | None = setting(
        None,
        "Where something that speaks OpenAI's API answers already. Nothing is started for it.",
        unit="URL",
    )
    name: str | None = setting(
        None, "The model's name at `address`, or for what `command` starts; the table's own name when left out."
    )
    key: str | None = setting(None, "API key for `address`; better is `key_env`.", repr=False)
    key_env: str | None = setting(None, "The environment variable that holds the API key for `address`.")
    command: str | None = setting(
        None,
        "Command line that starts the engine instead of ours.",
    )
    engine: str = setting(
        AUTO, 'The engine that runs the checkpoint, or what is at the address; "auto" chooses by the checkpoint\'s '
        "format.",
    )  # fmt: skip
    context: int | None = setting(
        None, "The longest conversation that one request may hold.", unit="tokens per request",
        shown_default="what the model was trained for, at most 8192", ge=128, le=LONGEST_CONTEXT,
    )  # fmt: skip
    parallel: int | None = setting(
        None,
        "How many requests are worked on at once.",
        unit="requests",
        shown_default="1; the embedded model 4 where the RAM allows it",
        ge=1,
        le=256,
    )
    pinned: bool = setting(
        False, "Start the model with Ansambl, not at its first request, and never unload it for another one."
    )
    warm: bool = setting(
        False, "Bring the model back by itself whenever there is room for it; other models may still take its place."
    )
    ttl: Duration | None = setting(
        None, "Idle time after which the model's engine is put to sleep where it can, else ended; the next request "
        "brings it back. A pinned model stays.",
        unit='seconds, or text such as "30m"', ge=1,
    )  # fmt: skip
    aliases: Names = setting((), "Other names under which clients may ask for the model.")
    description: str = setting("", "One line about the model for lists.")
    output_limit: int | None = setting(
        None, "The longest answer where neither the client nor the role sets a limit.", unit="tokens", ge=1
    )
    arguments: Words = setting((), "Arguments for the engine beyond those that Ansambl sets, passed on as they are.")
    environment: dict[str, str] = setting({}, "Environment variables for the engine.")
    settings: dict[str, str | int | float | bool] = setting(
        {}, "Settings of the engine by the names that `ansambl fit --set` and `ansambl command --set` use."
    )
    kv_type: str = setting("auto", 'The type of the KV cache, such as "q8_0" or "fp8"; "auto" is 16 bits.')
    gpus: Numbers | None = setting(
        None, "The GPUs to use, counted as the vendor's own tools do; an empty list uses none.",
        shown_default="all that the engine can use",
    )  # fmt: skip
    mmproj: str | None = setting(None, "Path of the projector that lets the model see images (llama.cpp).")
    draft: str | None = setting(None, "Path of a small draft model that guesses ahead.")
    threads: int | None = setting(
        None, "CPU threads of the engine.", unit="threads", shown_default="the engine's table, else the usable cores",
        ge=1, le=1024,
    )  # fmt: skip

    @field_validator("address")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
            plain = not (parts.query or parts.fragment or "@" in parts.netloc)
        except ValueError:
            usable = False
        if not usable:
            raise SettingError(text("'{value}' is not an address; write for example {example}",
                                    value=value, example='"http://127.0.0.1:11434/v1"'))  # fmt: skip
        if not plain:
            raise SettingError(text("an address ends with its path, such as /v1, and holds no user or password; "
                                    "a key goes into 'key' or 'key_env'"))  # fmt: skip
        return value.rstrip("/")

    @field_validator("engine")
    @classmethod
    def _check_engine(cls, value: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get(ENGINES_IN_CONTEXT)
        if value != AUTO and known is not None and value not in known:
            raise SettingError(unknown_engine(value, known))
        return value

    @model_validator(mode="after")
    def _check_whole(self) -> ModelSettings:
        if self.address is None and self.checkpoint is None and self.command is None:
            raise SettingError(text("says neither 'checkpoint' nor 'address' nor 'command'; set one of them"))
        if self.address is not None:
            for key in ("checkpoint", "command", "arguments", "environment", "threads", "settings", "mmproj", "draft"):
                if getattr(self, key):
                    raise SettingError(
                        text(
                            "stands beside 'address', but at an address Ansambl attaches and starts nothing; "
                            "remove one of them"
                        ),
                        key,
                    )
        else:
            for key in ("key", "key_env"):
                if getattr(self, key) is not None:
                    raise SettingError(text("only goes with 'address'; remove it, or set 'address'"), key)
        if self.name is not None and self.checkpoint is not None and self.command is None:
            raise SettingError(text("only goes with 'address' or 'command'; remove it"), "name")
        if self.key is not None and self.key_env is not None:
            raise SettingError(text("stands beside 'key'; keep one of them"), "key_env")
        if self._engine_contradicts():
            raise SettingError(
                text("'{engine}' does not go with this model's other keys; leave 'engine' out", engine=self.engine),
                "engine",
            )
        return self

    def _engine_contradicts(self) -> bool:
        """At an address any engine may answer but those that only ever run here; a command starts what it starts."""
        if self.address is not None:
            return self.engine in (COMMAND_ENGINE, BUNDLED_ENGINE)
        if self.command is not None:
            return self.engine not in (AUTO, COMMAND_ENGINE)
        return self.engine in (ATTACHED_ENGINE, COMMAND_ENGINE)


class EngineSettings(Table):
    """What holds for every model on one engine. The table's name is the engine's, in quotes because of its dot."""

    threads: int | None = setting(
        None, "CPU threads of each instance.", unit="threads", shown_default="the usable cores", ge=1, le=1024
    )
    program: str | None = setting(
        None, "Path of the engine's program (of llama.cpp's llama-server, or the Python of an environment that holds "
        "the engine), where it is not the one that Ansambl installed or finds by itself.", min_length=1,
    )  # fmt: skip
    arguments: Words = setting((), "Arguments for every instance of the engine, before those of the model.")
    environment: dict[str, str] = setting({}, "Environment variables for every instance of the engine.")
    prompt_cache: Size = setting(
        Bytes(512 * MIB), "RAM that each instance may use to keep earlier prompts, so that a return to them costs no "
        "prefill; 0 keeps none.", unit='bytes, or text such as "512MiB"', ge=0,
    )  # fmt: skip


class BudgetSettings(Table):
    """Use less than the machine has."""

    ram: Size | None = setting(
        None, "RAM that all models together may use.", unit='bytes, or text such as "2GiB"', shown_default="all of it",
        ge=MIB,
    )  # fmt: skip
    gpu: Size | None = setting(
        None, "Memory that all models together may use on each GPU.", unit='bytes, or text such as "20GiB"',
        shown_default="all of it", ge=MIB,
    )  # fmt: skip


class SchedulingSettings(Table):
    """Who waits for whom, and when one model makes room for another."""

    queue_limit: int = setting(
        256,
        "Requests that may wait for one model; more are refused with Retry-After.",
        unit="requests",
        ge=1,
        le=100_000,
    )
    longest_wait: Duration = setting(
        Seconds(900.0), "A request that is expected to wait longer than this is refused with Retry-After at once.",
        unit='seconds, or text such as "15m"', ge=1,
    )  # fmt: skip
    longest_answer: Duration = setting(
        Seconds(600.0), "How long one answer may take, for the bound on what others wait; no answer is cut by it.",
        unit='seconds, or text such as "10m"', ge=1,
    )  # fmt: skip
    swap_share: float = setting(
        0.25, "The part of the time that swaps may take while the models in memory are busy: with a smaller one "
        "requests for other models wait longer, and more is answered in all.", ge=0.01, le=1.0,
    )  # fmt: skip
    batch_delay: Duration = setting(
        Seconds(30.0), "A batch request counts as if it had come that much later than an interactive one.",
        unit='seconds, or text such as "30s"', ge=0,
    )  # fmt: skip
    background_patience: Duration = setting(
        Seconds(3600.0), "How long a background request waits for its model to be in memory for another reason.",
        unit='seconds, or text such as "1h"', ge=0,
    )  # fmt: skip
    together: tuple[Names, ...] = setting(
        (), "Sets of models that may be in memory at the same time; a model in no set may be there with any other.",
        strict=False,
    )  # fmt: skip


class TaskSettings(Table):
    """Titles, tags and follow-ups that chat interfaces ask for beside each chat. They never cause a swap."""

    model: str | None = setting(
        None, "The model that answers them, when it is in memory or there is room for it; it is never swapped in.",
        shown_default="any chat model that is in memory",
    )  # fmt: skip
    recognise: bool = setting(
        True, "Recognise them by the shape of Open WebUI's task prompts, too, not only by the header X-Task."
    )
    patience: Duration = setting(
        Seconds(20.0),
        "How long one waits before it gets a built-in reply.",
        unit='seconds, or text such as "20s"',
        ge=0,
    )


class ConversationSettings(Table):
    """Conversations that come back after a swap or a restart without being read again."""

    persist: bool = setting(True, "Keep them on the disk, readable for your user alone; false keeps none.")
    budget: Size = setting(
        Bytes(8 * GIB), "Disk space for them in all; the least valuable go first.",
        unit='bytes, or text such as "8GiB"', ge=0,
    )  # fmt: skip


class RecoverySettings(Table):
    """What is done about engines that fail."""

    silence: Duration = setting(
        Seconds(120.0), "An engine that works on requests and makes no progress for so long is started again.",
        unit='seconds, or text such as "2m"', ge=1,
    )  # fmt: skip


class PromptSettings(Table):
    """What every role's prompt shares. Ansambl adds no prompt of its own beyond what the configuration shows."""

    common_instruction: str = setting("", "Put first in every role's prompt, the same for all of them.")


class DataSettings(Table):
    """Where Ansambl keeps its data."""

    folder: str = setting(
        lambda: str(default_data_folder()),
        "The data folder: database, models, logs. `ANSAMBL_DATA` comes first. Relative to the file's folder.",
        shown_default="the platform's data folder", min_length=1,
    )  # fmt: skip


class Settings(Table):
    """The whole configuration."""

    gateway: GatewaySettings = setting(GatewaySettings, "The address where Ansambl answers.")
    models: dict[Name, ModelSettings] = setting(
        lambda: {EMBEDDED: ModelSettings(checkpoint=EMBEDDED)}, "The models, by name."
    )
    roles: dict[Name, RoleSettings] = setting({}, "The roles, by name, beside those that come with Ansambl.")
    ensembles: dict[Name, EnsembleSettings] = setting({}, "The ensembles, by name.")
    engines: dict[str, EngineSettings] = setting({}, "Settings of engines, by the engine's name.")
    budget: BudgetSettings = setting(BudgetSettings, "Use less than the machine has.")
    scheduling: SchedulingSettings = setting(SchedulingSettings, "Who waits for whom, and when models make room.")
    tasks: TaskSettings = setting(TaskSettings, "Titles, tags and follow-ups of chats.")
    conversations: ConversationSettings = setting(ConversationSettings, "Conversations over swaps and restarts.")
    recovery: RecoverySettings = setting(RecoverySettings, "What is done about engines that fail.")
    prompt: PromptSettings = setting(PromptSettings, "What every role's prompt shares.")
    knowledge: KnowledgeSettings = setting(KnowledgeSettings, "Documents and past conversations that roles read.")
    open_webui: OpenWebuiSettings = setting(OpenWebuiSettings, "Open WebUI beside Ansambl.")
    data: DataSettings = setting(DataSettings, "Where Ansambl keeps its data.")

    @field_validator("models")
    @classmethod
    def _check_models(cls, value: dict[str, ModelSettings]) -> dict[str, ModelSettings]:
        for name in value:
            if "/" in name:
                raise SettingError(text("a model's own name cannot hold '/'; use it in 'aliases' instead"), name)
        return value or {EMBEDDED: ModelSettings(checkpoint=EMBEDDED)}

    @field_validator("scheduling")
    @classmethod
    def _check_together(cls, value: SchedulingSettings, info: ValidationInfo) -> SchedulingSettings:
        for one in dict.fromkeys(name for names in value.together for name in names):
            check_model(one, info, "together")
        return value

    @field_validator("tasks")
    @classmethod
    def _check_task_model(cls, value: TaskSettings, info: ValidationInfo) -> TaskSettings:
        if value.model is not None:
            check_model(value.model, info, "model")
        return value

    @field_validator("knowledge")
    @classmethod
    def _check_knowledge_models(cls, value: KnowledgeSettings, info: ValidationInfo) -> KnowledgeSettings:
        if value.embedder not in {ANY_EMBEDDER, BUNDLED, NONE}:
            check_model(value.embedder, info, "embedder")
        if value.rerank not in {NONE, MODEL}:
            check_model(value.rerank, info, "rerank")
        return value

    @field_validator("roles", "ensembles")
    @classmethod
    def _check_role_names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if "/" in name:
                raise SettingError(text("a name cannot hold '/'; use it in 'aliases' instead"), name)
            if name in {".", ".."}:
                # Browsers and other clients read these in an address as the place itself, and the one above it.
                raise SettingError(text("'.' and '..' cannot be names; use another one"), name)
        return value

    @field_validator("engines", mode="before")
    @classmethod
    def _check_engines(cls, value: Any, info: ValidationInfo) -> Any:
        known = (info.context or {}).get(ENGINES_IN_CONTEXT)
        if known is None or not isinstance(value, dict):
            return value
        for name, table in value.items():
            if name in known and name != AUTO:
                continue
            nested = (
                [f"{name}.{key}" for key, one in table.items() if isinstance(one, dict)]
                if isinstance(table, dict)
                else []
            )
            if nested:
                raise SettingError(text('a name with a dot needs quotes: [engines."{name}"]', name=nested[0]), name)
            raise SettingError(unknown_engine(name, known), name)
        return value
