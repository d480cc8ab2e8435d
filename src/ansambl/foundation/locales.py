"""The language of messages: gettext catalogs that lie in the package, chosen by `--lang`, else by the locale."""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "ru")
"""The languages that messages exist in; English is the source."""

LANGUAGE_COOKIE = "ansambl_language"
"""The cookie in which the console keeps the language that was chosen there; streams of events bring it, too."""

_FOLDER = Path(__file__).resolve().parent.parent / "locales"
# RFC 9110, 12.5.4: a weight of 0 means "not this one".
_RANGE = re.compile(r"(?P<tag>[a-z0-9-]+)(?:\s*;\s*q=(?P<quality>[01](?:\.[0-9]{0,3})?))?")
_VARIABLES = ("ANSAMBL_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


@cache
def translator(language: str) -> Callable[[str], str]:
    """The function that turns an English template into `language`; what is not translated stays English."""
    if language == "en":
        return str
    return gettext.translation("ansambl", localedir=_FOLDER, languages=[language], fallback=True).gettext


def language_of_environment() -> str:
    """The language that the environment's locale asks for, English when it is none of ours."""
    for variable in _VARIABLES:
        value = os.environ.get(variable)
        if value:
            return supported(value) or "en"
    return "en"


def supported(tag: str) -> str | None:
    """Map ``ru_RU.UTF-8``, ``ru-RU`` or ``ru`` to one of `LANGUAGES`."""
    short = tag.replace("-", "_").split("_")[0].split(".")[0].lower()
    return short if short in LANGUAGES else None


def language_of_header(accept_language: str | None) -> str:
    """The best language for a browser's ``Accept-Language`` header."""
    wanted: list[tuple[float, str]] = []
    for part in (accept_language or "").split(","):
        found = _RANGE.fullmatch(part.strip().lower())
        language = supported(found["tag"]) if found else None
        if found and language and (quality := float(found["quality"] or 1)) > 0:
            wanted.append((-quality, language))
    return min(wanted, key=lambda one: one[0])[1] if wanted else "en"


def speaker_of_header(accept_language: str | None) -> Callable[[str], str]:
    """The translator for who sent this ``Accept-Language`` header; the process's own for who sent none, or any."""
    if accept_language is None or accept_language.strip() in {"", "*"}:
        return speak
    return translator(language_of_header(accept_language))


class Speaker:
    """The language that this process speaks: set once at the start, used by every face."""

    def __init__(self) -> None:
        self.language = language_of_environment()

    def __call__(self, template: str) -> str:
        """Translate a template into the process's language."""
        return translator(self.language)(template)


speak = Speaker()
"""The process's translator; ``speak.language`` is set by ``--lang``."""


def choose_language(arguments: Iterable[str]) -> None:
    """Set the process's language from ``--lang`` among the command line's `arguments`, before help texts are made."""
    words = list(arguments)
    for index, word in enumerate(words):
        value = word.partition("=")[2] if word.startswith("--lang=") else ""
        if word == "--lang" and index + 1 < len(words):
            value = words[index + 1]
        language = supported(value) if value else None
        if language:
            speak.language = language
