"""Whether a LoRA adapter of the model can be trained on the machine, in 16 and in 4 bits."""

from __future__ import annotations

from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.planning import Candidate
from ansambl.domain.review import TrainingFinding
from ansambl.domain.text import text
from ansambl.domain.units import format_bytes
from ansambl.planner.memory import TrainingInputs, TrainingMethod, forecast_training
from ansambl.planner.review.facts import RULES, ReviewFacts


def training_findings(facts: ReviewFacts) -> tuple[TrainingFinding, ...]:
    """Both methods with usual settings: those that `TrainingInputs` has when nobody gives any."""
    card = facts.card
    candidates = facts.candidates
    if not candidates or (card is not None and not card.kind.writes):
        return ()
    if not facts.machine.gpus:
        return (TrainingFinding("lora", None, text("there is no GPU to train on"), RULES),)
    found = _trained(candidates)
    if found is None:
        return (TrainingFinding("lora", None, text("a quantized GGUF file cannot be trained: it needs the original "
                                                   "weights"), RULES),)  # fmt: skip
    return tuple(_forecast(facts, found, method) for method in TrainingMethod)


def _trained(candidates: tuple[Candidate, ...]) -> Candidate | None:
    """The checkpoint that training loads: the original weights, which are safetensors with the most bits."""
    originals = [one for one in candidates if one.format == "safetensors"]
    return max(originals, key=lambda one: (one.bits, one.quantization), default=None)


def _forecast(facts: ReviewFacts, candidate: Candidate, method: TrainingMethod) -> TrainingFinding:
    try:
        inputs = TrainingInputs(candidate.architecture, candidate.weights, facts.machine, method=method)
        footprint = forecast_training(inputs)
    except (NotSupportedError, UsageError) as error:
        return TrainingFinding(method.value, None, error.message, RULES)
    device = max(
        footprint.devices,
        key=lambda one: (not one.fits, one.kind is DeviceKind.GPU, one.needed.high / max(1, one.usable)),
    )
    values = {
        "low": format_bytes(device.needed.low), "high": format_bytes(device.needed.high), "device": device.name,
        "usable": format_bytes(device.usable),
    }  # fmt: skip
    if footprint.fits:
        words = text("fits: {low} to {high} of {usable} on {device}", **values)
    elif all(one.needed.low <= one.usable for one in footprint.devices):
        words = text("not sure to fit: {low} to {high} of {usable} on {device}", **values)
    else:
        words = text("does not fit: {low} to {high} of {usable} on {device}", **values)
    if len(facts.machine.gpus) > 1:
        words = text("{first}; one GPU is counted", first=words)
    return TrainingFinding(method.value, footprint, words, candidate.source)
