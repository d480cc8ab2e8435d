"""What the chat templates of the running models do: found in the background, told at once.

A prompt must never wait for a template: until a model's is found it counts as unknown, which is right for most.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import msgspec

from ansambl.app.configuration.settings import EMBEDDED, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.looked_up import LookedUp
from ansambl.domain.chat_template import KWARGS, DateUse, Place, TemplateFacts
from ansambl.domain.errors import AnsamblError
from ansambl.domain.plan import Attachment
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import DataPaths, expanded
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.gguf import GgufError
from ansambl.model_catalog.library import find_installed
from ansambl.model_catalog.template_files import TemplateText, read_template_file, read_templates

_log = get_logger(__name__)

_PATIENCE = 5.0
_LONGEST_PROPS = 4 << 20
_ARGUMENTS = ("--chat-template-file", "--chat-template")

# llama.cpp fills these variables itself, also where the template has a fixed default for them (b11549: a template of
# Llama 3.1 writes today's date there, and a request's chat_template_kwargs replace it).
_LLAMA_CPP_DATE = DateUse("%d %b %Y", "date_string")

Reader = Callable[[], TemplateFacts | None]
"""Looks at one model's template; None where it cannot be found. It may take seconds, and raises nothing of its own."""


class ModelTemplates(LookedUp[TemplateFacts]):
    """Tells what a model's chat template does, and None as long as it is not known."""

    def __init__(self, readers: Mapping[str, Reader], renewed: Sequence[str] = ()) -> None:
        super().__init__(readers, renewed, what="chat template")


def model_templates(loaded: LoadedSettings, paths: DataPaths, attached: Sequence[Attachment]) -> ModelTemplates:
    """The templates of all models of a configuration, and of servers that somebody else runs."""
    readers: dict[str, Reader] = {}
    for name, model in loaded.settings.models.items():
        if model.address is None:
            readers[name] = partial(of_model, model, paths.models)
    for one in attached:
        readers[one.model] = partial(of_server, one)
    return ModelTemplates(readers, [one.model for one in attached])


def of_model(model: ModelSettings, models_folder: Path) -> TemplateFacts | None:
    """The facts of a model that runs here: of the template that its arguments name, else of its checkpoint's own.

    A built-in template that the arguments call by its name is not known.
    """
    words = (*model.arguments, *(shlex.split(model.command) if model.command else ()))
    try:
        path = None if model.checkpoint is None else _path_of(model.checkpoint, models_folder)
        named = named_template(words)
        own = read_templates(path) if path is not None and named is None else None
        text = own if named is None else _of_argument(named)
    except (OSError, GgufError, AnsamblError, ValueError) as error:
        _log.info("chat_template_not_read", reason=str(error))
        return None
    if text is None:
        return None
    facts = text.facts()
    # What runs a GGUF file is llama.cpp; a command without one may be anything.
    return facts if path is None or path.is_dir() else with_date_of_llama_cpp(facts)


def of_server(attached: Attachment) -> TemplateFacts | None:
    """The facts of a llama.cpp server, which tells its template at ``/props``; None for other servers."""
    address = attached.address.rstrip("/").removesuffix("/v1")
    headers = {"Authorization": f"Bearer {attached.key}"} if attached.key else {}
    try:
        # No proxy: the request path uses none either.
        with httpx.Client(timeout=_PATIENCE, trust_env=False) as client:
            answer = client.get(f"{address}/props", headers=headers)
        if answer.status_code != httpx.codes.OK or len(answer.content) > _LONGEST_PROPS:
            return None
        found = msgspec.json.decode(answer.content)
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError):
        return None
    source = found.get("chat_template") if isinstance(found, dict) else None
    if not isinstance(source, str) or not source:
        return None
    tools, bos, eos = (found.get(name) for name in ("chat_template_tool_use", "bos_token", "eos_token"))
    variants = {"tool_use": tools} if isinstance(tools, str) and tools else {}
    text = TemplateText(source, variants, bos if isinstance(bos, str) else "", eos if isinstance(eos, str) else "")
    return with_date_of_llama_cpp(text.facts())


def with_date_of_llama_cpp(facts: TemplateFacts) -> TemplateFacts:
    """The facts with the date that llama.cpp puts into a variable of the template, asked or not."""
    place = facts.fields.get(f"{KWARGS}.{_LLAMA_CPP_DATE.variable}")
    return replace(facts, date=_LLAMA_CPP_DATE) if facts.date is None and place is Place.HEAD else facts


def named_template(words: Sequence[str]) -> str | None:
    """The template that an engine's arguments name; the last one counts."""
    found = None
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name not in _ARGUMENTS:
            continue
        if equals:
            found = value
        elif index + 1 < len(words):
            found = words[index + 1]
    return found


def _of_argument(named: str) -> TemplateText | None:
    if "{{" in named or "{%" in named:
        return TemplateText(named)
    path = expanded(named)
    return read_template_file(path) if path.is_file() else None


def _path_of(reference: str, models_folder: Path) -> Path:
    path = expanded(reference)
    if reference != EMBEDDED and path.is_dir():
        return path
    found = find_installed(reference, models_folder) if not path.exists() else None
    if found is not None and found.format != "gguf":
        installed = Path(found.path)
        return installed if installed.is_dir() else installed.parent
    return Path(open_checkpoint(reference, models_folder).path)
