"""Memory, context and speed of the choice, and what would fit instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansambl.domain.compatibility import Verdict
from ansambl.domain.device import DeviceKind
from ansambl.domain.figures import figure
from ansambl.domain.footprint import DeviceFootprint
from ansambl.domain.planning import PlannedPlacement
from ansambl.domain.review import Finding, Level
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes, rate_figure
from ansambl.planner.choosing import LOSSLESS_BITS
from ansambl.planner.compatibility import judge
from ansambl.planner.families import SIXTEEN_BITS, SMALLER_CACHE
from ansambl.planner.fitting import Limits, expert_layers_in_ram, layers_in_ram, limits, place
from ansambl.planner.memory.inputs import MOST_PARALLEL
from ansambl.planner.placement.rules import OWN_RULE, QUANTIZATION_SOURCE
from ansambl.planner.placement.worth import strength
from ansambl.planner.review.facts import NEARLY, RULES, ReviewFacts, divided, tokens_a_second

_SHOWN = 3
# Bits for each weight of the fewest-bit files that people publish for large models (UD-IQ1_M: 80.9 GiB of 291 B).
_FEWEST_BITS = 2
_MUCH_LOST = 2.0
_NEARLY_LOSSLESS = 8.0
_CLEARLY_QUICKER = 1.3
_CLEARLY_SMALLER = 0.25
# Tokens. A context below it holds a few pages and no document; our own bound.
_SHORT = 8192


def memory_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Whether it fits, how much more would, and what would fit instead."""
    best = facts.best
    if best is None:
        yield from _nothing_tried(facts)
        return
    candidate = best.candidate
    device = _tightest(best)
    values = {
        "quantization": candidate.quantization, "engine": best.engine, "device": device.name,
        "usable": format_bytes(device.usable), "high": format_bytes(device.needed.high), "context": best.context,
        "parallel": best.parallel,
    }  # fmt: skip
    if not best.fits:
        yield Finding(
            Level.WRONG, "memory",
            text("{quantization} with {engine} does not fit {device}: {context} tokens × {parallel} need up to {high} "
                 "of {usable}", **values)
            if device.needed.high > device.usable else
            text("{quantization} with {engine} does not fit {device}", **values),
            candidate.source,
        )  # fmt: skip
        yield from (Finding(Level.WEAK, one.code, one.text, one.source) for one in best.footprint.reasons
                    if one.code == "too-slow")  # fmt: skip
        yield from _instead(facts, best)
        return
    yield Finding(
        Level.HOLDS, "memory",
        text("{quantization} with {engine} fits {device}: {context} tokens × {parallel} need up to {high} of {usable}",
             **values), candidate.source,
    )  # fmt: skip
    yield from _room(facts, best)
    yield from _in_ram(best)


def _tightest(best: PlannedPlacement) -> DeviceFootprint:
    """The device that is told: the GPU, or the RAM, that is fullest."""
    devices = best.footprint.devices
    over = [one for one in devices if not one.fits]
    gpus = [one for one in devices if one.kind is DeviceKind.GPU and one.weights.expected]
    return max(over or gpus or devices, key=lambda one: one.needed.high / max(1, one.usable))


def _nothing_tried(facts: ReviewFacts) -> Iterator[Finding]:
    if facts.untried is None or facts.candidates:
        return
    yield Finding(Level.WEAK, "memory-unknown", facts.untried, RULES)
    card = facts.card
    if card is None or card.parameters is None:
        return
    if card.checkpoints:
        least = int(card.checkpoints[0].low)
        words, source = text("its smallest known files"), card.checkpoints[0].source
    else:
        least = card.parameters * _FEWEST_BITS // 8
        words, source = text("its weights in {bits} bits", bits=_FEWEST_BITS), f"{card.parameters} parameters"
    room = facts.machine.memory
    if least > room:
        yield Finding(
            Level.WRONG, "memory",
            text("{what} take {least}, and {machine} has {room} in all", what=words, least=format_bytes(least),
                 machine=facts.machine.name, room=format_bytes(room)), source,
        )  # fmt: skip


def _instead(facts: ReviewFacts, best: PlannedPlacement) -> Iterator[Finding]:
    """What would fit: fewer tokens, a smaller KV cache, fewer bits, experts in RAM."""
    most = limits(best).context
    if most:
        yield Finding(Level.WEAK, "smaller-context",
                      text("with at most {context} tokens × {parallel} it fits", context=most,
                           parallel=best.parallel), RULES)  # fmt: skip
    kv_type = _smaller_kv(facts, best)
    if kv_type is not None:
        other = place(best.candidate, best.engine, facts.machine, replace(facts.wish, kv_type=kv_type))
        if other.fits:
            yield Finding(Level.WEAK, "smaller-kv", text("with the KV cache in {type} it fits: --kv-type {type}",
                                                         type=kv_type), RULES)  # fmt: skip
    fitting = _distinct([one for one in (facts.choice.others if facts.choice else ()) if one.fits])
    if fitting:
        options = divided(_option(one) for one in fitting[:_SHOWN])
        yield Finding(Level.WEAK, "instead", text("of this model would fit: {list}", list=options), RULES)
    elif not most:
        yield Finding(Level.WEAK, "instead", text("no quantization of it that is known fits this machine"), RULES)


def _distinct(placements: list[PlannedPlacement]) -> list[PlannedPlacement]:
    kept: dict[str, PlannedPlacement] = {}
    for one in placements:
        kept.setdefault(one.candidate.quantization, one)
    return list(kept.values())


def _option(one: PlannedPlacement) -> Text:
    layers = expert_layers_in_ram(one)
    values = {"quantization": one.candidate.quantization, "engine": one.engine}
    words = (
        text("{quantization} with {engine} (speed unknown)", **values) if one.speed.decode is None else
        text("{quantization} with {engine} (about {speed})", speed=tokens_a_second(one), **values)
    )  # fmt: skip
    if layers:
        return text("{option} with the experts of {layers} layers in RAM", option=words, layers=layers)
    if layers_in_ram(one):
        return text("{option} with {layers} whole layers in RAM", option=words, layers=layers_in_ram(one))
    return words


def _smaller_kv(facts: ReviewFacts, best: PlannedPlacement) -> str | None:
    found = SMALLER_CACHE.get(best.engine)
    if found is None or best.kv_type.lower() not in SIXTEEN_BITS:
        return None
    for gpu in facts.machine.gpus:
        verdict = judge(facts.compatibility, best.engine, version=facts.stated.version, device=gpu.model,
                        kv_type=found).verdict  # fmt: skip
        if verdict is not Verdict.YES:
            return None
    return found


def _room(facts: ReviewFacts, best: PlannedPlacement) -> Iterator[Finding]:
    most = limits(best)
    made_for = best.candidate.architecture.context
    if most.context is None or most.parallel is None:
        return
    whole = made_for is not None and most.context >= made_for
    words = (
        text("its whole context of {context} tokens fits", context=made_for) if whole else
        text("at most {context} tokens fit", context=most.context)
    )  # fmt: skip
    if best.parallel < most.parallel < MOST_PARALLEL:
        words = text("{first}, or {parallel} × {wanted}", first=words, parallel=most.parallel, wanted=best.context)
    kv_type = None if whole else _smaller_kv(facts, best)
    more = _with_kv(best, kv_type).context if kv_type else None
    if more is not None and more > most.context:
        words = text("{first}; with --kv-type {type} {more} tokens", first=words, type=kv_type, more=more)
    yield Finding(Level.HOLDS, "room", words, RULES)


def _with_kv(best: PlannedPlacement, kv_type: str) -> Limits:
    return limits(replace(best, kv_type=kv_type))


def _in_ram(best: PlannedPlacement) -> Iterator[Finding]:
    layers = best.candidate.architecture.layer_count
    experts, whole = expert_layers_in_ram(best), layers_in_ram(best)
    if whole:
        words = text("{count} of {layers} whole layers lie in RAM, which slows every token", count=whole, layers=layers)
    elif experts:
        words = text("the experts of {count} of {layers} layers lie in RAM, which slows every token", count=experts,
                     layers=layers)  # fmt: skip
    else:
        return
    yield Finding(Level.WEAK, "in-ram", words, RULES)


def _quicker(facts: ReviewFacts, best: PlannedPlacement) -> Iterator[Finding]:
    """A checkpoint of the same model with fewer bits that is quick enough, where the choice is not."""
    enough = facts.rules.speeds["chat"].enough
    decode = best.speed.decode
    if decode is None or decode.expected >= NEARLY * enough or facts.choice is None:
        return
    quicker = [
        one for one in facts.choice.others
        if one.fits and one.speed.decode and one.speed.decode.expected >= _CLEARLY_QUICKER * decode.expected
    ]  # fmt: skip
    quick = [one for one in quicker if one.speed.decode and one.speed.decode.expected >= enough]
    found = max(quick, key=lambda one: one.candidate.bits, default=None) or max(
        quicker, key=lambda one: one.speed.decode.expected if one.speed.decode else 0.0, default=None
    )
    if found is not None:
        yield Finding(Level.WEAK, "quicker", text("quicker with fewer bits: {option}", option=_option(found)), RULES)


def speed_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Whether it answers as fast as a chat wants."""
    best = facts.best
    if best is None or not best.fits or not facts.writes_text:
        return
    decode = best.speed.decode
    if decode is None:
        yield Finding(Level.WEAK, "speed-unknown", text("how fast it answers is not known"), RULES)
        return
    enough = facts.rules.speeds["chat"].enough
    basis = next((one.source for one in best.speed.reasons if one.code == "speed.decode"), RULES)
    values = {"speed": rate_figure(decode.expected), "low": rate_figure(decode.low), "high": rate_figure(decode.high),
              "enough": figure(enough, "g")}  # fmt: skip
    if decode.expected < NEARLY * enough:
        yield Finding(
            Level.WEAK, "slow",
            text("it answers at about {speed} tokens/s ({low} to {high}); a chat wants {enough} or more", **values),
            f"{basis}; {OWN_RULE}",
        )  # fmt: skip
        yield from _quicker(facts, best)
    else:
        yield Finding(
            Level.HOLDS, "speed", text("it answers at about {speed} tokens/s ({low} to {high})", **values), basis
        )


def quantization_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Whether its bits are too many or too few."""
    best = facts.best
    if best is None:
        return
    candidate = best.candidate
    weight = candidate.bits
    if best.fits and weight > LOSSLESS_BITS and facts.writes_text:
        yield from _too_many_bits(facts, best)
    lost = strength(candidate, facts.native, None, facts.rules).lost
    if best.fits and lost >= _MUCH_LOST:
        yield Finding(
            Level.WEAK, "few-bits",
            text("{quantization} has {bits} bits a weight and loses {points} points; ten are worth a doubling of the "
                 "parameters", quantization=candidate.quantization, bits=figure(weight, ".2f"),
                 points=figure(lost, ".1f")),
            QUANTIZATION_SOURCE,
        )  # fmt: skip


def _too_many_bits(facts: ReviewFacts, best: PlannedPlacement) -> Iterator[Finding]:
    found = [
        one for one in facts.candidates
        if _NEARLY_LOSSLESS <= one.bits <= LOSSLESS_BITS and one.format in {"gguf", best.candidate.format}
    ]  # fmt: skip
    for one in sorted(found, key=lambda each: (each.format != best.candidate.format, -each.bits, each.quantization)):
        engine = best.engine if one.format == best.candidate.format else "llama.cpp"
        verdict = judge(
            facts.compatibility, engine, format=one.format, quantization=one.quantization,
            family=one.architecture.family, device=facts.machine.gpus[0].model if facts.machine.gpus else None,
        ).verdict  # fmt: skip
        if verdict is not Verdict.YES:
            continue
        saved = best.candidate.weights.total - one.weights.total
        if saved < _CLEARLY_SMALLER * best.candidate.weights.total:
            continue
        other = place(one, engine, facts.machine, facts.wish)
        if other.fits and other.speed.decode and best.speed.decode:
            yield Finding(
                Level.WEAK, "many-bits",
                text("{quantization} with {engine} loses next to nothing, saves {saved} and answers at about {speed}",
                     quantization=one.quantization, engine=engine, speed=tokens_a_second(other),
                     saved=format_bytes(saved)),
                QUANTIZATION_SOURCE,
            )  # fmt: skip
            return


def _context_source(facts: ReviewFacts, best: PlannedPlacement) -> str:
    return facts.card.sources[0] if facts.card and facts.card.sources else best.candidate.source


def context_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Whether the context lies beyond what the model was made for, and whether that is enough for documents."""
    best = facts.best
    if best is None:
        return
    made_for = best.candidate.architecture.context
    if made_for is None:
        yield Finding(Level.WEAK, "context-unknown",
                      text("no source says for which context it was made"), best.candidate.source)  # fmt: skip
    elif best.context > made_for:
        yield from (Finding(Level.WEAK, one.code, one.text, one.source) for one in best.footprint.reasons
                    if one.code == "context-beyond-model")  # fmt: skip
    elif made_for < _SHORT and facts.writes_text:
        words = text("it was made for {context} tokens only: long texts and documents do not fit", context=made_for)
        yield Finding(Level.WEAK, "short-context", words, _context_source(facts, best))
