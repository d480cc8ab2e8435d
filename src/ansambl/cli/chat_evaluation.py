"""``ansambl eval --from-chats``: one's own old questions, answered anew, and a blind choice between the answers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansambl.cli.output import note, print_json, print_table, say
from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.figures import number_words
from ansambl.domain.text import text
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.cli.knowledge_access import KnowledgeAccess
    from ansambl.evaluation.blind import Ballot, Standing
    from ansambl.evaluation.past_questions import PastQuestion
    from ansambl.evaluation.records import Settings

OLD = "old"
"""How the answer that was given then is called among the candidates."""
_HISTORY = 3000
"""Tokens of what stood before a question; more would be another evaluation, that of long contexts."""
_SHOWN_QUESTION = 1500


@dataclass(frozen=True, slots=True)
class ChatsWanted:
    """Which questions, who answers, and where choices come from. `count` is how many questions."""

    collection: str | None
    words: str
    count: int
    against: str | None
    layout: str | None
    with_old: bool
    choices: Path | None
    out: Path | None
    settings: Settings


def evaluate_chats(config: Path | None, wanted: ChatsWanted, *, as_json: bool) -> None:
    """Choose questions; write them where ``--out`` says; have them answered and judged where ``--against`` names whom.

    Raises:
        UsageError: there is nothing to do, no question, or a bad choice in the file of choices.
        AnsamblError: Ansambl cannot be reached.
    """
    from ansambl.cli.knowledge_access import knowledge_access

    if wanted.against is None and wanted.out is None:
        raise UsageError(text("--from-chats needs --against NAMES to compare, or --out FILE to write the questions"))
    with knowledge_access(config, changes=False) as access:
        questions = chosen_questions(access, wanted)
    if not questions:
        raise UsageError(
            text("no past question is like that; bring conversations with: ansambl knowledge import-chats PATH")
        )
    if wanted.out is not None:
        write_questions(wanted.out, questions)
        written = speak("{count} questions with their old answers: {file}").format(
            count=len(questions), file=wanted.out
        )
        if wanted.against is None and as_json:
            print_json({"questions": len(questions), "file": str(wanted.out)})
        elif wanted.against is None:
            say(written)
        else:
            note(written)
    if wanted.against is None:
        return
    names, ballots = asyncio.run(_asked(config, questions, wanted))
    chosen = list(_choices(ballots, wanted.choices))
    _show(names, chosen, len(ballots), as_json=as_json)


def chosen_questions(access: KnowledgeAccess, wanted: ChatsWanted) -> list[PastQuestion]:
    """The questions that are wanted, out of all conversations of the collection."""
    from ansambl.app.knowledge.documents import conversation_of
    from ansambl.cli.past_chats import some_conversations
    from ansambl.evaluation.past_questions import choose, questions_of
    from ansambl.knowledge.importing.continuing import messages_of

    def all_of_them() -> Iterator[PastQuestion]:
        for one in some_conversations(access, wanted.collection, ""):
            found = conversation_of(access.conversation(str(one["id"])))
            author = next((turn.author for turn in found.turns if turn.speaker == "assistant" and turn.author), "")
            yield from questions_of(found.id, found.title, messages_of(found), author, wanted.words)

    return choose(all_of_them(), wanted.count, wanted.settings.seed)


def write_questions(path: Path, questions: Sequence[PastQuestion]) -> None:
    """Write the questions as JSON lines of messages.

    Raises:
        UsageError: the file cannot be written.
    """
    lines = "".join(json.dumps(one.as_training(), ensure_ascii=False) + "\n" for one in questions)
    half = path.with_name(path.name + ".part")
    try:
        half.write_text(lines, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        raise UsageError(
            text("{file} cannot be written ({reason})", file=str(path), reason=error.strerror or type(error).__name__)
        ) from error


async def _asked(
    config: Path | None, questions: Sequence[PastQuestion], wanted: ChatsWanted
) -> tuple[list[str], list[Ballot]]:
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.client import running_state
    from ansambl.cli.evaluation_client import EvaluationClient, read_contestants
    from ansambl.cli.progress import StepBar
    from ansambl.evaluation.blind import ballot
    from ansambl.evaluation.final_answer import without_thinking
    from ansambl.evaluation.records import AskError
    from ansambl.knowledge.importing.continuing import fitting

    ballots: list[Ballot] = []
    async with EvaluationClient(running_state(load_data_paths(config))) as client:
        known, default_model = await client.known()
        contestants = read_contestants(wanted.against or "", wanted.layout, known, default_model)
        names = [one.label for one in contestants] + ([OLD] if wanted.with_old else [])
        if len(names) < 2:
            raise UsageError(text("a choice needs two answers; name another one after --against, or add --with-old"))
        with StepBar(speak("Asking"), len(questions) * len(contestants), 0) as bar:
            for number, one in enumerate(questions):
                answers = {OLD: one.old} if wanted.with_old else {}
                messages = fitting(one.messages, _HISTORY).messages
                for contestant in contestants:
                    try:
                        reply = await client.ask(contestant, messages, wanted.settings)
                    except AskError as error:
                        reason = error.message.render(speak)
                        said = speak("{name}: no answer to “{question}”: {reason}")
                        note(said.format(name=contestant.label, question=one.question[:60], reason=reason))
                    else:
                        answers[contestant.label] = without_thinking(reply.content).strip()
                    bar.step()
                if len(answers) == len(names):
                    ballots.append(ballot(number, one.question, answers, wanted.settings.seed))
    return names, ballots


def _choices(ballots: Sequence[Ballot], file: Path | None) -> Iterator[tuple[str, ...]]:
    """What was chosen for each question, until the input ends."""
    from ansambl.evaluation.blind import read_choice

    lines = iter(_read_choices(file)) if file is not None else None
    for number, one in enumerate(ballots, 1):
        if lines is None:
            _show_ballot(number, len(ballots), one)
        while True:
            word = next(lines, None) if lines is not None else _typed(one)
            if word is None:
                return
            try:
                choice = read_choice(word, one)
            except UsageError as error:
                if lines is not None:
                    raise
                note(error.message.render(speak))
                continue
            if choice is not None:
                yield choice
            break


def _read_choices(file: Path) -> list[str]:
    try:
        return [one for one in file.read_text(encoding="utf-8").splitlines() if one.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(text("{file} cannot be read ({reason})", file=str(file), reason=reason)) from error


def _show_ballot(number: int, count: int, one: Ballot) -> None:
    note("")
    note(speak("Question {number} of {count}").format(number=number, count=count))
    note(one.question if len(one.question) <= _SHOWN_QUESTION else one.question[:_SHOWN_QUESTION] + " …")
    for letter, (_, answer) in zip(one.letters, one.answers, strict=True):
        note("")
        note(f"── {letter} ──")
        note(answer or speak("(nothing)"))
    note("")


def _typed(one: Ballot) -> str | None:
    sys.stderr.write(
        speak("Which is better: {letters}; = as good, 0 none, s skip: ").format(letters=", ".join(one.letters))
    )
    sys.stderr.flush()
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return None
    return line.strip() or "?" if line else None


def _show(names: Sequence[str], chosen: Sequence[tuple[str, ...]], asked: int, *, as_json: bool) -> None:
    from ansambl.evaluation.blind import standings

    if not chosen:
        raise AnsamblError(text("nothing was chosen, so there is no result"))
    found = standings(names, chosen)
    if as_json:
        print_json({"questions": asked, "chosen": len(chosen), "standings": [_document(one) for one in found]})
        return
    say(speak("{chosen} of {asked} questions were judged").format(chosen=len(chosen), asked=asked))
    rows = [(one.name, _share(one), _compared(one)) for one in found]
    print_table(speak("Blind choice"), (speak("Who"), speak("Preferred"), speak("Against the first")), rows)
    if any(one.against_first is not None and one.against_first.p >= 0.05 for one in found):
        needed = max(one.against_first.needed for one in found if one.against_first is not None)
        note(speak("What is not sure yet may be so by luck; about {needed} questions would show a difference of 20 %.")
             .format(needed=needed))  # fmt: skip


def _share(one: Standing) -> str:
    value = 100 * (one.chosen.value or 0)
    return f"{value:.0f} % ({100 * one.chosen.low:.0f}–{100 * one.chosen.high:.0f} %)"


def _compared(one: Standing) -> str:
    found = one.against_first
    if found is None:
        return "–"
    sure = speak("sure") if found.p < 0.05 else speak("not sure")
    luck = number_words(found.p, ".2f", speak)
    return f"{100 * found.value:+.0f} % ({100 * found.low:+.0f} … {100 * found.high:+.0f} %), p {luck}, {sure}"


def _document(one: Standing) -> dict[str, Any]:
    compared = one.against_first
    return {
        "name": one.name,
        "preferred": {"value": one.chosen.value, "low": one.chosen.low, "high": one.chosen.high},
        "against_first": None if compared is None else {
            "value": compared.value, "low": compared.low, "high": compared.high, "p": compared.p,
            "needed": compared.needed,
        },
    }  # fmt: skip
