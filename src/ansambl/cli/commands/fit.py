"""``ansambl fit``: whether a model fits a machine, how fast it will be, and why."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import (
    DOES_NOT_FIT,
    Context,
    Engine,
    KvType,
    MachineName,
    Model,
    Parallel,
    Quantization,
    Remote,
    Set,
    read_settings,
)
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.fitting import Answer, Question
    from ansambl.domain.device import PlannedMachine
    from ansambl.domain.planning import PlannedPlacement
    from ansambl.planner.choosing import Choice
    from ansambl.planner.fitting import Limits

_OTHERS_SHOWN = 12
_LEFT_OUT_SHOWN = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fit", help=speak("Tell whether a model fits a machine, how fast it will be, and why."))(fit)


def fit(
    model: Model, quantization: Quantization = None, engine: Engine = None, machine: MachineName = None,
    context: Context = None, parallel: Parallel = 1, kv_type: KvType = "f16", settings: Set = None,
    remote: Remote = False, config: Config = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Answer for one model on one machine; exit code 3 when it does not fit."""
    from ansambl.app.fitting import Question, answer_with_changes
    from ansambl.app.plan_documents import fit_document
    from ansambl.cli.output import print_json

    question = Question(
        model=model, quantization=quantization, engine=engine, machine=machine, context=context, parallel=parallel,
        kv_type=kv_type, settings=read_settings(settings), remote=remote,
    )  # fmt: skip
    found = answer_with_changes(question, config)
    best = found.choice.best
    if as_json:
        print_json(fit_document(best, found.limits, speak, found.instead))
    else:
        _print(question, found)
    if not best.fits:
        raise typer.Exit(DOES_NOT_FIT)


def _print(question: Question, found: Answer) -> None:
    from ansambl.cli.memory_bars import print_memory
    from ansambl.cli.output import note, print_grouped, print_pairs, print_table, say
    from ansambl.cli.speeds import answering, tokens_per_second
    from ansambl.domain.units import size_words

    choice = found.choice
    best = choice.best
    candidate = best.candidate
    say(f"{candidate.title} · {candidate.quantization} · {best.engine} · {best.machine.title}: {_verdict(best)}")
    size = f"{'' if candidate.basis == 'reported' else '≈ '}{size_words(candidate.size, speak)}"
    pairs = [
        (speak("Checkpoint"), f"{candidate.quantization}, {candidate.format}, {size}"),
        (speak("Context"), speak("{context} tokens × {parallel}").format(context=best.context, parallel=best.parallel)),
        (speak("At most"), _most(best, found.limits)),
        (speak("Answers"), answering(best)),
        (speak("Reads prompts"), tokens_per_second(best.speed.prefill)),
    ]  # fmt: skip
    if best.parallel > 1:
        pairs.append((speak("All at once"), tokens_per_second(best.speed.batch)))
    if best.settings:
        pairs.append((speak("Settings"), best.written_settings))
    print_pairs(pairs)
    say("")
    print_memory(best.footprint.devices)
    reasons = dict.fromkeys((one.text.render(speak), one.source) for one in (*best.footprint.reasons,
                                                                            *best.speed.reasons))  # fmt: skip
    print_grouped(speak("Why"), "·", "dim", list(reasons))
    headers = (
        speak("Quantization"), speak("Engine"), speak("Size"), speak("Fits"), speak("Answers"), speak("Settings"),
    )  # fmt: skip
    if not best.fits:
        _print_changes(found)
    others = _worth_telling(choice)
    print_table(speak("The same model otherwise"), headers, [_other(one) for one in others])
    if best.fits:
        _print_next(question, best)
    left_out = list(dict.fromkeys(one.text.render(speak) for one in choice.left_out))
    for words in left_out[:_LEFT_OUT_SHOWN]:
        note(words)
    if len(left_out) > _LEFT_OUT_SHOWN and not question.remote:
        where = ["--machine", question.machine_name] if question.machine_name is not None else []
        command = shlex.join(["ansambl", "compat", question.model, *where])
        note(speak("Why other combinations were not tried: {command}").format(command=command))
    for one in best.machine.notes:
        note(one.render(speak))


def _verdict(placement: PlannedPlacement) -> str:
    if placement.fits:
        return speak("fits")
    # Only the careful end of the forecast is over: many such loads succeed.
    expected = all(
        one.needed.expected <= one.usable and one.kv_needed.expected <= one.kv_cache.expected
        for one in placement.footprint.devices
    )
    if expected and not _too_slow(placement):
        return speak("may not fit")
    return speak("does not fit")


def _too_slow(placement: PlannedPlacement) -> bool:
    return any(one.code == "too-slow" for one in placement.footprint.reasons)


def _most(placement: PlannedPlacement, most: Limits) -> str:
    from ansambl.planner.fitting import may_use_ram

    if most.context is None:
        return speak("not one token with these settings")
    longest, several = (most.context, placement.parallel), (placement.context, most.parallel or 0)
    # As long and more at once says both.
    if longest[0] == several[0]:
        longest = max(longest, several)
    words = speak("{context} tokens × {parallel}").format(context=longest[0], parallel=longest[1])
    if most.parallel is not None and longest != several:
        words = speak("{longest}, or {context} tokens × {parallel}").format(
            longest=words, context=placement.context, parallel=most.parallel
        )
    if may_use_ram(placement):
        return speak("{most}, on the GPUs alone").format(most=words)
    return words


def _print_changes(found: Answer) -> None:
    """What would fit instead; where nothing does, how far the smallest is from it."""
    from ansambl.cli.output import print_table, say
    from ansambl.cli.speeds import answering
    from ansambl.domain.units import size_words

    rows = [
        (
            shlex.join(one.options), one.placement.candidate.quantization, one.placement.engine,
            size_words(one.placement.footprint.total.expected, speak), answering(one.placement),
        )
        for one in found.instead
    ]  # fmt: skip
    headers = (speak("Give"), speak("Quantization"), speak("Engine"), speak("Memory"), speak("Answers"))
    print_table(speak("What would fit"), headers, rows)
    tried = (found.choice.best, *found.choice.others)
    if rows or any(one.fits for one in tried):
        return
    smallest = min(tried, key=lambda one: one.candidate.size)
    say("")
    say(
        speak("Nothing would fit: the smallest checkpoint ({quantization}) has {size}, {machine} has {memory}.").format(
            quantization=smallest.candidate.quantization, size=size_words(smallest.candidate.size, speak),
            machine=smallest.machine.name, memory=_memory(smallest.machine),
        )
    )  # fmt: skip


def _memory(machine: PlannedMachine) -> str:
    from ansambl.domain.units import size_words

    own = [gpu for gpu in machine.gpus if not gpu.model.unified_memory]
    ram = speak("{size} of RAM").format(size=size_words(machine.ram.memory, speak))
    if not own:
        return ram
    return speak("{size} on GPUs and {ram}").format(size=size_words(sum(gpu.memory for gpu in own), speak), ram=ram)


def _worth_telling(choice: Choice) -> list[PlannedPlacement]:
    """Others of the ranking, those that fit first."""
    return sorted(choice.others, key=lambda one: not one.fits)[:_OTHERS_SHOWN]


def _print_next(question: Question, best: PlannedPlacement) -> None:
    from ansambl.app.fitting import as_arguments
    from ansambl.cli.output import say

    say("")
    if not question.remote:
        command = shlex.join(["ansambl", "command", *as_arguments(question, best)])
        say(speak("Next, the engine's own command: {command}").format(command=command))
    elif "://" not in question.model:
        # Of a repository that the catalog does not know, a command can only be made from its files.
        tagged = best.candidate.format != "gguf" or ":" in question.model or question.quantization is None
        reference = question.model if tagged else f"{question.model}:{question.quantization}"
        say(speak("Next"))
        say(f"  {shlex.join(['ansambl', 'models', 'pull', reference])}")


def _other(placement: PlannedPlacement) -> tuple[str, ...]:
    from ansambl.cli.speeds import answering
    from ansambl.domain.units import size_words

    return (
        placement.candidate.quantization, placement.engine, size_words(placement.candidate.size, speak),
        speak("yes") if placement.fits else speak("no"), answering(placement),
        placement.written_settings,
    )  # fmt: skip
