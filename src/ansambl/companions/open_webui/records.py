"""What is wanted of Open WebUI, and how it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ansambl.domain.text import Text

NAME, TITLE = "open-webui", "Open WebUI"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_FOR_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on


@dataclass(frozen=True, slots=True)
class Wanted:
    """The table ``[open_webui]`` of the configuration; None and "" leave a thing to Open WebUI.

    `sign_in` is None where the address decides: nobody signs in on loopback, everybody does elsewhere. `environment`
    are variables for Open WebUI that win over ours.
    """

    build: str = "full"
    host: str = "127.0.0.1"
    port: int = 8485
    sign_in: bool | None = None
    titles: bool = True
    tags: bool = True
    follow_ups: bool = True
    task_model: str | None = None
    default_model: str | None = None
    embedding_model: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine reach it."""
        return self.host in LOOPBACK

    @property
    def signs_in(self) -> bool:
        """Whether people sign in."""
        return not self.is_local if self.sign_in is None else self.sign_in

    @property
    def near_host(self) -> str:
        """The host by which this machine reaches it."""
        return _FOR_ALL.get(self.host, self.host)

    @property
    def address(self) -> str:
        """Where a browser of this machine opens it, without a final slash."""
        host = f"[{self.near_host}]" if ":" in self.near_host else self.near_host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Connection:
    """How Open WebUI reaches Ansambl. `address` is without a final slash; `key` is a secret."""

    address: str
    key: str = field(repr=False)
    offline: bool = False


class State(StrEnum):
    """How Open WebUI stands."""

    INSTALLING = "installing"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot. `restarts` counts its unexpected ends that were followed by another start."""

    address: str
    state: State
    version: str
    build: str
    message: Text | None = None
    pid: int | None = None
    restarts: int = 0
