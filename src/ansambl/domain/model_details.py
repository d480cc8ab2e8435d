"""What is known of a model without asking its engine: what the head of its file says, as lists of models show it."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.units import Bytes


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """None or empty where it is not known.

    `architecture` is what the files call it, `size` the bytes of its files, `parameters` their count, `context` the
    longest sequence that it was trained for. `embeds` and `reranks` are models that make vectors, or scores, and no
    words. `vision` tells whether it is started so that it sees pictures.
    """

    format: str = ""
    architecture: str = ""
    quantization: str = ""
    size: Bytes | None = None
    parameters: int | None = None
    context: int | None = None
    embeds: bool = False
    reranks: bool = False
    vision: bool = False


NOTHING_KNOWN = ModelDetails()
