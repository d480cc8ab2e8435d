"""The note survives real chat templates, and what stands before the newest user message is the same for all roles."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ansambl.dialects.openai_chat import Message
from ansambl.domain.role import Role
from ansambl.roles.prompt_layout import compose, note_text

_BESIDE = Path(__file__).resolve().parents[4] / "shared" / "data" / "chat_templates"
_FOLDER = Path(os.environ.get("ANSAMBL_CHAT_TEMPLATES") or _BESIDE)
_FILES = sorted(_FOLDER.glob("*.jinja"))

ROLES = [Role("coder", "Write working code first."), Role("philosopher", "Weigh both sides of the question.")]
NEWEST = "How many lines has the newest file?"
MESSAGES: list[Message] = [
    {"role": "system", "content": "You help with files."},
    {"role": "user", "content": "Name the largest file."},
    {"role": "assistant", "content": "It is a.txt."},
    {"role": "user", "content": NEWEST},
]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "list_files",
            "description": "Lists files.",
            "parameters": {"type": "object", "properties": {"folder": {"type": "string", "description": "Where."}}},
        },
    }
]


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _to_json(found: Any, indent: int | None = None, **_options: Any) -> str:
    return json.dumps(found, ensure_ascii=False, indent=indent)


def renderer(source: str, tools: list[dict[str, Any]] | None) -> Callable[[list[Message]], str]:
    """Chat templates as engines run them: in a sandbox, with the few functions that they expect."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    day = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    environment.globals["strftime_now"] = day.strftime
    template = environment.from_string(source)
    return lambda messages: template.render(
        messages=messages,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
        tools=tools,
    )


if _FILES:
    TEMPLATES = [pytest.param(path, id=path.stem) for path in _FILES]
else:
    missing = pytest.mark.skip(reason="no chat templates here; ANSAMBL_CHAT_TEMPLATES names their folder")
    TEMPLATES = [pytest.param(_FOLDER, id="chat-templates", marks=missing)]


@pytest.mark.parametrize("path", TEMPLATES)
def test_a_real_template_keeps_the_note_and_shares_what_comes_before(path: Path) -> None:
    # The templates of this name are for requests with tools, and fail without them.
    render = renderer(path.read_text(encoding="utf-8"), TOOLS if path.stem.endswith("tool_use") else None)
    messages = MESSAGES
    try:
        render(messages)
    except TemplateError:
        # Some templates know no system message at all; engines fold it into the first message.
        messages = MESSAGES[1:]
    prompts = [render(compose(messages, role)) for role in ROLES]
    for role, prompt in zip(ROLES, prompts, strict=True):
        note = note_text(role)
        assert note is not None
        assert prompt.count(note) == 1
        assert prompt.index(NEWEST) < prompt.index(note)
    heads = [prompt[: prompt.index(NEWEST) + len(NEWEST)] for prompt in prompts]
    assert heads[0] == heads[1]
    assert "a.txt" in heads[0]
