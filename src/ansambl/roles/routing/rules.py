"""Rules of a route: what the owner wrote about messages, tried in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial

from ansambl.domain.errors import ConfigurationError
from ansambl.domain.languages import CODES, language_name
from ansambl.domain.names import nearest_names
from ansambl.domain.role import RouteRule
from ansambl.domain.text import Text, text
from ansambl.roles.routing.patterns import LONGEST_SEARCHED, SafePattern, safe_pattern
from ansambl.roles.routing.records import Decision, How, RouteInput, one_line, plain, searched

THINGS = {
    "code": text("the message holds code"),
    "image": text("the conversation holds an image"),
    "tools": text("the request brings tools"),
}
"""What a rule may ask for with ``has``, and how that is told."""

_SHOWN = 60


_Condition = Callable[[RouteInput], Text | None]
"""Why a condition holds, or None when it does not."""


class Rules:
    """The rules of one route, compiled once."""

    def __init__(self, rules: Sequence[RouteRule]) -> None:
        """Compile.

        Raises:
            ConfigurationError: a pattern that is no regular expression or could take too long.
        """
        self._rules = tuple((rule.role, _conditions(rule)) for rule in rules)

    def decide(self, question: RouteInput) -> Decision | None:
        """The member of the first rule all of whose conditions hold, with the conditions as the reason.

        A word of a rule stands for itself, in any letter case and with ё as е; with a ``*`` at its end it stands for
        all words that begin so (``перевед*``). Words and patterns look at the beginning and the end of a message, at
        most `LONGEST_SEARCHED` characters.
        """
        for number, (role, conditions) in enumerate(self._rules, 1):
            why = _met(conditions, question)
            if why is not None:
                return Decision(role, How.RULE, text("rule {number}: {why}", number=number, why=why))
        return None


def check_rules(rules: Sequence[RouteRule], members: Collection[str]) -> None:
    """Refuse rules that cannot be meant.

    Raises:
        ConfigurationError: a member, thing or language that is not there, no condition, lengths that exclude each
            other, or a pattern that is no regular expression or could take too long; names the rule by its number.
    """
    for number, rule in enumerate(rules, 1):
        why = _fault(rule, members)
        if why is not None:
            raise ConfigurationError(text("Rule {number} of the route: {why}.", number=number, why=why))
        if rule.pattern is not None:
            safe_pattern(rule.pattern)


def _fault(rule: RouteRule, members: Collection[str]) -> Text | None:
    found: Text | None = None
    if rule.role not in members:
        nearest = ", ".join(nearest_names(rule.role, members) or members)
        found = text("'{name}' is no member; nearest: {nearest}", name=rule.role, nearest=nearest)
    elif rule.has is not None and rule.has not in THINGS:
        found = text("has = '{thing}' is unknown; it is one of {known}", thing=rule.has, known=", ".join(THINGS))
    elif rule.language is not None and rule.language not in CODES:
        found = text("'{name}' is no language code of two letters, such as ru", name=rule.language)
    elif any(not word.strip(" *") for word in rule.words):
        found = text("one of its words is empty")
    elif _is_empty(rule):
        found = text("it says no condition, so it would match everything; use 'default' for that")
    elif rule.longer_than is not None and rule.shorter_than is not None and rule.longer_than + 1 >= rule.shorter_than:
        found = text(
            "no message is longer than {more} and shorter than {less} characters",
            more=rule.longer_than,
            less=rule.shorter_than,
        )
    return found


def _is_empty(rule: RouteRule) -> bool:
    told = (rule.pattern, rule.language, rule.has, rule.longer_than, rule.shorter_than)
    return not rule.words and all(one is None for one in told)


def _words(words: Sequence[str]) -> re.Pattern[str]:
    """One search for all words; white space within a word stands for any white space."""
    # The longest first, because the first alternative that fits is the one that is told.
    written = sorted({plain(word) for word in words}, key=lambda word: (-len(word), word))
    alternatives = "|".join(
        r"\s+".join(re.escape(part) for part in word.rstrip("*").split()) + (r"\w*" if word.endswith("*") else "")
        for word in written
    )
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")


def _conditions(rule: RouteRule) -> tuple[_Condition, ...]:
    """What must hold, the cheap ones first."""
    found: list[_Condition] = []
    if rule.has is not None:
        found.append(partial(_has, rule.has))
    if rule.language is not None:
        found.append(partial(_is_in, rule.language))
    if rule.longer_than is not None:
        found.append(partial(_is_longer, rule.longer_than))
    if rule.shorter_than is not None:
        found.append(partial(_is_shorter, rule.shorter_than))
    if rule.words:
        found.append(partial(_says, _words(rule.words)))
    if rule.pattern is not None:
        found.append(partial(_matches, safe_pattern(rule.pattern)))
    return tuple(found)


def _met(conditions: Sequence[_Condition], question: RouteInput) -> Text | None:
    reasons: list[Text] = []
    for condition in conditions:
        why = condition(question)
        if why is None:
            return None
        reasons.append(why)
    return _joined(reasons)


def _has(thing: str, question: RouteInput) -> Text | None:
    return THINGS.get(thing) if thing in question.has else None


def _is_in(language: str, question: RouteInput) -> Text | None:
    if question.language != language:
        return None
    return text("the message is in {language}", language=language_name(language))


def _is_longer(count: int, question: RouteInput) -> Text | None:
    return text("the message is longer than {count} characters", count=count) if question.length > count else None


def _is_shorter(count: int, question: RouteInput) -> Text | None:
    return text("the message is shorter than {count} characters", count=count) if question.length < count else None


def _says(words: re.Pattern[str], question: RouteInput) -> Text | None:
    found = words.search(plain(searched(question.text, LONGEST_SEARCHED)))
    return None if found is None else text("the message says '{word}'", word=one_line(found.group(), _SHOWN))


def _matches(pattern: SafePattern, question: RouteInput) -> Text | None:
    if not pattern.is_in(question.text):
        return None
    return text("the message matches '{pattern}'", pattern=one_line(pattern.pattern.pattern, _SHOWN))


def _joined(reasons: Sequence[Text]) -> Text | None:
    if not reasons:
        return None
    joined = reasons[0]
    for reason in reasons[1:]:
        joined = text("{first}, and {second}", first=joined, second=reason)
    return joined
