"""The settings of roles and ensembles. Every key is optional: what comes with Ansambl can be changed key by key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ansambl.app.configuration.setting_types import Duration, Names, Table, Words, setting
from ansambl.roles.ensemble_fields import MOST_ROUNDS, MOST_SAMPLES

_LARGEST_ANSWER = 16_777_216


class RoleSettings(Table):
    """A role: a named purpose that clients ask for as if it were a model.

    A shipped role's keys can be set one by one. An `instruction` of your own also puts aside the shipped ones in other
    languages.
    """

    model: str | None = setting(None, "The model that answers.", shown_default="the resident model")
    lora: str | None = setting(
        None, "The LoRA adapter that its answers are made with, by the name it was added under: `ansambl lora list`.",
        shown_default="none",
    )  # fmt: skip
    instruction: str | None = setting(None, "What makes the role, in words for the model.", shown_default="as shipped")
    instructions: dict[str, str] | None = setting(
        None, "The instruction in other languages, by code: `ru = \"…\"`. The newest message's language chooses.",
        shown_default="as shipped",
    )  # fmt: skip
    description: str | None = setting(None, "One line about the role for lists.")
    thinking_language: str | None = setting(
        None, 'The language to think in, such as "en".', shown_default="as the model likes"
    )
    answer_language: str | None = setting(
        None, 'The language to answer in, such as "ru".', shown_default="the language of the message"
    )
    temperature: float | None = setting(None, "Sampling temperature where the client sets none.", ge=0, le=2)
    top_p: float | None = setting(None, "Nucleus sampling where the client sets none.", gt=0, le=1)
    max_tokens: int | None = setting(
        None, "The longest answer where the client sets none.", unit="tokens", ge=1, le=_LARGEST_ANSWER
    )
    context_share: float | None = setting(
        None, "The part of the model's context that one request of the role may fill, its answer included.",
        shown_default="1", gt=0, le=1,
    )  # fmt: skip
    top_k: int | None = setting(None, "Sample among this many tokens, where the client does not say.", ge=0)
    min_p: float | None = setting(None, "The least probability, as a share of the best token's.", ge=0, le=1)
    frequency_penalty: float | None = setting(None, "Penalty for tokens by how often they occurred.", ge=-2, le=2)
    presence_penalty: float | None = setting(None, "Penalty for tokens that occurred at all.", ge=-2, le=2)
    repeat_penalty: float | None = setting(None, "llama.cpp's penalty for repeated tokens.", gt=0)
    seed: int | None = setting(None, "Makes sampling repeatable where the engine can.")
    stop: Words | None = setting(None, "Texts at which the answer ends.")
    reasoning_effort: str | None = setting(None, "How long a thinking model thinks. Part of the prompt's head.")
    layout: Literal["shared-prefix", "trailing-system", "classic"] | None = setting(
        None,
        "Where the instruction stands: in the newest user message, so that all roles share what comes before it; in a "
        "system message after it, on models whose template keeps it there; or first, as other tools do it.",
        shown_default='"shared-prefix"',
    )
    tools: Words | None = setting(
        None, "The client's tools that the role may see, by name; `[]` is none. Part of the prompt's head.",
        shown_default="all of them",
    )  # fmt: skip
    collections: Names | None = setting(None, "The collections of knowledge that are searched before the role answers.")
    rewrite: Literal["auto", "words", "model", "off"] | None = setting(
        None, 'How a follow-up such as "why?" is searched: with the words of the question before it, or as the '
        "role's model rewrites it; `auto` takes the words.", shown_default='"auto"',
    )  # fmt: skip
    passages: int | None = setting(
        None, "The most passages that the role is given for one message.", shown_default="8", ge=1, le=40
    )
    knowledge_share: float | None = setting(
        None, "The part of the model's context that passages for one message may fill.",
        shown_default="a quarter, at most 4,000 tokens", gt=0, le=0.8,
    )  # fmt: skip
    examples: Words | None = setting(None, "Questions that are meant for the role; a route compares with them.")
    aliases: Names | None = setting(None, "Other names under which clients may ask for the role.")
    wants: Literal["depth", "speed", "code", "chat"] | None = setting(
        None, "What the role needs most of its model; `ansambl plan` chooses by it.", shown_default='"chat"'
    )


class RuleSettings(Table):
    """A rule of a route: when a request goes to `role` without further thought. All that is set must hold."""

    role: str = setting(..., "The member that answers.", shown_default="must be set")
    words: Words | None = setting(None, "One of these words stands in the newest message, in any letter case.")
    pattern: str | None = setting(None, "A regular expression that is found in the newest message.", min_length=1)
    language: str | None = setting(None, 'The language of the newest message, such as "ru".')
    has: Literal["code", "image", "tools"] | None = setting(None, "What the request has.")
    longer_than: int | None = setting(None, "The newest message is longer than this.", unit="letters", ge=0)
    shorter_than: int | None = setting(None, "The newest message is shorter than this.", unit="letters", ge=0)


class EnsembleSettings(Table):
    """An ensemble: several roles that answer one request. A shipped ensemble's keys can be set one by one."""

    pattern: Literal["council", "route", "chain", "debate"] | None = setting(
        None, "How the members work together. Council: all answer at once, the conductor merges. Route: one of them "
        "answers. Chain: the first drafts, the others review, the first revises. Debate: they answer, then answer each "
        "other, and the conductor gives the verdict.", shown_default='"council"',
    )  # fmt: skip
    roles: Names | None = setting(
        None, "The members that answer, in their order: roles, or other ensembles.", min_length=1
    )
    conductor: str | None = setting(
        None, "The role that merges the answers, gives the verdict, or chooses.", shown_default="the first of `roles`"
    )
    description: str | None = setting(None, "One line about the ensemble for lists.")
    branch_tokens: int | None = setting(
        None, "The longest answer of each role.", unit="tokens", shown_default="256", ge=1, le=_LARGEST_ANSWER
    )
    answer_tokens: int | None = setting(
        None, "The longest merged answer.", unit="tokens", shown_default="512", ge=1, le=_LARGEST_ANSWER
    )
    tokens: int | None = setting(
        None, "The bound of all answers together.", unit="tokens", shown_default="no further bound", ge=1
    )
    seconds: Duration | None = setting(
        None, "The time limit of the whole.", unit='seconds, or text such as "5m"', shown_default="300", ge=1, le=86400
    )
    rounds: int | None = setting(
        None, "How often a chain is reviewed at most, or a debate goes round.", shown_default="1", ge=1, le=MOST_ROUNDS
    )
    samples: int | None = setting(
        None, "How many answers each member of a council gives.", shown_default="1", ge=1, le=MOST_SAMPLES
    )
    merge: Literal["conductor", "vote"] | None = setting(
        None, "How a council's answers become one: the conductor merges them, or the most frequent short answer wins.",
        shown_default='"conductor"',
    )  # fmt: skip
    rules: Annotated[tuple[RuleSettings, ...], Field(strict=False)] | None = setting(
        None, "When a route chooses without further thought, tried in their order."
    )
    default: str | None = setting(
        None, "The member that a route takes when nothing decides.", shown_default="the first of `roles`"
    )
    threshold: float | None = setting(
        None, "How alike a question must be to a role's examples, from 0 to 1, for a route to take the role by it.",
        shown_default="0.3", ge=0, le=1,
    )  # fmt: skip
    embedder: str | None = setting(
        None, "The model that measures likeness by meaning.", shown_default="likeness is measured by words"
    )
    asks: bool | None = setting(
        None, "Whether a route asks the conductor when likeness does not decide.", shown_default="`false`"
    )
    aliases: Names | None = setting(None, "Other names under which clients may ask for the ensemble.")
