"""The table ``[open_webui]``: how Open WebUI is installed, started and set up beside Ansambl."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationInfo, field_validator

from ansambl.app.configuration.setting_types import SettingError, Table, setting
from ansambl.companions.open_webui.records import LOOPBACK, Wanted
from ansambl.domain.text import text

_RESERVED = ("DATA_DIR", "WEBUI_SECRET_KEY", "WEBUI_AUTH", "OPENAI_API_BASE_URLS", "OPENAI_API_KEYS")


class OpenWebuiSettings(Table):
    """Open WebUI beside Ansambl, a program of others under its own licence; `ansambl up --open-webui` starts it."""

    start: bool = setting(
        False,
        "Start it with every `ansambl up`, as `--open-webui` does once; where it is not installed, only say so.",
    )
    build: Literal["full", "slim"] = setting(
        "full", 'What is installed: "full" with all parts (about 2.9 GB), "slim" without torch, chromadb, speech and '
        "office readers (about 0.8 GB; its makers do not support that as an installation of packages).",
    )  # fmt: skip
    host: str = setting("127.0.0.1", "The address that it listens on.", min_length=1, max_length=255)
    port: int = setting(8485, "The port that it listens on.", ge=1, le=65535)
    sign_in: bool | None = setting(
        None, "Whether people sign in. Without it, whoever reaches the address is its administrator.",
        shown_default="false on loopback, true elsewhere",
    )  # fmt: skip
    titles: bool = setting(True, "Let it ask for a title of each chat; it never swaps a model in.")
    tags: bool = setting(True, "Let it ask for tags of each chat.")
    follow_ups: bool = setting(True, "Let it ask for follow-up questions after each answer.")
    task_model: str | None = setting(
        None, "The role or model that it asks for titles, tags, follow-ups and search queries.",
        shown_default="the chat's own; Ansambl lets any chat model answer that is in memory",
    )  # fmt: skip
    default_model: str | None = setting(None, "The role, ensemble or model that is picked in a new chat.")
    embedding_model: str | None = setting(
        None, "The model of Ansambl that gives vectors for files that people put into its chats (build full).",
        shown_default="none: such a file goes into the prompt as a whole",
    )  # fmt: skip
    environment: dict[str, str] = setting(
        {}, "Environment variables of Open WebUI, by its own names; they win over those that Ansambl sets."
    )

    @field_validator("sign_in")
    @classmethod
    def _check_sign_in(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value is False and info.data.get("host") not in LOOPBACK:
            raise SettingError(
                text("without a sign-in it may listen on loopback alone, or everybody in the network is its "
                     "administrator; leave sign_in out, or host")
            )  # fmt: skip
        return value

    @field_validator("environment")
    @classmethod
    def _check_environment(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            if name in _RESERVED:
                raise SettingError(text("Ansambl sets '{name}' itself; leave it out", name=name), name)
            if not name or "=" in name or "\0" in name + content:
                raise SettingError(text("'{name}' cannot be an environment variable", name=name), name)
        return value

    def wanted(self) -> Wanted:
        """The table as the companion knows it."""
        return Wanted(**self.model_dump(exclude={"start"}))
