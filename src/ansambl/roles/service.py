"""Roles in use: a client's request in, the request for the engine out, and the notes of earlier turns kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansambl.dialects.openai_chat import Answer, ChatRequest, Message
from ansambl.domain.errors import UnavailableError
from ansambl.domain.role import Ensemble, Layout, ModelName, Role
from ansambl.domain.text import text
from ansambl.foundation.clock import RealClock
from ansambl.roles import prompt_layout
from ansambl.roles.prompt_layout import Explanation
from ansambl.roles.records import NO_OPTIONS, RequestOptions, RoleCatalog
from ansambl.roles.turns import Note, Recalled, TurnMemory

_HEAD_FIELDS = (*prompt_layout.HEAD_FIELDS, "tool_choice")
_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready for `model`. Call `remember` with what the model said, also when the client left early.

    `explanation` says how the prompt was laid out; None for a plain model, whose messages are passed on untouched.
    """

    model: str
    request: ChatRequest
    remember: Callable[[Answer], None]
    explanation: Explanation | None = None
    recalled: Recalled | None = None


class RoleService:
    """Writes requests for roles and models of one catalog, and remembers notes in `turns`.

    `common_instruction` comes first in every role's prompt; there is none by default. `created` is what
    ``GET /v1/models`` says of every entry, in seconds since the epoch; now when left out.
    """

    def __init__(
        self,
        catalog: RoleCatalog,
        turns: TurnMemory,
        *,
        common_instruction: str | None = None,
        created: int | None = None,
    ) -> None:
        self.catalog = catalog
        self._turns = turns
        self._common = common_instruction or None
        self._created = int(RealClock().now()) if created is None else created

    def model_of(self, role: Role) -> ModelName:
        """The model that a role runs on: its own, else the catalog's default.

        Raises:
            UnavailableError: there is no model at all.
        """
        name = role.model or self.catalog.default_model
        if name is None:
            raise UnavailableError(
                text(
                    "The role '{role}' has no model to run on; add a table [models.…] to ansambl.toml.", role=role.name
                )
            )
        return self.catalog.models[name]

    def use(self, catalog: RoleCatalog, common_instruction: str | None = None) -> None:
        """Write requests for another catalog from now on; those that are prepared already keep theirs.

        `common_instruction` takes the place of the one before, unless it is None; "" is none at all.
        """
        self.catalog = catalog
        if common_instruction is not None:
            self._common = common_instruction or None

    def prepare(self, request: ChatRequest, role: Role, *, key: str, options: RequestOptions = NO_OPTIONS) -> Prepared:
        """Write the role's request. `key` is the id of the API key that asks; notes are kept apart by it.

        The role's sampling and limit fill only what the client left open; `options.layout` replaces the role's layout.

        Raises:
            RequestError: the messages are not messages.
            UnavailableError: there is no model for the role.
        """
        if options.layout is not None:
            role = replace(role, layout=options.layout)
        model = self.model_of(role)
        messages = request.messages()
        changes = _sampling(request, {**model.sampling, **role.sampling})
        changes.update(_limit(request, role.output_limit or model.output_limit))
        fields = {name: request.value(name) for name in _HEAD_FIELDS if name in request.fields}
        fields.update({name: value for name, value in changes.items() if name in _HEAD_FIELDS})
        recalled = self._turns.recall(key, self._head(fields), messages)
        explanation = prompt_layout.explain(
            messages, role, remembered=recalled.texts, common_instruction=self._common, fields=fields
        )
        prepared = request.changed({**changes, "model": model.name, "messages": explanation.messages})
        return Prepared(
            model.name, prepared, self._rememberer(recalled, messages, role, explanation), explanation, recalled
        )

    def prepare_plain(self, request: ChatRequest, model: ModelName) -> Prepared:
        """Write a plain model's request: the client's own, with the model's limit and sampling where it set none."""
        changes = {**_sampling(request, model.sampling), **_limit(request, model.output_limit), "model": model.name}
        return Prepared(model.name, request.changed(changes), _forget)

    def models_list(self, translate: Callable[[str], str] = str) -> list[dict[str, Any]]:
        """The objects of ``GET /v1/models``: roles, ensembles, models; `translate` chooses the descriptions' language.

        ``info.meta`` is what Open WebUI reads: ``builtin_tools`` false keeps its own tools, some 26 kB, out of every
        prompt, ``usage`` true makes it ask for the usage of a stream.
        """
        listed: list[tuple[str, Iterable[Role | Ensemble | ModelName]]] = [
            ("role", self.catalog.roles.values()),
            ("ensemble", self.catalog.ensembles.values()),
            ("model", self.catalog.models.values()),
        ]
        return [
            {
                "id": one.name,
                "object": "model",
                "created": self._created,
                "owned_by": "ansambl",
                "name": one.name,
                "description": translate(one.description) if one.description else "",
                "kind": kind,
                "aliases": list(one.aliases),
                "info": {
                    "meta": {
                        "description": translate(one.description) if one.description else "",
                        "capabilities": {"builtin_tools": False, "usage": True, "vision": False},
                    }
                },
            }
            for kind, things in listed
            for one in things
        ]

    def _head(self, fields: Mapping[str, Any]) -> str:
        return prompt_layout.prefix_group({**prompt_layout.head_material(fields), "": self._common})

    def _rememberer(
        self, recalled: Recalled, messages: Sequence[Message], role: Role, explanation: Explanation
    ) -> Callable[[Answer], None]:
        note = explanation.note
        if note is None or role.layout is Layout.CLASSIC or prompt_layout.newest_user(messages) is None:
            return _forget

        def remember(answer: Answer) -> None:
            self._turns.remember(recalled, answer, Note(role.name, note))

        return remember


def _forget(answer: Answer) -> None:
    """Nothing stood in the prompt that the client will not send back."""


def _sampling(request: ChatRequest, wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if request.value(name) is None and value is not None}


def _limit(request: ChatRequest, limit: int | None) -> dict[str, Any]:
    if limit is None or any(request.value(name) is not None for name in _LIMITS):
        return {}
    return {"max_tokens": limit}
