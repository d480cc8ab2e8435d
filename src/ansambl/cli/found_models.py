"""Tables of ``ansambl models find``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ansambl.cli.output import note, print_grouped, print_table, say
from ansambl.cli.speeds import answering
from ansambl.domain.units import size_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansambl.app.model_search import Found

_SIZES_SHOWN = 4


def print_found(found: Sequence[Found], *, judged: bool) -> None:
    """Print what a search found: with `judged` what can be run first, and why the rest was not judged."""
    if not found:
        note(speak("The hub has nothing of that name that an engine here could run; try fewer words."))
        return
    told = [one for one in found if one.reason is None]
    if judged:
        _print_judged(told)
    else:
        headers = (speak("Repository"), speak("Format"), speak("Sizes"), speak("Licence"), speak("Downloads"))
        rows = [(one.repo, one.format, _sizes(one), _licence(one), _downloads(one)) for one in told]
        print_table(speak("Found"), headers, rows)
    print_grouped(
        speak("Not judged"), "·", "dim",
        [(f"{one.repo}: {one.reason.render(speak)}", "") for one in found if one.reason is not None],
    )  # fmt: skip
    first = next((one for one in told if one.fits or not judged), None)
    if first is not None:
        say("")
        say(speak("Next"))
        say(f"  {shlex.join(['ansambl', 'models', 'pull', first.reference])}")


def _print_judged(found: Sequence[Found]) -> None:
    headers = (
        speak("Reference"), speak("Fits"), speak("Size"), speak("Context"), speak("Engine"), speak("Answers"),
        speak("Licence"), speak("Downloads"),
    )  # fmt: skip
    rows = []
    for one in found:
        best = one.placement
        if best is not None:
            rows.append((
                one.reference, speak("yes") if best.fits else speak("no"), size_words(best.candidate.size, speak),
                str(best.context), best.engine, answering(best), _licence(one), _downloads(one),
            ))  # fmt: skip
    print_table(speak("Found"), headers, rows)


def _sizes(one: Found) -> str:
    shown = [f"{name} {size_words(size, speak)}" for name, size in one.sizes]
    return ", ".join(shown[:_SIZES_SHOWN]) + (f" (+{len(shown) - _SIZES_SHOWN})" if shown[_SIZES_SHOWN:] else "")


def _licence(one: Found) -> str:
    licence = one.licence or speak("unknown")
    return speak("{licence}, to be accepted").format(licence=licence) if one.gated else licence


def _downloads(one: Found) -> str:
    return "?" if one.downloads is None else f"{one.downloads:,}".replace(",", " ")
