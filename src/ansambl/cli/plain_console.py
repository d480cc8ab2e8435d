"""A console for words that somebody else wrote. Apart from `output`, because it needs rich when it is imported."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ansambl.foundation.terminals import harmless


class PlainConsole(Console):
    """Sends a terminal no other commands than rich's own: rich itself takes a few out of texts, and not the escape."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, without what the words themselves would have the terminal do."""
        for one in super().render(renderable, options):
            yield one if one.control else Segment(harmless(one.text), one.style)
