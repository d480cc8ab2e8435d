"""Numbers out of files that come from strangers: whole, in a sensible range, or refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ansambl.domain.architecture import LayerGroup

MAX_LAYERS = 4096
MAX_WIDTH = 1 << 24
MAX_CONTEXT = 1 << 40


class NonsenseError(ValueError):
    """A field of a model file holds what no model has; the message names it."""


class MissingError(ValueError):
    """A model file does not say something that is needed; the message names the field."""


def sensible(name: str, value: object, *, least: int = 0, most: int = MAX_WIDTH) -> int:
    """Return `value` when it is a whole number from `least` to `most`.

    Raises:
        NonsenseError: it is not; the message names the field.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        shown = repr(value)[:40]
        message = f"'{name}' is {shown}, expected a whole number from {least} to {most}"
        raise NonsenseError(message)
    return value


def grouped(layers: Iterable[LayerGroup]) -> tuple[LayerGroup, ...]:
    """Equal layers as one group each, in the order in which each kind first appears."""
    counts: dict[tuple[object, ...], int] = {}
    first: dict[tuple[object, ...], LayerGroup] = {}
    for layer in layers:
        key = (layer.attention, layer.key_width, layer.value_width, layer.window, layer.state_bytes)
        counts[key] = counts.get(key, 0) + layer.count
        first.setdefault(key, layer)
    return tuple(
        LayerGroup(count, one.attention, one.key_width, one.value_width, one.window, one.state_bytes)
        for key, count in counts.items()
        for one in (first[key],)
    )


def periodic(count: int, period: int, *, dense_first: bool = False) -> Sequence[bool]:
    """Which of `count` layers slide when one layer of each `period` sees everything; 0 means that all slide."""
    if period == 0:
        return [True] * count
    everything = 0 if dense_first else period - 1
    return [index % period != everything for index in range(count)]
