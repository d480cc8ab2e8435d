"""Real chat templates: what the probe finds in each, and what that does to notes and to the shared prefix."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ansambl.dialects.openai_chat import Answer, ChatRequest, Message
from ansambl.domain.chat_template import Continuity, DateUse, Place, TemplateFacts
from ansambl.domain.knowledge import Document, Kind, Passage
from ansambl.domain.role import Layout, ModelName, Role
from ansambl.model_catalog.template_rendering import ChatTemplate, TemplateRefusedError
from ansambl.model_catalog.templates import probe_template
from ansambl.roles.knowledge.block import passages_block
from ansambl.roles.knowledge.records import Given, Piece, Query, Source
from ansambl.roles.notes import note_text
from ansambl.roles.prompt_layout import lay_out
from ansambl.roles.records import RoleCatalog
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "chat_templates"
_FOLDER = Path(os.environ.get("ANSAMBL_CHAT_TEMPLATES") or _BESIDE)
_FILES = sorted(_FOLDER.glob("*.jinja"))
_NOW = dt.datetime(2026, 1, 2, 10, 0)  # noqa: DTZ001 - as engines tell the local time

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

# Where the templates that were rendered by hand differ from most: these keep a trailing system message at the tail, go
# on unchanged, drop earlier thinking, and write tools at the head.
TRAILING = {
    **dict.fromkeys(("Apertus-8B-Instruct", "Qwen3.5-4B", "mistralai-Mistral-Nemo-Instruct-2407"), Place.REFUSED),
    **dict.fromkeys(("MiniMax-M1", "MiniMax-M3", "NVIDIA-Nemotron-Nano-v2", "Reka-Edge", "openai-gpt-oss-120b",
                     "llm-jp-llm-jp-4.1-8b-thinking"), Place.LOST),
    **dict.fromkeys(("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
                     "deepseek-ai-DeepSeek-V3.1", "deepseek-ai-DeepSeek-V4-Flash-0731", "deepseek-ai-DeepSeek-V4",
                     "llama-cpp-deepseek-r1", "llama-cpp-rwkv-world", "upstage-Solar-Open-100B"), Place.HEAD),
}  # fmt: skip
CONTINUITY = {
    **dict.fromkeys(("Apriel-1.6-15b-Thinker-fixed", "Cohere2MoE", "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
                     "NVIDIA-Nemotron-Nano-v2", "Qwen3.5-4B", "Spark2.5", "StepFun3.5-Flash",
                     "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
                     "google-gemma-4-31B-it-interleaved", "llama-cpp-deepseek-r1"), Continuity.LAST_ANSWER),
    **dict.fromkeys(("CohereForAI-c4ai-command-r-plus-tool_use", "mistralai-Mistral-Nemo-Instruct-2407"),
                    Continuity.EARLY),
}  # fmt: skip
KEEPS_THINKING = {"Cohere2MoE", "Kimi-K3", "MiniMax-M3", "Spark2.5", "inclusionai-ling-3.0-flash", "muse-glimmer"}
TOOLS_PLACE = {
    **dict.fromkeys(("Mistral-Small-3.2-24B-Instruct-2506", "mistralai-Mistral-Nemo-Instruct-2407"), Place.TAIL),
    **dict.fromkeys(("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
                     "deepseek-ai-DeepSeek-V3.1", "llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct"),
                    Place.LOST),
}  # fmt: skip
EFFORT = {
    **dict.fromkeys(("openai-gpt-oss-120b", "llm-jp-llm-jp-4.1-8b-thinking"), Place.HEAD),
    **dict.fromkeys(("Cohere2MoE", "upstage-Solar-Open-100B"), Place.TAIL),
}
# Some write it only where the conversation begins without a system message.
DATES = {
    **dict.fromkeys(("Apertus-8B-Instruct", "Mistral-Small-3.2-24B-Instruct-2506", "openai-gpt-oss-120b",
                     "upstage-Solar-Open-100B"), DateUse("%Y-%m-%d")),
    "ibm-granite-granite-3.3-2B-Instruct": DateUse("%B %d, %Y"),
    "llm-jp-llm-jp-4.1-8b-thinking": DateUse("%Y-%m-%d", "conversation_start_date"),
    "meta-llama-Llama-3.2-3B-Instruct": DateUse("%d %b %Y", "date_string"),
    "muse-glimmer": DateUse("%Y-%m-%d", "current_date"),
}  # fmt: skip

# As gemma-2 does: no system message, and the turns must alternate.
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<turn>{{ m['role'] }}\n{{ m['content']|trim }}</turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# A list of parts, and nothing else.
PARTS_ONLY = (
    "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<image>{% endif %}{% endfor %}</{{ m.role }}>{% endfor %}<a>"
)
# The whole conversation as JSON: a note stands there in other letters, and what follows it changes nothing before.
AS_JSON = "{% for m in messages %}{{ m|tojson }}\n{% endfor %}"
# The last system message counts, wherever it stands.
LAST_SYSTEM_COUNTS = (
    "{% set ns = namespace(s='') %}{% for m in messages if m.role == 'system' %}{% set ns.s = m.content %}{% endfor %}"
    "{{ ns.s }}{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
)
OWN = {"no-system": NO_SYSTEM, "parts-only": PARTS_ONLY, "as-json": AS_JSON, "last-system": LAST_SYSTEM_COUNTS}

SOURCES = [pytest.param(name, source, id=name) for name, source in OWN.items()]
if _FILES:
    REAL = [pytest.param(path.stem, path.read_text(encoding="utf-8"), id=path.stem) for path in _FILES]
else:
    missing = pytest.mark.skip(reason="no chat templates here; ANSAMBL_CHAT_TEMPLATES names their folder")
    REAL = [pytest.param("", "", id="chat-templates", marks=missing)]


@cache
def compiled(source: str) -> ChatTemplate:
    return ChatTemplate(source, seconds=60.0)


def engine(name: str, source: str) -> Callable[[list[Message], dict[str, Any] | None], str]:
    """Renders messages as the engine of a model with this template would."""
    # The templates of this name are for requests with tools, and fail without them.
    tools = TOOLS if name.endswith("tool_use") else None

    def render(messages: list[Message], more: dict[str, Any] | None = None) -> str:
        if source == PARTS_ONLY:
            messages = [
                one
                if isinstance(one["content"], list)
                else {**one, "content": [{"type": "text", "text": one["content"]}]}
                for one in messages
            ]
        given = {"messages": messages, "tools": tools, "add_generation_prompt": True, "bos_token": "<s>",
                 "eos_token": "</s>", **(more or {})}  # fmt: skip
        return compiled(source).render(given, now=_NOW)

    return render


def shared(one: str, other: str) -> int:
    if other.startswith(one):
        return len(one)
    return next(index for index, pair in enumerate(zip(one, f"{other}\0", strict=False)) if pair[0] != pair[1])


@pytest.mark.parametrize(("name", "source"), REAL)
def test_the_probe_finds_what_rendering_by_hand_found(name: str, source: str) -> None:
    facts = probe_template(source, bos="<s>", eos="</s>")
    assert facts.note_kept
    assert facts.system is (Place.MOVES if "Mistral-Nemo" in name else Place.HEAD)
    assert facts.trailing_system is TRAILING.get(name, Place.TAIL)
    assert facts.trailing_stays is (facts.trailing_system is Place.TAIL and "Mistral-Small" not in name)
    assert facts.continuity is CONTINUITY.get(name, Continuity.FULL)
    assert facts.keeps_thinking is (name in KEEPS_THINKING)
    assert facts.fields["tools"] is TOOLS_PLACE.get(name, Place.HEAD)
    assert facts.fields["reasoning_effort"] is EFFORT.get(name, Place.LOST)
    assert facts.date == DATES.get(name)


@pytest.mark.parametrize(("name", "source"), [*REAL, *SOURCES])
@pytest.mark.parametrize("layout", list(Layout))
def test_the_instruction_is_in_the_prompt_and_what_comes_before_is_shared(
    name: str, source: str, layout: Layout
) -> None:
    render, facts = engine(name, source), probe_template(source)
    roles = [Role(one.name, one.instruction, layout=layout) for one in ROLES]
    found = [lay_out(MESSAGES, role, facts=facts) for role in roles]
    prompts = [render(one.messages) for one in found]
    for role, prompt in zip(roles, prompts, strict=True):
        assert prompt.count(role.instruction) == 1
        assert prompt.count("You help with files.") == 1, "the client's own system text is there too"
        if found[0].layout is not Layout.CLASSIC:
            assert prompt.index(NEWEST) < prompt.index(role.instruction)
    if found[0].layout is Layout.CLASSIC:
        assert layout is Layout.CLASSIC
        assert prompts[0].index(roles[0].instruction) < prompts[0].index(NEWEST)
    else:
        assert shared(*prompts) >= prompts[0].index(NEWEST) + len(NEWEST)
        assert "a.txt" in prompts[0][: shared(*prompts)]
    trails = facts.trailing_system is Place.TAIL and facts.trailing_stays
    assert (found[0].layout is Layout.TRAILING_SYSTEM) is (layout is Layout.TRAILING_SYSTEM and trails)
    assert (found[0].why is None) is (found[0].layout is layout)


def passages(turn: int) -> Given:
    """What was found for a message; for some nothing was searched."""
    piece = Piece(Document(1, "c", Kind.FILE, "/a", "a.md"), Passage(turn, 0, 1, "x"), f"Fact {turn} of many.", 9, 1.0)
    return Given(passages_block([Source(1, piece)], "en", b"secret"), Query("x"), ("c",), tokens=50)


def ten_turns(
    name: str, source: str, facts: TemplateFacts | None, layout: Layout, *, reads: bool = False
) -> None:  # fmt: skip

    render = engine(name, source)
    roles = {one.name: Role(one.name, one.instruction, layout=layout) for one in ROLES}
    service = RoleService(RoleCatalog(roles, {}, {"m": ModelName("m")}, "m"), TurnMemory(), templates=lambda _: facts)
    history: list[Message] = [MESSAGES[0]]
    before, reached = "", 0
    for turn in range(10):
        question, said = f"Question {turn} of many?", f"Answer {turn}, in short."
        history.append({"role": "user", "content": question})
        role = ROLES[turn % 2 if turn < 8 else 0]
        request = ChatRequest({}).changed({"messages": history})
        given = passages(turn) if reads and turn % 3 else None
        prepared = service.prepare(request, roles[role.name], key="k", given=given)
        prompt = render(prepared.request.messages(), prepared.request.value("chat_template_kwargs"))
        assert shared(before, prompt) >= reached, f"turn {turn}"
        if given is not None:
            fact, note = prompt.index(f"Fact {turn} of many."), prompt.rindex(role.instruction)
            assert prompt.index(question) < fact < note
            # Earlier ones stand where they stood.
            assert len(re.findall(r"Fact \d of many\.", prompt)) == len([one for one in range(turn + 1) if one % 3])
        assert note_text(role) is not None
        end = prompt.rindex(role.instruction) + len(role.instruction)
        earlier = prompt.index(f"Answer {turn - 1}" if turn else question)
        promised = {Continuity.FULL: len(prompt), Continuity.LAST_ANSWER: end, Continuity.EARLY: earlier}
        reached = promised[facts.continuity if facts is not None else Continuity.FULL]
        before = prompt
        prepared.remember(Answer(content=f"<think>hm</think>{said}"))
        history.append({"role": "assistant", "content": said})


@pytest.mark.parametrize(("name", "source"), [*REAL, *SOURCES])
@pytest.mark.parametrize("layout", [Layout.SHARED_PREFIX, Layout.TRAILING_SYSTEM])
def test_ten_turns_with_changing_roles_go_on_as_far_as_the_template_lets_them(
    name: str, source: str, layout: Layout
) -> None:
    ten_turns(name, source, probe_template(source), layout)


@pytest.mark.parametrize(("name", "source"), [*REAL, *SOURCES])
@pytest.mark.parametrize("layout", [Layout.SHARED_PREFIX, Layout.TRAILING_SYSTEM])
def test_passages_stand_in_the_message_that_asked_and_the_prompt_goes_on(
    name: str, source: str, layout: Layout
) -> None:  # fmt: skip
    ten_turns(name, source, probe_template(source), layout, reads=True)


def test_ten_turns_would_break_where_the_facts_are_not_known() -> None:
    # This is what the facts are for: with them the same conversation passes above.
    with pytest.raises(TemplateRefusedError, match="no system role"):
        ten_turns("", NO_SYSTEM, None, Layout.SHARED_PREFIX)
