"""Roles and ensembles: what a client asks for by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ansambl.domain.units import Seconds


class Layout(StrEnum):
    """Where a role's instruction stands in the prompt (DESIGN section 6).

    ``TRAILING_SYSTEM`` writes the note as a system message after the newest user message; it is used only on a model
    whose chat template was seen to keep such a message at the tail, and is ``SHARED_PREFIX`` everywhere else.
    """

    SHARED_PREFIX = "shared-prefix"
    TRAILING_SYSTEM = "trailing-system"
    CLASSIC = "classic"


class RoleWants(StrEnum):
    """What a role needs most of its model: strong answers, quick ones, code, or good conversation."""

    DEPTH = "depth"
    SPEED = "speed"
    CODE = "code"
    CHAT = "chat"


PASSAGES = 8
"""How many passages a role is given for one message, where it does not say."""


class Rewrite(StrEnum):
    """How a follow-up ("and the second one?") becomes something that can be searched.

    ``WORDS`` puts the words of the earlier question in front; ``MODEL`` asks the role's model, in memory as it is, and
    takes the words where that takes too long; ``AUTO`` is ``WORDS``, which costs nothing; ``OFF`` searches what is
    written.
    """

    AUTO = "auto"
    WORDS = "words"
    MODEL = "model"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Role:
    """A named purpose on a model.

    `model` None means the resident model. `sampling` holds request fields (``temperature``, ``top_p``…) that apply
    where the client sets none. `output_limit` is in tokens. `wants` is what a plan chooses the role's model by.
    `origin` says where the role came from: ``"shipped"``, ``"configuration"`` or ``"saved"`` (the database).

    `instructions` holds the instruction in other languages, by ISO 639-1 code; a note is written in the language of
    the newest user message where there is one for it, else `instruction` is used. `thinking_language` and
    `answer_language` are codes too: a role may think in English and answer in Russian. `context_share` (above 0, at
    most 1) is the part of the model's context that one request of the role may fill, its answer included. `tools`
    names the tools of the client that the role may see; None means all of them, an empty tuple none.
    `lora` is the LoRA adapter that its answers are made with, None for the plain model.
    `collections` names the knowledge that is searched before it answers, `rewrite` how a follow-up is searched;
    `passages` is how many passages it is given at most, `knowledge_share` the part of the context that they may fill
    (None: a quarter, and not more than 4,000 tokens). `examples` are questions that are meant for it; a route compares
    with them.
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
    instructions: Mapping[str, str] = field(default_factory=dict)
    thinking_language: str | None = None
    answer_language: str | None = None
    context_share: float = 1.0
    tools: tuple[str, ...] | None = None
    collections: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    lora: str | None = None
    rewrite: Rewrite = Rewrite.AUTO
    passages: int = PASSAGES
    knowledge_share: float | None = None


class Pattern(StrEnum):
    """How the members of an ensemble answer one request."""

    ROUTE = "route"
    CHAIN = "chain"
    COUNCIL = "council"
    DEBATE = "debate"


class Merge(StrEnum):
    """How a council's answers become one: the conductor merges them, or the most frequent one wins."""

    CONDUCTOR = "conductor"
    VOTE = "vote"


@dataclass(frozen=True, slots=True)
class RouteRule:
    """When a request goes to `role` (a member of the ensemble) without further thought; all that is set must hold.

    `words` matches when one of them stands in the newest user message (a ``*`` at a word's end stands for any ending),
    `pattern` is a regular expression that is searched in it (letter case does not matter for either; one that could
    take minutes is refused). `language` is the message's ISO 639-1 code. `has` is one of ``"code"``, ``"image"`` and
    ``"tools"``. `longer_than` and `shorter_than` are characters of that message.
    """

    role: str
    words: tuple[str, ...] = ()
    pattern: str | None = None
    language: str | None = None
    has: str | None = None
    longer_than: int | None = None
    shorter_than: int | None = None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several members that answer one request by a `pattern`; limits are per request.

    `roles` names the members: roles, or other ensembles (never itself, over any detour). `conductor` is a role.
    `branch_tokens` bounds each member's answer, `answer_tokens` the final one, `tokens` all answers together (None: no
    further bound), `seconds` the whole.

    * route: one member answers. `rules` are tried in their order; then the member whose `Role.examples` are most alike,
      if the likeness is at least `threshold` (0 to 1), measured by the model `embedder` (None: by words); then, if
      `asks`, the conductor is asked who shall answer; else `default` (None: the first member) does.
    * chain: ``roles[0]`` drafts, each further member reviews, ``roles[0]`` revises; `rounds` times at most, and it ends
      when no review asks for a change.
    * council: all members answer at once, each `samples` times, and `merge` makes one answer of theirs.
    * debate: all answer at once; for `rounds` rounds each sees the others' answers and answers again; the conductor
      gives the verdict.
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
    tokens: int | None = None
    rounds: int = 1
    samples: int = 1
    merge: Merge = Merge.CONDUCTOR
    rules: tuple[RouteRule, ...] = ()
    default: str | None = None
    threshold: float = 0.3
    embedder: str | None = None
    asks: bool = False

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
