"""``ansambl eval``: is a role, an ensemble or a layout worth its cost?"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.running_state import RunningState
    from ansambl.evaluation.grading import Grader
    from ansambl.evaluation.records import Contestant, Outcome, Settings
    from ansambl.evaluation.task_file import TaskSet

_INTERRUPTED = 130
_QUESTIONS = 20
"""How many past questions are asked where --limit says nothing: more than a person judges in one go."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "eval", help=speak("Ask roles, ensembles and plain models the same tasks and say which is worth its cost.")
    )(evaluate)


def evaluate(
    file: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help=speak('A file of tasks; "shipped" is the small set that comes along.')),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="NAMES",
            help=speak('Who answers, with commas between; "plain" is the model without a role. '
                       "The first is what the others are compared with."),
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="LAYOUT", help=speak("shared-prefix, classic, or both."))
    ] = None,
    tokens: Annotated[
        int, typer.Option("--tokens", min=1, max=1_000_000, help=speak("Tokens that each may generate for one answer."))
    ] = 512,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=100, help=speak("How often each task is asked."))] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help=speak("Ask so many tasks at most."))] = None,
    seed: Annotated[int, typer.Option("--seed", help=speak("Decides the order of the tasks."))] = 1,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=5, help=speak("For all alike; else as each role says."))
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", min=1, max=64, help=speak("Requests at once; more than 1 spoils the times."))
    ] = 1,
    kind: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help=speak("The file's format if its keys tell none."))
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help=speak("Keep each answer here; the same command goes on from it.")),
    ] = None,
    from_chats: Annotated[
        bool,
        typer.Option("--from-chats", help=speak(
            "Ask questions of your own past conversations, and choose between the answers without seeing whose they "
            "are; --out then writes the questions with their old answers.")),
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", metavar="NAME", help=speak("Past conversations of this collection alone.")),
    ] = None,
    search: Annotated[
        str, typer.Option("--search", metavar="WORDS", help=speak("Past questions with one of these words."))
    ] = "",
    with_old: Annotated[
        bool, typer.Option("--with-old", help=speak("The answer that was given then is a candidate, too."))
    ] = False,
    choices: Annotated[
        Path | None,
        typer.Option("--choices", metavar="FILE", help=speak("Take the choices from here, a line each.")),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> int:  # fmt: skip
    """Evaluate."""
    from ansambl.evaluation.records import Settings

    settings = Settings(tokens=tokens, repeat=repeat, seed=seed, temperature=temperature, parallel=parallel)
    if from_chats:
        from ansambl.cli.chat_evaluation import ChatsWanted, evaluate_chats

        if file is not None:
            raise UsageError(text("--from-chats takes no file of tasks; leave {file} out", file=file[:60]))
        evaluate_chats(
            config,
            ChatsWanted(collection, search, limit or _QUESTIONS, against, layout, with_old, choices, out, settings),
            as_json=as_json,
        )
        return 0
    if file is None or against is None:
        raise UsageError(text("ansambl eval needs a FILE of tasks and --against NAMES, or --from-chats"))
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.client import running_state
    from ansambl.evaluation.task_file import load_tasks

    tasks = load_tasks(file, kind)
    state = running_state(load_data_paths(config))
    run = _Run(tasks, settings, limit)
    interrupted = False
    try:
        asyncio.run(run.perform(state, against, layout, out))
    except KeyboardInterrupt:
        if not run.outcomes:
            raise
        interrupted = True
    run.show(as_json=as_json, interrupted=interrupted)
    return _INTERRUPTED if interrupted else 0


class _Run:
    """One evaluation; what came before an interruption stays in `outcomes`."""

    def __init__(self, tasks: TaskSet, settings: Settings, limit: int | None) -> None:
        from ansambl.evaluation.runner import choose_tasks

        self.outcomes: list[Outcome] = []
        self._set = tasks
        self._settings = settings
        self._tasks = choose_tasks(tasks.tasks, limit, settings.seed)
        self._contestants: tuple[Contestant, ...] = ()

    async def perform(self, state: RunningState, against: str, layout: str | None, out: Path | None) -> None:
        """Ask and grade everything that is not answered yet."""
        from ansambl.cli.evaluation_client import EvaluationClient, read_contestants
        from ansambl.cli.progress import StepBar
        from ansambl.evaluation.answers_file import AnswersFile, run_head
        from ansambl.evaluation.grading import Grader
        from ansambl.evaluation.runner import make_jobs, run_jobs
        from ansambl.evaluation.sandbox import Sandbox

        async with EvaluationClient(state) as client:
            known, default_model = await client.known()
            self._contestants = read_contestants(against, layout, known, default_model)
            jobs = make_jobs(self._tasks, self._contestants, self._settings.repeat)
            grader = Grader(Sandbox())
            await self._warn_of_code(grader)
            with ExitStack() as stack:
                keep = stack.enter_context(AnswersFile(out, run_head(self._set, self._settings))) if out else None
                places = {one.place for one in jobs}
                self.outcomes += [one for one in (keep.outcomes if keep else ()) if one.place in places]
                bar = stack.enter_context(StepBar(speak("Asking"), len(jobs), len(self.outcomes)))

                def take(outcome: Outcome) -> None:
                    self.outcomes.append(outcome)
                    if keep is not None:
                        keep.add(outcome)
                    bar.step()

                done = {one.place for one in self.outcomes}
                await run_jobs(jobs, client, grader, self._settings, take, done=done)

    async def _warn_of_code(self, grader: Grader) -> None:
        from ansambl.cli.output import note

        if any(one.kind == "code" for one in self._tasks):
            problem = await grader.problem()
            if problem is not None:
                note(speak("Tasks with code are not run: {reason}").format(reason=problem.render(speak)))

    def show(self, *, as_json: bool, interrupted: bool) -> None:
        """Print what there is."""
        from ansambl.cli.evaluation_tables import print_summary
        from ansambl.cli.output import note, print_json
        from ansambl.evaluation.document import summary_document
        from ansambl.evaluation.summary import summarise

        summary = summarise(self._contestants, self.outcomes)
        if interrupted:
            note(speak("Interrupted; this is what there was."))
        if as_json:
            print_json(summary_document(summary, self._set, self._settings, speak, interrupted=interrupted))
        else:
            print_summary(summary, self._set, self._settings)
