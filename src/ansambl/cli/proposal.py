"""A plan that could be fetched, as ``ansambl up`` shows it, and the question that does not stop the answering."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from ansambl.cli.speeds import tokens_per_second
from ansambl.domain.units import size_words, time_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from rich.console import Console

    from ansambl.app.first_plan import Proposal

# Bytes a second of usual links; how fast this one is shows only when it is used.
_LINKS = ((50, 50e6 / 8), (1000, 1e9 / 8))


def proposal_lines(proposal: Proposal) -> list[str]:
    """What would be fetched, with size, free disk, licence, time and speed: a line for each model and two for all."""
    lines = ["", "  " + speak("For this machine the plan is: {title}").format(
        title=proposal.option.title.render(speak))]  # fmt: skip
    for one in proposal.fetches:
        placement = one.placement
        lines.append(
            "    " + speak("{model} {quantization}: {size} to fetch, licence {licence}, answers {speed}").format(
                model=placement.candidate.title, quantization=placement.candidate.quantization,
                size=size_words(one.size, speak), licence=one.licence or speak("unknown"),
                speed=tokens_per_second(placement.speed.decode),
            )
        )  # fmt: skip
        lines.append(f"      {one.reference}")
    times = ", ".join(
        speak("{time} at {speed} Mbit/s").format(time=time_words(proposal.size / link, speak), speed=speed)
        for speed, link in _LINKS
    )
    lines.append(
        "    " + speak("{size} in all, {free} free in {folder}; {times}").format(
            size=size_words(proposal.size, speak), free=size_words(proposal.free, speak), folder=proposal.folder,
            times=times,
        )
    )  # fmt: skip
    return lines


async def ask_beside(console: Console, question: str) -> bool | None:
    """Ask on the terminal while the loop goes on; None when the input ended without an answer."""
    console.print(f"  {question} ", end="")
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not answered.done():
            answered.set_result(sys.stdin.readline())

    # A terminal hands over whole lines, so reading one does not wait.
    loop.add_reader(sys.stdin, read)
    try:
        line = await answered
    finally:
        loop.remove_reader(sys.stdin)
    return line.strip().casefold() in {"y", "yes", "д", "да"} if line else None
