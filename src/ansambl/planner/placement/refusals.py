"""Why checkpoints are left out of a plan, collected while it is made and told in one sentence each."""

from __future__ import annotations

from collections.abc import Iterable

from ansambl.domain.catalog import CatalogModel
from ansambl.domain.compatibility import Judgement
from ansambl.domain.device import PlannedMachine
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import text
from ansambl.domain.units import format_bytes

MOST_CHECKPOINTS = 8
"""Checkpoints that are told of although another of the same model can be used."""


class Refusals:
    """The reasons by model and by checkpoint. The first reason of a kind is kept, of sizes the nearest miss."""

    def __init__(self) -> None:
        self._models: dict[str, Reason] = {}
        self._large: dict[tuple[str, str], tuple[int, Reason]] = {}
        self._misses: dict[tuple[str, str], tuple[int, Reason]] = {}
        self._incompatible: dict[tuple[str, str], Reason] = {}
        self._feasible: set[tuple[str, str]] = set()
        self.strengths: dict[str, float] = {}

    def feasible(self, candidate: Candidate) -> None:
        """There is a way to run it, whether or not a plan takes it."""
        self._feasible.add((candidate.model, candidate.quantization))

    def add(self, model: str, reason: Reason) -> None:
        """A reason that holds for all of a model's checkpoints."""
        self._models.setdefault(model, reason)

    def context(self, candidate: Candidate, wanted: int) -> None:
        """The model was made for less context than is wanted."""
        self.add(candidate.model, Reason(
            "rejected.context",
            text("{model}: made for {most} tokens, and {wanted} are wanted", model=candidate.model,
                 most=candidate.architecture.context, wanted=wanted),
            "; ".join(candidate.card.sources[:1]) if candidate.card else candidate.source,
        ))  # fmt: skip

    def incompatible(self, candidate: Candidate, judgement: Judgement) -> None:
        """The facts say that it does not work."""
        first = judgement.reasons[0] if judgement.reasons else None
        if first is not None:
            self._incompatible.setdefault((candidate.model, candidate.quantization), first)

    def too_large(self, candidate: Candidate, machine: PlannedMachine, room: int) -> None:
        """The weights alone are more than the engine could have of the machine."""
        reason = Reason(
            "rejected.too-large",
            text("{model} in {quantization} needs {size} for its weights alone, and {machine} has {room} for it",
                 model=candidate.model, quantization=candidate.quantization,
                 size=format_bytes(candidate.weights.total), machine=machine.name, room=format_bytes(room)),
            candidate.weights.source,
        )  # fmt: skip
        self._keep(self._large, candidate, candidate.weights.total - room, reason)

    def too_slow(self, candidate: Candidate, machine: PlannedMachine, most: float) -> None:
        """What does not fit on the GPUs would be read from the RAM for each token, and that alone takes too long."""
        reason = Reason(
            "rejected.too-slow",
            text(
                "{model} in {quantization}: what the GPUs of {machine} do not hold lies in RAM, whose bandwidth allows "
                "at most {speed} tokens/s",
                model=candidate.model,
                quantization=candidate.quantization,
                machine=machine.name,
                speed=f"{most:.2g}",
            ),
            "bytes read for a token over the RAM's bandwidth",
        )
        self._keep(self._misses, candidate, candidate.weights.total, reason)

    def does_not_fit(self, candidate: Candidate, placement: PlannedPlacement) -> None:
        """A forecast says that it does not fit."""
        devices = placement.footprint.devices
        worst = max(devices, key=lambda one: one.needed.high - one.usable)
        excess = worst.needed.high - worst.usable
        slow = next((one for one in placement.footprint.reasons if one.code == "too-slow"), None)
        if slow is not None:
            reason = Reason(
                "rejected.too-slow",
                text(
                    "{model} in {quantization}: {why}",
                    model=candidate.model,
                    quantization=candidate.quantization,
                    why=slow.text,
                ),
                slow.source,
            )
        else:
            reason = Reason(
                "rejected.does-not-fit",
                text(
                    "{model} in {quantization} with {context} tokens needs up to {needed} on {device} of {machine}, "
                    "and {usable} can be used",
                    model=candidate.model,
                    quantization=candidate.quantization,
                    context=placement.context,
                    needed=format_bytes(worst.needed.high),
                    device=worst.name,
                    machine=placement.machine.name,
                    usable=format_bytes(worst.usable),
                ),
                "planner.memory",
            )
        self._keep(self._misses, candidate, excess, reason)

    @staticmethod
    def _keep(
        kept: dict[tuple[str, str], tuple[int, Reason]], candidate: Candidate, excess: int, reason: Reason
    ) -> None:
        key = (candidate.model, candidate.quantization)
        if key not in kept or excess < kept[key][0]:
            kept[key] = (excess, reason)

    def told(self, sizeless: Iterable[CatalogModel]) -> tuple[Reason, ...]:
        """The reasons of models that cannot be run at all, then of single checkpoints; the stronger come first."""
        with_variant, strengths = self._feasible, self.strengths
        models = {model for model, _ in with_variant}
        told = {model: reason for model, reason in self._models.items() if model not in models}
        for kept in (self._misses, self._large):
            for (model, _), (_, reason) in sorted(kept.items(), key=lambda one: (one[1][0], one[0])):
                if model not in models:
                    told.setdefault(model, reason)
        for (model, _), reason in sorted(self._incompatible.items()):
            if model not in models:
                told.setdefault(model, reason)
        whole = [told[model] for model in sorted(told, key=lambda one: (-strengths.get(one, 0.0), one))]
        whole.extend(
            Reason("rejected.no-sizes", text("{model}: no source reports the sizes of its files or what is inside, so "
                                             "nothing can be forecast", model=model.name), "; ".join(model.sources[:1]))
            for model in sorted(sizeless, key=lambda one: one.name) if model.name not in models
        )  # fmt: skip
        parts = {
            **{key: one[1] for key, one in self._misses.items()},
            **{key: one[1] for key, one in self._large.items()},
        }
        single = sorted((key for key in parts if key[0] in models and key not in with_variant),
                        key=lambda key: (-strengths.get(key[0], 0.0), key))  # fmt: skip
        return (*whole, *(parts[key] for key in single[:MOST_CHECKPOINTS]))
