"""What ensembles write into the notes of their roles, and how answers of others stand there. Pure.

Answers of roles are data. They stand in blocks whose tag occurs nowhere in the conversation nor in any of the answers,
so no answer can end its own block and no message can hold a block that looks like one of ours.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansambl.dialects.openai_chat import Message
from ansambl.domain.role import Layout, Role
from ansambl.roles.notes import text_of

CHARACTERS_PER_TOKEN = 6
"""More than the tokens of ordinary text average: an answer within its token limit is never clipped by this."""

APPROVED = "APPROVED"
"""The one word with which a reviewer says that a draft may stay as it is."""

Wording = Mapping[str, str]
"""One instruction by language (ISO 639-1); there is always one in English."""

_MERGE: Wording = {
    "en": """\
The roles below have answered the message above, each on its own. Merge their answers into the one final answer to \
the message: keep what is right and useful, drop what is wrong or said twice, decide contradictions by their reasons, \
and name in one sentence what stays open. Do not speak of the roles or of this merging. Write in the language of the \
message.""",
    "ru": """\
Роли ниже ответили на сообщение выше, каждая сама по себе. Сведи их ответы в один окончательный ответ: оставь верное и \
полезное, убери ошибки и повторы, противоречия реши по доводам, одной фразой назови, что осталось открытым. Не упоминай\
 роли и это сведение. Пиши на языке сообщения.""",
}
_SHORT: Wording = {
    "en": "End with one line that begins with 'Answer:' and holds the short answer alone.",
    "ru": "Закончи строкой, которая начинается с «Ответ:» и содержит только краткий ответ.",
}
_REVIEW: Wording = {
    "en": f"""\
Below is a draft of an answer to the message above. Review it: name what is wrong, missing or unclear, the gravest \
first, and how to mend it. Do not rewrite it. If it may stay as it is, answer with the one word {APPROVED}.""",
    "ru": f"""\
Ниже черновик ответа на сообщение выше. Проверь его: назови, что неверно, упущено или неясно, сначала главное, и как \
исправить. Не переписывай его. Если менять нечего, ответь одним словом {APPROVED}.""",
}
_REVISE: Wording = {
    "en": """\
Below are your draft of an answer to the message above and what reviewers say of it. Write the answer anew: follow \
the reviews where they are right, keep what is good. Give the whole answer and do not speak of drafts or reviews.""",
    "ru": """\
Ниже твой черновик ответа на сообщение выше и замечания к нему. Напиши ответ заново: учти верные замечания, сохрани \
хорошее. Дай ответ целиком и не упоминай черновик и замечания.""",
}
_REBUT: Wording = {
    "en": """\
Below are the newest answers of others to the message above, and yours. Say where they are right and where not, and \
why; then give your answer again, changed where they convinced you.""",
    "ru": """\
Ниже последние ответы других на сообщение выше и твой. Скажи, в чём они правы, в чём нет и почему; затем дай свой ответ\
 снова, изменив то, в чём тебя убедили.""",
}
_VERDICT: Wording = {
    "en": """\
The roles below have debated the message above; these are their last answers. Give the verdict: the final answer to \
the message, decided by the better reasons, and in one sentence what speaks against it. Write in the language of the \
message.""",
    "ru": """\
Роли ниже спорили о сообщении выше; это их последние ответы. Вынеси решение: окончательный ответ на сообщение по более \
сильным доводам и одной фразой — что говорит против него. Пиши на языке сообщения.""",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What one member said. `kind` names its block."""

    role: str
    text: str
    kind: str = "answer"


@dataclass(frozen=True, slots=True)
class Wordings:
    """Writes the additions to notes for one conversation; answers are clipped to `limit` tokens."""

    messages: Sequence[Message]
    limit: int

    def merge(self, answers: Sequence[Said]) -> Wording:
        """The conductor shall make one answer of several."""
        return self._with_blocks(_MERGE, answers)

    def review(self, draft: Said) -> Wording:
        """A reviewer shall review a draft."""
        return self._with_blocks(_REVIEW, [replace(draft, kind="draft")])

    def revise(self, draft: Said, reviews: Sequence[Said]) -> Wording:
        """The author of a draft shall revise it."""
        return self._with_blocks(
            _REVISE, [replace(draft, kind="draft"), *(replace(one, kind="review") for one in reviews)]
        )

    def rebut(self, own: Said | None, others: Sequence[Said]) -> Wording:
        """One side of a debate shall answer the others."""
        mine = [replace(own, kind="yours")] if own is not None else []
        return self._with_blocks(_REBUT, [*others, *mine])

    def verdict(self, answers: Sequence[Said]) -> Wording:
        """The conductor shall decide a debate."""
        return self._with_blocks(_VERDICT, answers)

    def short_answer(self) -> Wording:
        """A member shall end with an answer that can be voted on."""
        return _SHORT

    def _with_blocks(self, wording: Wording, blocks: Sequence[Said]) -> Wording:
        written = write_blocks(blocks, self.messages, limit=self.limit * CHARACTERS_PER_TOKEN)
        return {language: f"{words}\n\n{written}" for language, words in wording.items()}


def write_blocks(blocks: Sequence[Said], messages: Iterable[Message], *, limit: int) -> str:
    """The blocks, one after another, each text clipped to `limit` characters.

    The tag is the block's kind; where ``<kind`` or ``</kind`` stands in any of the texts or messages, a number is added
    that makes it unique. A text cannot end the note that it stands in either.
    """
    clipped = [replace(one, text=_inside_note(clip(one.text, limit))) for one in blocks]
    heard = "\n".join([*(one.text for one in clipped), *(text_of(one.get("content")) for one in messages)]).casefold()
    tags = {kind: _free_tag(kind, heard) for kind in dict.fromkeys(one.kind for one in blocks)}
    return "\n\n".join(
        f'<{tags[one.kind]} role="{_attribute(one.role)}">\n{one.text}\n</{tags[one.kind]}>' for one in clipped
    )


def _free_tag(kind: str, heard: str) -> str:
    taken = set(re.findall(rf"</?{kind}(-[0-9]+)?", heard))
    if not taken:
        return kind
    # One pass over the text, however many numbers somebody has written into it.
    return next(f"{kind}-{number}" for number in itertools.count(2) if f"-{number}" not in taken)


def _inside_note(said: str) -> str:
    return said.replace("[/Role]", "[/ Role]").replace("[Role:", "[ Role:")


def _attribute(name: str) -> str:
    return name.replace('"', "'").replace("<", "(").replace(">", ")")


def clip(said: str, limit: int) -> str:
    """The first `limit` characters, cut between words where there is a gap in their second half."""
    if len(said) <= limit:
        return said
    cut = said[:limit]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[limit // 2 :] else cut} […]"


def heading(name: str, *, first: bool) -> str:
    """The heading of a member's words in the progress."""
    return f"**{name}**\n\n" if first else f"\n\n**{name}**\n\n"


def joined(*parts: str) -> str:
    """Parts of an instruction as one."""
    return "\n\n".join(part.strip() for part in parts if part.strip())


def combined(first: Wording, second: Wording) -> Wording:
    """Two wordings, one after the other; each language takes English where the other one lacks it."""
    languages = dict.fromkeys(["en", *first, *second])
    found = {
        language: joined(first.get(language, first.get("en", "")), second.get(language, second.get("en", "")))
        for language in languages
    }
    return found if found["en"] else {}


def directed(role: Role, addition: Wording) -> Role:
    """The role with an addition to its instruction, in the language in which its note will be written.

    In the classic layout everything that is added would stand at the head and nothing of the conversation be shared.
    """
    if not addition:
        return role
    return replace(
        role,
        instruction=joined(role.instruction, addition["en"]),
        instructions={
            language: joined(words, addition.get(language, addition["en"]))
            for language, words in role.instructions.items()
        },
        layout=Layout.SHARED_PREFIX,
    )


def approves(review: str) -> bool:
    """Whether a review asks for no change: it is the agreed word and nothing else but marks around it."""
    return review.strip(" \t\r\n.!*_`\"'«»()[]").casefold() == APPROVED.casefold()
