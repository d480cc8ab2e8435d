"""What a role says to its model: the instruction in the right language, and the note around it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ansambl.dialects.openai_chat import Message
from ansambl.domain.languages import NOT_IN_LATIN, language_name, language_of_text
from ansambl.domain.role import Role

_LOOKED_AT = 500
"""Characters at each end of a message that its language is told by."""
# For the model, not for people, so these are no translations of one sentence: each is written in its own language.
_ENGLISH = {"both": "Think and answer in {thinking}.", "thinking": "Think in {thinking}.",
            "answer": "Write the answer in {answer}."}  # fmt: skip
_RUSSIAN = {"both": "Думай и отвечай {thinking}.", "thinking": "Думай {thinking}.", "answer": "Пиши ответ {answer}."}
_RUSSIAN_LANGUAGES = {
    "en": "по-английски", "ru": "по-русски", "uk": "по-украински", "be": "по-белорусски", "kk": "по-казахски",
    "de": "по-немецки", "fr": "по-французски", "es": "по-испански", "it": "по-итальянски", "pt": "по-португальски",
    "pl": "по-польски", "tr": "по-турецки", "zh": "по-китайски", "ja": "по-японски", "ko": "по-корейски",
    "ar": "по-арабски", "hi": "на хинди",
}  # fmt: skip


def text_of(content: Any) -> str:
    """The text of a message's content, be it a text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [one["text"] for one in parts if isinstance(one, dict) and isinstance(one.get("text"), str)]
    return "\n\n".join(texts)


def instruction_text(role: Role, language: str | None = None) -> str:
    """The role's instruction in `language` (ISO 639-1) where it has one for it, with the languages that it asks for.

    It is empty when the role has neither.
    """
    own = role.instructions.get(language, "").strip() if language is not None else ""
    instruction = own or role.instruction.strip()
    if role.thinking_language is None and role.answer_language is None:
        return instruction
    written = language if own else language_of_text(instruction)
    return "\n".join(one for one in (instruction, _languages_line(role, written)) if one)


def note_text(role: Role, language: str | None = None) -> str | None:
    """The note that makes an answer the role's own, in `language`; None when the role has nothing to say.

    Its marks are short: all of a note is prefilled at each change of role.
    """
    said = instruction_text(role, language)
    return f"[Role: {role.name}]\n{said}\n[/Role]" if said else None


def language_for(role: Role, messages: Sequence[Message], index: int | None) -> str | None:
    """The language of a message's text, as far as it matters to the role's instruction; None where it does not.

    The beginning and the end of a long message are looked at: this is on the request path, and what is pasted into
    the middle of a question is seldom in another language than both.
    """
    if index is None or not role.instructions:
        return None
    written = text_of(messages[index].get("content"))
    if len(written) > 2 * _LOOKED_AT:
        written = f"{written[:_LOOKED_AT]} {written[-_LOOKED_AT:]}"
    # 0.4 ms for 1,000 characters of English; most requests need none of it.
    if written.isascii() and role.instructions.keys() <= NOT_IN_LATIN:
        return None
    return _language_of_text(written)


# The roles of a council look at one message after another.
_language_of_text = lru_cache(maxsize=128)(language_of_text)


def _languages_line(role: Role, written: str | None) -> str:
    thinking, answer = role.thinking_language, role.answer_language
    # A role without an instruction speaks the language that it shall answer in.
    russian = (written or (None if role.instruction.strip() else answer)) == "ru"
    lines: Mapping[str, str] = _RUSSIAN if russian else _ENGLISH
    names = {"thinking": _shown(thinking, russian=russian), "answer": _shown(answer, russian=russian)}
    if thinking == answer:
        return lines["both"].format_map(names)
    asked = [name for name, code in (("thinking", thinking), ("answer", answer)) if code is not None]
    return " ".join(lines[name].format_map(names) for name in asked)


def _shown(code: str | None, *, russian: bool) -> str:
    if code is None:
        return ""
    if russian:
        return _RUSSIAN_LANGUAGES.get(code, f"на языке «{code}»")
    name = str(language_name(code))
    return name if name != code else f"the language '{code}'"
