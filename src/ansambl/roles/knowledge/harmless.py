"""Passages made harmless before they stand in a prompt: data that can imitate neither our marks nor a template's. Pure.

An engine parses a whole prompt with its control tokens, also where a user's text holds them (llama.cpp tokenizes what
the chat template wrote with ``parse_special``), so a document with ``<|im_end|>`` in it would end the user's turn. What
is taken out or broken up here is what no reader of the passage misses.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\U0001d173-\U0001d17a]"
)
"""Characters that nobody sees and models read: spaces without width, marks of direction, tags, selectors."""

_JOINERS = re.compile("(?<=[\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?=[\x00-\x7f])")
"""They belong into Persian and into pictures of families, and beside Latin letters into nothing."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_BARS = re.compile(r"<(?=\s?[|｜])|(?<=[|｜])>")
"""``<|name|>``, in the spelling of DeepSeek too."""

_NAMED = re.compile(
    r"[<＜](?=/?(?:s|bos|eos|unk|pad|mask|cls|sep|think|thinking|tool|tools|tool_?calls?|tool_?responses?|function|"
    r"functions|system|assistant|user|human|context|role|sys|sop|eop|eod|ctrl\d{1,4}|minimax:[a-z_]{1,40}|im_start|im_end|image|audio|video|"
    r"[a-z]+_[a-z0-9_]+|(?:unused|extra_id_|reserved|special|seed)[^<>\n]{0,40})\s*>)|"
    r"<(?=</?SYS>>)|<(?=/?SYS>>)",
    re.IGNORECASE,
)
"""``<start_of_turn>``, ``</s>``, ``<tool_call>``, ``<<SYS>>``: names that vocabularies have as one token."""

_BRACKETED = re.compile(
    r"\[(?=/?\s?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS?|TOOL_CONTENT|ARGS|CALL_ID|IMG|IMG_END|"
    r"IMG_BREAK|THINK|PREFIX|SUFFIX|MIDDLE|AUDIO|BEGIN_AUDIO|Role|Роль|[gs]?MASK|CLS|SEP|BOS|EOS|SYS|"
    r"UNUSED_TOKEN_\d{1,4})\b)|\[(?=\|[a-z_ ]{1,30}\|\])|\[(?=e~\[)|\](?=~!?b[\[\]])",
    re.IGNORECASE,
)
"""Mistral's control tokens, those of GLM, InternLM, EXAONE and MiniMax, and the marks of a role's note."""

# Spaces of one line only: with those that end lines, fifty thousand empty ones took a minute of the event loop.
_ROLE_LINES = re.compile(
    r"(?m)^([^\S\n]*)(#{2,}[^\S\n]*)(system|assistant|user|human|instruction|response)([^\S\n]*:)", re.IGNORECASE
)
_TURNS = re.compile(r"(?m)^([^\S\n]*)(human|assistant|system|user)([^\S\n]*:[^\S\n]*)(?=\S|$)", re.IGNORECASE)
_PASSAGES = re.compile(r"[<＜‹〈⟨](?=\s*/?\s*(?:passages?|documents?|sources?)\b)", re.IGNORECASE)
_NUMBERED = re.compile(r"(?m)^([ \t]*)\[(\d{1,3})\]")
"""What would look like the heading of another passage."""

_IMAGE = re.compile(r"!\[([^\]\n]{0,300})\](?:\([^)\n]{0,2000}\)|\[[^\]\n]{0,300}\])")
_IMAGE_TAG = re.compile(r"<(?:img|image|iframe|embed|object|script)\b[^>\n]{0,2000}>", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s*=\s*["']([^"']{0,300})["']""", re.IGNORECASE)


def harmless(text: str) -> str:
    """`text` without what is hidden in it, with nothing that an engine or we would take for a mark of our own.

    Images are named, and their addresses left out: a model that repeats one would make the client's browser fetch it.
    """
    text = _CONTROL.sub(" ", HIDDEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    text = _JOINERS.sub("", text)
    text = _IMAGE.sub(_named_image, text)
    text = _IMAGE_TAG.sub(_named_tag, text)
    text = _BARS.sub(_apart, text)
    text = _NAMED.sub(_apart, text)
    text = _BRACKETED.sub(_apart, text)
    text = _PASSAGES.sub("(", text)
    text = _NUMBERED.sub(r"\1(\2)", text)
    text = _ROLE_LINES.sub(r"\1\3\4", text)
    return _TURNS.sub(r"\1“\2”\3", text)


def one_line(text: str, longest: int = 120) -> str:
    """A title or a name as it may stand in a heading: harmless, on one line, not longer than `longest`."""
    line = " ".join(harmless(text).replace("[", "(").replace("]", ")").split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def folded(text: str) -> str:
    """Text to compare with: letters of one width, no case, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _apart(found: re.Match[str]) -> str:
    mark = found.group()
    return f" {mark}" if mark == ">" else f"{mark} "


def _named_image(found: re.Match[str]) -> str:
    return f"(image: {found.group(1).strip()})" if found.group(1).strip() else "(image)"


def _named_tag(found: re.Match[str]) -> str:
    alternative = _ALT.search(found.group())
    said = alternative.group(1).strip() if alternative else ""
    return f"(image: {said})" if said else "(image)"
