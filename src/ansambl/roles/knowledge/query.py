"""What is searched for a message: its words, with those of the question before it where it leans on it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ansambl.dialects.openai_chat import Message
from ansambl.roles.knowledge.records import How, Query
from ansambl.roles.notes import text_of

LONGEST_QUERY = 1_000
"""Characters that are searched. Models of vectors read some 500 tokens, and more words find nothing better."""

EARLIER_QUESTIONS = 3
"""How many messages of the user a follow-up may lean on, until one stands for itself."""

_FEW = 2
"""So many telling words, or fewer, do not make a question."""

_SHORT = 7
"""A message of so many words, or fewer, with a word that points back is a follow-up."""

_FENCED = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_POINTING = _set(
    "it its they them their this that these those he him his she her one ones same other others above "
    "former latter first second third last previous next "
    "он его ему ним она её ее ей ней оно они их им ними это этот эта эти этого этом этой тот та те того том той там "
    "тогда такой такая такие так же тоже также другой другая другие остальные первый первая первом втором второй "
    "вторая второго третий третьем третья последний последнем выше ниже предыдущий следующий"
)
_OPENING = _set("and but or so also а и но или ну так тогда")
_COMMON = (
    _set(
        "there then many much a an the of to in on at for from with by as is are was were be been do does did done "
        "can could may might must shall should will would have has had not no yes i me my you your we our us what "
        "which who whom whose when where why how about into than if any some more most please tell say give show "
        "explain ok okay thanks thank hello hi hey в во на по к ко с со из за о об от до для у при без над под про "
        "через между не ни да нет бы ли же и а но или что чтобы как какой какая какое какие каков кто кого кому где "
        "когда куда почему зачем сколько чей я мне меня мой моя моё мое мои ты тебя тебе вы вас вам мы нас нам наш "
        "есть был была было были быть будет можно нужно надо если то еще ещё уже только очень скажи расскажи "
        "объясни покажи дай пожалуйста спасибо привет ладно хорошо"
    )
    | _POINTING
    | _OPENING
)


def newest_question(messages: Sequence[Message]) -> str:
    """The text of the newest message of the user, "" where there is none."""
    return next((text_of(one.get("content")) for one in reversed(messages) if one.get("role") == "user"), "").strip()


def telling_words(text: str) -> list[str]:
    """The words of a text that say what it is about, in order, each once, without case."""
    words = (one.casefold().replace("ё", "е") for one in _WORD.findall(text))
    return list(dict.fromkeys(one for one in words if one not in _COMMON and (len(one) > 1 or one.isdigit())))


def leans_back(question: str) -> bool:
    """Whether a message can only be understood from what was said before it."""
    words = [one.casefold() for one in _WORD.findall(question)]
    telling = telling_words(question)
    if not telling:
        return True
    if len(words) > _SHORT:
        return False
    opens = words[0] in _OPENING
    points = any(one in _POINTING for one in words)
    return (points or opens) and len(telling) <= _FEW


def query_of(messages: Sequence[Message], *, rewrites: bool = True) -> Query:
    """What to search for the newest message of the user.

    A follow-up ("why?", "а во второй?") is searched with the words of the question that it leans on in front;
    `rewrites` False searches the message as it is.
    """
    questions = [text_of(one.get("content")).strip() for one in messages if one.get("role") == "user"]
    newest = _searched(questions[-1]) if questions else ""
    if not rewrites or not leans_back(newest):
        return Query(newest)
    earlier: list[str] = []
    for question in reversed(questions[:-1][-EARLIER_QUESTIONS:]):
        earlier.insert(0, _searched(question))
        if not leans_back(question):
            break
    words = telling_words(" ".join(earlier))
    if not words:
        return Query(newest)
    return Query(_cut(f"{' '.join(words)} {newest}".strip()), How.WORDS)


def _searched(question: str) -> str:
    """A message without its code where words remain; of a long one, its beginning and its end."""
    prose = _FENCED.sub(" ", question)
    return _cut(" ".join((prose if telling_words(prose) else question).split()))


def _cut(text: str) -> str:
    if len(text) <= LONGEST_QUERY:
        return text
    half = LONGEST_QUERY // 2
    return f"{text[:half]} {text[-half:]}"
