"""Titles that programs put into documents by themselves, and that say nothing."""

from __future__ import annotations

import re

_EMPTY = re.compile(
    r"(?i)\.(?:docx?|pptx?|xlsx?|indd|tex|dvi|qxd|odt|rtf|pdf)\Z"
    r"|\A(?:microsoft word|untitled|без имени|без названия|powerpoint presentation|презентация powerpoint)"
    r"|\A(?:document|документ|title|заголовок|slide|слайд)\s*\d*\Z"
)


def meaningful(title: str) -> str:
    """The title in one line; empty where a program made it up."""
    title = " ".join(title.split())
    return "" if _EMPTY.search(title) else title
