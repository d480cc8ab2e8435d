"""``ansambl fit``: whether a model fits a machine, how fast it will be, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import (
    Context,
    Engine,
    KvType,
    MachineName,
    Model,
    Parallel,
    Quantization,
    Set,
    read_settings,
)
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.domain.planning import PlannedPlacement
    from ansambl.planner.choosing import Choice
    from ansambl.planner.fitting import Limits

_DOES_NOT_FIT = 3
_OTHERS_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fit", help=speak("Tell whether a model fits a machine, how fast it will be, and why."))(fit)


def fit(
    model: Model, quantization: Quantization = None, engine: Engine = None, machine: MachineName = None,
    context: Context = None, parallel: Parallel = 1, kv_type: KvType = "f16", settings: Set = None,
    config: Config = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Answer for one model on one machine; exit code 3 when it does not fit."""
    from ansambl.app.fitting import Question, answer
    from ansambl.app.plan_documents import fit_document
    from ansambl.cli.output import print_json
    from ansambl.planner.fitting import limits

    choice = answer(
        Question(
            model=model, quantization=quantization, engine=engine, machine=machine, context=context, parallel=parallel,
            kv_type=kv_type, settings=read_settings(settings),
        ),
        config,
    )  # fmt: skip
    most = limits(choice.best)
    if as_json:
        print_json(fit_document(choice.best, most, speak))
    else:
        _print(choice, most)
    if not choice.best.fits:
        raise typer.Exit(_DOES_NOT_FIT)


def _print(choice: Choice, most: Limits) -> None:
    from ansambl.cli.memory_bars import print_memory
    from ansambl.cli.output import note, print_pairs, print_table, say
    from ansambl.cli.speeds import tokens_per_second
    from ansambl.domain.units import format_bytes

    best = choice.best
    candidate = best.candidate
    verdict = speak("fits") if best.fits else speak("does not fit")
    title = candidate.card.title if candidate.card else candidate.model
    say(f"{title} · {candidate.quantization} · {best.engine} · {best.machine.title}: {verdict}")
    size = f"{'' if candidate.basis == 'reported' else '≈ '}{format_bytes(candidate.size)}"
    pairs = [
        (speak("Checkpoint"), f"{candidate.quantization}, {candidate.format}, {size}"),
        (speak("Context"), speak("{context} tokens × {parallel}").format(context=best.context, parallel=best.parallel)),
        (speak("At most"), speak("{context} tokens, or {parallel} sequences of the wanted context").format(
            context=most.context or 0, parallel=most.parallel or 0)),
        (speak("Answers"), tokens_per_second(best.speed.decode)),
        (speak("Reads prompts"), tokens_per_second(best.speed.prefill)),
    ]  # fmt: skip
    if best.settings:
        pairs.append((speak("Settings"), " ".join(f"{name}={value}" for name, value in best.settings.items())))
    print_pairs(pairs)
    say("")
    print_memory(best.footprint.devices)
    reasons = dict.fromkeys((one.text.render(speak), one.source) for one in (*best.footprint.reasons,
                                                                            *best.speed.reasons))  # fmt: skip
    print_table(speak("Why"), (speak("Reason"), speak("Source")), list(reasons))
    rows = [_other(one) for one in choice.others[:_OTHERS_SHOWN]]
    headers = (
        speak("Quantization"), speak("Engine"), speak("Size"), speak("Fits"), speak("Answers"), speak("Settings"),
    )  # fmt: skip
    print_table(speak("The same model otherwise"), headers, rows)
    for one in choice.left_out:
        note(one.text.render(speak))
    for words in best.machine.notes:
        note(words.render(speak))


def _other(placement: PlannedPlacement) -> tuple[str, ...]:
    from ansambl.cli.speeds import tokens_per_second
    from ansambl.domain.units import format_bytes

    return (
        placement.candidate.quantization, placement.engine, format_bytes(placement.candidate.size),
        speak("yes") if placement.fits else speak("no"), tokens_per_second(placement.speed.decode),
        " ".join(f"{name}={value}" for name, value in placement.settings.items()),
    )  # fmt: skip
