"""Roles in use: a client's request in, the request for the engine out, and the notes of earlier turns kept."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansambl.dialects.openai_chat import LIMIT_FIELDS, Answer, ChatRequest, Message
from ansambl.domain.chat_template import KWARGS, TemplateFacts
from ansambl.domain.errors import UnavailableError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model_details import ModelDetails
from ansambl.domain.role import Layout, ModelName, Role
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.roles import prompt_layout
from ansambl.roles.availability import Availabilities
from ansambl.roles.knowledge.reading import MOST_TOKENS, UNKNOWN_CONTEXT
from ansambl.roles.knowledge.records import Given
from ansambl.roles.model_list import entries
from ansambl.roles.prefix_groups import PrefixGroup, group_roles
from ansambl.roles.prompt_layout import Explanation
from ansambl.roles.records import NO_OPTIONS, RequestOptions, RoleCatalog
from ansambl.roles.tool_limits import TOOL_FIELDS, limit_tools
from ansambl.roles.turns import Note, Recalled, TurnMemory

HISTORY_PART = 2
"""The passages of all turns together may fill one part in so many of what a request of the role may fill."""

_READ_FIELDS = (*prompt_layout.HEAD_FIELDS, *TOOL_FIELDS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready for `model`. Call `remember` with what the model said, also when the client left early.

    `explanation` says how the prompt was laid out; None for a plain model, whose messages are passed on untouched.
    `facts` are what the model's chat template does, None where that is not known. `day` is the day that the prompt is
    told to be today; None where it is told none. `given` are the passages in the newest message, None where nothing was
    searched.
    """

    model: str
    request: ChatRequest
    remember: Callable[[Answer], None]
    explanation: Explanation | None = None
    recalled: Recalled | None = None
    facts: TemplateFacts | None = None
    day: dt.date | None = None
    given: Given | None = None


class RoleService:
    """Writes requests for roles and models of one catalog, and remembers notes in `turns`.

    `common_instruction` comes first in every role's prompt; there is none by default. `created` is what
    ``GET /v1/models`` says of every entry, in seconds since the epoch; now when left out. `templates` tells what the
    chat template of a model does, and None as long as it is not known; it must answer at once. So must `details`, which
    tells what is known of a model without its engine.
    """

    def __init__(
        self,
        catalog: RoleCatalog,
        turns: TurnMemory,
        *,
        common_instruction: str | None = None,
        created: int | None = None,
        templates: Callable[[str], TemplateFacts | None] = lambda _: None,
        details: Callable[[str], ModelDetails | None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self.catalog = catalog
        self.templates = templates
        self.details = details
        self._turns = turns
        self._common = common_instruction or None
        self._clock = clock or RealClock()
        self._created = int(self._clock.now()) if created is None else created

    def model_of(self, role: Role) -> ModelName:
        """The model that a role runs on: its own, else that of its LoRA adapter, else the catalog's default.

        Raises:
            UnavailableError: there is no model at all.
        """
        name = self.catalog.model_of(role)
        if name is None:
            raise UnavailableError(
                text(
                    "The role '{role}' has no model to run on; add a table [models.…] to ansambl.toml.", role=role.name
                )
            )
        return self.catalog.models[name]

    def snapshot(self) -> RoleService:
        """This service with the catalog and the prompt of this moment, whatever `use` brings; notes are shared."""
        return copy.copy(self)

    def use(self, catalog: RoleCatalog, common_instruction: str | None = None) -> None:
        """Write requests for another catalog from now on; what is prepared, and every `snapshot`, keeps its own.

        `common_instruction` takes the place of the one before, unless it is None; "" is none at all.
        """
        self.catalog = catalog
        if common_instruction is not None:
            self._common = common_instruction or None

    def save(self) -> None:
        """Have all that is remembered written now; the database's `close` waits for it."""
        self._turns.save()

    def forget_key(self, key: str) -> None:
        """Forget all that is remembered for an API key."""
        self._turns.forget_key(key)

    def forget_documents(self, documents: Iterable[int]) -> None:
        """Forget where passages of these documents stood, so that they are written into no prompt again."""
        self._turns.forget_documents(documents)

    def given_before(
        self, request: ChatRequest, role: Role, *, key: str, options: RequestOptions = NO_OPTIONS
    ) -> Given | None:  # fmt: skip
        """What stood in the newest message of the user when it was answered with tool calls; None where it was not.

        Raises:
            AnsamblError: as `prepare`.
        """
        messages = request.messages()
        newest = prompt_layout.newest_user(messages)
        if newest is None or newest == len(messages) - 1:
            return None
        recalled = self.prepare(request, role, key=key, options=options).recalled
        return recalled.given.get(newest) if recalled is not None else None

    def prepare(
        self, request: ChatRequest, role: Role, *, key: str, options: RequestOptions = NO_OPTIONS,
        given: Given | None = None,
    ) -> Prepared:  # fmt: skip
        """Write the role's request. `key` is the id of the API key that asks; notes are kept apart by it.

        `given` stands in the newest message of the user, and what was given earlier stands where it stood.

        The role's sampling and limit fill only what the client left open, and of the client's tools it sees those that
        it may. `options.layout` replaces the role's layout. Today's date is that of the conversation's first turn,
        where the model's chat template lets a request say it.

        Raises:
            RequestError: the messages are not messages.
            UnavailableError: there is no model for the role.
            NotSupportedError: its LoRA adapter is not there, or is another model's.
        """
        lora = self.catalog.lora_of(role)
        if options.layout is not None:
            role = replace(role, layout=options.layout)
        model = self.model_of(role)
        facts = self.templates(model.name)
        messages = request.messages()
        changes = _sampling(request, {**model.sampling, **role.sampling})
        changes.update(_limit(request, role.output_limit or model.output_limit))
        fields = {name: request.value(name) for name in _READ_FIELDS if name in request.fields}
        fields.update({name: value for name, value in changes.items() if name in _READ_FIELDS})
        limits = limit_tools(fields, role.tools)
        changes.update(limits)
        fields.update(limits)
        recalled = self._turns.recall(key, self._head(fields, facts), messages)
        day, pinned = self._pinned(fields, facts, recalled)
        changes.update(pinned)
        fields.update(pinned)
        passages, drops = _passages(recalled, messages, given, role, model)
        explanation = prompt_layout.lay_out(
            messages, role, remembered=recalled.texts, remembered_trailing=recalled.trailing,
            common_instruction=self._common, fields=fields, facts=facts,
            passages={index: one.text for index, one in passages.items()},
        )  # fmt: skip
        prepared = request.changed({**changes, "model": model.name, "messages": explanation.messages})
        newest = prompt_layout.newest_user(messages)
        stands = passages.get(newest) if newest is not None else None
        remember = self._rememberer(recalled, messages, role, explanation, day, stands, drops=drops)
        prepared = replace(prepared, lora=lora.name if lora is not None else None)
        return Prepared(model.name, prepared, remember, explanation, recalled, facts, day, stands)

    def prepare_plain(self, request: ChatRequest, model: ModelName, lora: LoraAdapter | None = None) -> Prepared:
        """Write a plain model's request: the client's own, with the model's limit and sampling where it set none.

        `lora` is the LoRA adapter that was asked for by its own name.
        """
        changes = {**_sampling(request, model.sampling), **_limit(request, model.output_limit), "model": model.name}
        changed = replace(request.changed(changes), lora=lora.name if lora is not None else None)
        return Prepared(model.name, changed, _forget)

    def models_list(
        self, translate: Callable[[str], str] = str, available: Availabilities | None = None
    ) -> list[dict[str, Any]]:
        """The objects of ``GET /v1/models``: roles, ensembles, models, LoRA adapters (each with its model as parent).

        `translate` chooses the descriptions' language. `available` tells whether each is in memory; None leaves it out.
        """
        return entries(self.catalog, self._created, translate, self.templates, self.details, available)

    def prefix_groups(self) -> list[PrefixGroup]:
        """Which roles of the catalog share the prefixes of their prompts; every role is in one group."""
        return group_roles(self.catalog, self.templates)

    def _head(self, fields: Mapping[str, Any], facts: TemplateFacts | None) -> str:
        return prompt_layout.prefix_group({**prompt_layout.head_material(fields, facts), "": self._common})

    def _pinned(
        self, fields: Mapping[str, Any], facts: TemplateFacts | None, recalled: Recalled
    ) -> tuple[dt.date | None, dict[str, Any]]:
        """The day that the prompt is told, and the field that tells it; nothing where the client tells one itself."""
        use = facts.date if facts is not None else None
        own = fields.get(KWARGS)
        if use is None or use.variable is None or not isinstance(own, dict | None) or use.variable in (own or {}):
            return None, {}
        # The local day, as engines tell it.
        day = recalled.day or dt.datetime.fromtimestamp(self._clock.now(), dt.UTC).astimezone().date()
        return day, {KWARGS: {**(own or {}), use.variable: day.strftime(use.format)}}

    def _rememberer(
        self, recalled: Recalled, messages: Sequence[Message], role: Role, explanation: Explanation,
        day: dt.date | None, given: Given | None, *, drops: bool,
    ) -> Callable[[Answer], None]:  # fmt: skip
        note = "" if explanation.layout is Layout.CLASSIC else explanation.note or ""
        noted = bool(note) or day is not None
        if not (noted or given is not None or drops) or prompt_layout.newest_user(messages) is None:
            return _forget
        turn = (
            None if not noted else Note(role.name, note, trailing=explanation.layout is Layout.TRAILING_SYSTEM, day=day)
        )

        def remember(answer: Answer) -> None:
            self._turns.remember(recalled, answer, turn, given, drops_earlier=drops)

        return remember


def _forget(answer: Answer) -> None:
    """Nothing stood in the prompt that the client will not send back."""


def _passages(
    recalled: Recalled, messages: Sequence[Message], given: Given | None, role: Role, model: ModelName
) -> tuple[dict[int, Given], bool]:
    """What stands in which message, and whether what was given earlier is left out.

    Passages of earlier turns stay until all together are too many, and then go all at once: to leave the oldest out
    would move everything after it at every turn, and the engine would read the conversation anew each time. So it is
    read anew once, and what was said about the passages stays in the answers.
    """
    newest = prompt_layout.newest_user(messages)
    found = dict(recalled.given)
    if newest is not None and given is not None:
        found[newest] = given
    if not found:
        return found, False
    context = int((model.context or UNKNOWN_CONTEXT) * role.context_share)
    earlier = sum(one.tokens for index, one in found.items() if index != newest)
    own = found[newest].tokens if newest in found else 0
    if earlier and earlier + own > min(context // HISTORY_PART, HISTORY_PART * MOST_TOKENS + own):
        return ({newest: found[newest]} if newest is not None and newest in found else {}), True
    return found, False


def _sampling(request: ChatRequest, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if request.value(name) is None and value is not None}


def _limit(request: ChatRequest, limit: int | None) -> dict[str, Any]:
    if limit is None or any(request.value(name) is not None for name in LIMIT_FIELDS):
        return {}
    return {"max_tokens": limit}
