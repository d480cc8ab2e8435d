"""What the readers of LoRA adapters say of a file."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.text import Text
from ansambl.domain.units import Bytes
from ansambl.model_catalog.printable import printable

PEFT, GGUF = "peft", "gguf"
"""The two formats: a folder as the PEFT library saves it, and one file as llama.cpp loads it."""


@dataclass(frozen=True, slots=True)
class LoraPair:
    """The two small matrices for one weight of the base model, which has `inputs` columns and `outputs` rows.

    `module` is the weight's name as the file's format calls it, without ``.weight``. `scale` is what their product is
    multiplied with before it is added to the weight. `embedding` means that the weight is a table of tokens: `inputs`
    is the size of the vocabulary then. `experts` is how many experts are stacked in it, 1 for an ordinary weight.
    """

    module: str
    inputs: int
    outputs: int
    rank: int
    scale: float
    embedding: bool = False
    experts: int = 1


@dataclass(frozen=True, slots=True)
class LoraFile:
    """One LoRA adapter as its files describe it.

    `path` is a folder (PEFT) or a file (GGUF), `weights` the file that holds the numbers. `alpha` is what the file
    says, before any rule is applied to it. `base` is the model that it names as its own, `architecture` what a GGUF
    file calls the model's kind. `invocation` are an activated one's tokens. `identity` is a hash of all that counts.
    `notes` are what its owner should know and what stops nothing.
    """

    format: str
    path: str
    weights: str
    size: Bytes
    pairs: tuple[LoraPair, ...]
    alpha: float
    identity: str
    base: str | None = None
    architecture: str | None = None
    task: str | None = None
    invocation: tuple[int, ...] = ()
    notes: tuple[Text, ...] = ()

    @property
    def rank(self) -> int:
        """The largest rank of all pairs; engines reserve memory by it."""
        return max(pair.rank for pair in self.pairs)

    @property
    def targets(self) -> tuple[str, ...]:
        """The kinds of weights that it changes, sorted (``"q_proj"``, ``"attn_q"``)."""
        return tuple(sorted({printable(pair.module.rpartition(".")[2]) for pair in self.pairs}))
