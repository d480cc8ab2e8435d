"""Roles and ensembles: what a client asks for by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ansambl.domain.units import Seconds


class Layout(StrEnum):
    """Where a role's instruction stands in the prompt (DESIGN section 6)."""

    SHARED_PREFIX = "shared-prefix"
    CLASSIC = "classic"


class RoleWants(StrEnum):
    """What a role needs most of its model: strong answers, quick ones, code, or good conversation."""

    DEPTH = "depth"
    SPEED = "speed"
    CODE = "code"
    CHAT = "chat"


@dataclass(frozen=True, slots=True)
class Role:
    """A named purpose on a model.

    `model` None means the resident model. `sampling` holds request fields (``temperature``, ``top_p``…) that apply
    where the client sets none. `output_limit` is in tokens. `wants` is what a plan chooses the role's model by.
    `origin` says where the role came from: ``"shipped"`` or ``"configuration"``.
    """

    name: str
    instruction: str
    description: str = ""
    model: str | None = None
    layout: Layout = Layout.SHARED_PREFIX
    sampling: Mapping[str, Any] = field(default_factory=dict)
    output_limit: int | None = None
    aliases: tuple[str, ...] = ()
    origin: str = "configuration"
    wants: RoleWants = RoleWants.CHAT


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several roles that answer one request by a `pattern`; limits are per request.

    `branch_tokens` bounds each role's answer, `answer_tokens` the merged one, `seconds` the whole.
    """

    name: str
    pattern: str
    roles: tuple[str, ...]
    conductor: str | None = None
    description: str = ""
    branch_tokens: int = 256
    answer_tokens: int = 512
    seconds: Seconds = Seconds(300.0)
    aliases: tuple[str, ...] = ()
    origin: str = "configuration"

    @property
    def merging_role(self) -> str:
        """The name of the role that merges the answers: the conductor, the first role where none is named."""
        return self.conductor or self.roles[0]


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model as clients may name it.

    `output_limit` applies where neither client nor role sets one, and so does each field of `sampling`.
    """

    name: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    output_limit: int | None = None
    context: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "configuration"
