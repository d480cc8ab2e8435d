"""Memory of devices as bars: what each part of a footprint takes of a device, drawn in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ansambl.domain.footprint import DeviceFootprint
from ansambl.domain.units import format_bytes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from rich.text import Text

WIDTH = 32
"""Letters of a bar."""

_LEAST_WIDTH = 8
_GAPS = 8

# Parts differ in their letter too: colours are lost in a pipe and to some eyes.
_PARTS = (
    ("weights", "█", "blue"),
    ("kv_cache", "▓", "green"),
    ("compute", "▒", "yellow"),
    ("overhead", "░", "magenta"),
)


def print_memory(devices: Iterable[DeviceFootprint]) -> None:
    """Print a line with a bar for each device, and what the letters mean."""
    from rich.table import Table
    from rich.text import Text

    from ansambl.cli.output import console

    rows = [
        (
            device,
            speak("{expected} of {usable} usable (up to {high})").format(
                expected=format_bytes(device.needed.expected), usable=format_bytes(device.usable),
                high=format_bytes(device.needed.high),
            ),
        )
        for device in devices
    ]  # fmt: skip
    out = console()
    names_and_words = (
        max((len(device.name) for device, _ in rows), default=0)
        + max((len(words) for _, words in rows), default=0)
        + _GAPS
    )
    # In a narrow terminal the figures matter more than the drawing: the bar shrinks, then goes below its words.
    width = min(WIDTH, out.width - names_and_words)
    if width < _LEAST_WIDTH:
        for device, words in rows:
            out.print(Text(f"{device.name}: {words}", style="" if device.fits else "red"), soft_wrap=False)
            out.print(bar(device, max(1, min(WIDTH, out.width))))
    else:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
        for _ in range(3):
            table.add_column(no_wrap=True)
        for device, words in rows:
            table.add_row(Text(device.name), bar(device, width), Text(words, style="" if device.fits else "red"))
        out.print(table)
    names = (speak("weights"), speak("KV cache"), speak("compute"), speak("overhead"))
    legend = Text()
    for (_, letter, colour), name in zip(_PARTS, names, strict=True):
        legend.append(letter, style=colour).append(f" {name}  ", style="dim")
    legend.append("·", style="dim").append(f" {speak('free')}", style="dim")
    out.print(legend, soft_wrap=False)


def bar(device: DeviceFootprint, width: int = WIDTH) -> Text:
    """The needed bytes of a device by part, in `width` letters for its whole capacity; what is over is cut off."""
    from rich.text import Text

    parts = {
        "weights": device.weights, "kv_cache": device.kv_needed, "compute": device.compute,
        "overhead": device.overhead,
    }  # fmt: skip
    drawn = Text()
    done = 0
    taken = 0
    for name, letter, colour in _PARTS:
        done += parts[name].expected
        upto = min(width, round(width * done / max(1, device.capacity)))
        drawn.append(letter * (upto - taken), style=colour)
        taken = upto
    return drawn.append("·" * (width - taken), style="dim")
