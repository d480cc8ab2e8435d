"""Memory of devices as bars: who or what takes how much of a device, drawn in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansambl.domain.footprint import DeviceFootprint, Range
from ansambl.domain.units import size_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 32
"""Letters of a bar where there is room."""

_LEAST_WIDTH = 8
_GAPS = 8

# Parts differ in their letter too: colours are lost in a pipe and to some eyes.
LETTERS = (("█", "blue"), ("▓", "green"), ("▒", "yellow"), ("░", "magenta"), ("■", "cyan"), ("▪", "red"))
"""Letters and colours for parts of a bar, in their order."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One device: expected bytes with the number of the letter that draws them, and what is said beside the bar."""

    name: str
    capacity: int
    parts: tuple[tuple[int, int], ...]
    words: str
    fits: bool


def print_memory(devices: Iterable[DeviceFootprint]) -> None:
    """Print a bar for each device of a footprint, by part, and what the letters mean."""
    bars = [
        Bar(
            device.name, device.capacity,
            tuple(
                (part.expected, number)
                for number, part in enumerate((device.weights, device.kv_needed, device.compute, device.overhead))
            ),
            needed_words(device.needed, device.usable), device.fits,
        )
        for device in devices
    ]  # fmt: skip
    print_bars(bars, (speak("weights"), speak("KV cache"), speak("compute"), speak("overhead")))


def needed_words(needed: Range, usable: int) -> str:
    """What is needed of what can be used, for people."""
    return speak("{expected} of {usable} usable (up to {high})").format(
        expected=size_words(needed.expected, speak), usable=size_words(usable, speak),
        high=size_words(needed.high, speak),
    )  # fmt: skip


def print_bars(bars: Sequence[Bar], names: Sequence[str]) -> None:
    """Print the bars, then which letter stands for which of `names`.

    In a narrow terminal the figures matter more than the drawing: bars shrink, then go below their words.
    """
    from rich.table import Table
    from rich.text import Text

    from ansambl.cli.output import console

    out = console()
    beside = sum(max((len(words) for words in column), default=0) for column in
                 ([one.name for one in bars], [one.words for one in bars]))  # fmt: skip
    width = min(WIDTH, out.width - beside - _GAPS)
    if width < _LEAST_WIDTH:
        for one in bars:
            out.print(Text(f"{one.name}: {one.words}", style="" if one.fits else "red"), soft_wrap=False)
            out.print(draw(one, max(1, min(WIDTH, out.width))))
    else:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True)
        for one in bars:
            table.add_row(Text(one.name), draw(one, width), Text(one.words, style="" if one.fits else "red"))
        out.print(table)
    legend = Text()
    for number, name in enumerate(names):
        letter, colour = LETTERS[number % len(LETTERS)]
        legend.append(letter, style=colour).append(f" {name}  ", style="dim")
    legend.append("·", style="dim").append(f" {speak('free')}", style="dim")
    out.print(legend, soft_wrap=False)


def draw(bar: Bar, width: int = WIDTH) -> Text:
    """The bar in `width` letters for the whole capacity; what is over is cut off."""
    from rich.text import Text

    drawn = Text()
    done, taken = 0, 0
    for size, number in bar.parts:
        done += size
        upto = min(width, round(width * done / max(1, bar.capacity)))
        letter, colour = LETTERS[number % len(LETTERS)]
        drawn.append(letter * (upto - taken), style=colour)
        taken = max(taken, upto)
    return drawn.append("·" * (width - taken), style="dim")
