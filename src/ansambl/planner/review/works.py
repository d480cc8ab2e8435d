"""Format, card, engine, version and interface: whether they go together, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ansambl.domain.catalog import ModelKind
from ansambl.domain.compatibility import Judgement, Verdict
from ansambl.domain.device import DeviceModel
from ansambl.domain.review import Finding, Level
from ansambl.domain.text import Text, text
from ansambl.planner.compatibility import judge
from ansambl.planner.families import GPU_ONLY
from ansambl.planner.review.facts import NO_SOURCE, RULES, ReviewFacts, joined

# Plain facts; a reason with another code says something more that the user should know.
_PLAIN = frozenset({
    "since", "works", "talks", "carried-engine", "openai-protocol", "removed", "too-old", "unsupported",
    "wheel-binaries",
})  # fmt: skip
_DEPTH = {Verdict.NO: Level.WRONG, Verdict.UNKNOWN: Level.WEAK, Verdict.SLOW: Level.WEAK}

_THOUGHTS: Mapping[str, tuple[Text, str]] = MappingProxyType({
    "open-webui": (
        text("Open WebUI shows a model's thoughts from reasoning_content, reasoning or thinking"),
        "open-webui/docs @1eea3847",
    ),
    "chat-ui": (
        text("HF chat-ui shows a model's thoughts from reasoning, reasoning_content or reasoning_text"),
        "huggingface/chat-ui @021592366 openAIChatToTextGenerationStream.ts",
    ),
})  # fmt: skip
"""By interface, how it takes a reasoning model's thoughts."""


def works_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """The checkpoint's format with the engine on each kind of device."""
    best = facts.best
    if best is None:
        if facts.choice is None and facts.candidates:
            yield from _cannot_run(facts)
        return
    engine = facts.compatibility.engines.get(best.engine)
    devices = {gpu.model.name: gpu.model for gpu in facts.machine.gpus} or {"": facts.machine.ram.model}
    seen: set[tuple[str, str]] = set()
    for device in devices.values():
        found = _judged(facts, best.engine, best.candidate.format, best.candidate.quantization,
                        best.candidate.architecture.family, device)  # fmt: skip
        for one in _of_judgement(found, engine.title if engine else best.engine, device):
            key = (one.code, one.text.render())
            if key not in seen:
                seen.add(key)
                yield one
        if found.since is not None and facts.stated.version is None and found.verdict is not Verdict.NO:
            asked = text("which version of {engine} do you have? It must be {since} or newer: --set engine_version=…",
                         engine=engine.title if engine else best.engine, since=found.since)  # fmt: skip
            if ("engine-version", asked.render()) not in seen:
                seen.add(("engine-version", asked.render()))
                yield Finding(Level.FORGOTTEN, "engine-version", asked, _source(found))


def _judged(
    facts: ReviewFacts, engine: str, form: str, quantization: str, family: str, device: DeviceModel
) -> Judgement:
    return judge(facts.compatibility, engine, version=facts.stated.version, format=form, quantization=quantization,
                 family=family, device=device)  # fmt: skip


def _of_judgement(found: Judgement, engine: str, device: DeviceModel) -> Iterator[Finding]:
    notes = [one for one in found.reasons if one.code not in {*_PLAIN, "unknown"}]
    if found.verdict is Verdict.YES:
        words = (
            text("{engine} runs this format and family on {device} from version {since}", engine=engine,
                 device=device.title, since=found.since) if found.since else
            text("{engine} runs this format and family on {device}", engine=engine, device=device.title)
        )  # fmt: skip
        yield Finding(Level.HOLDS, "works", words, _source(found))
        for one in notes:
            yield Finding(Level.WEAK, one.code, one.text, one.source)
        return
    for one in found.reasons:
        unclear = one.code == "unknown"
        if found.verdict is Verdict.NO:
            # What decides stands first; a mere lack of facts is no reason against.
            if not unclear and one.code not in {"since", "works"}:
                yield Finding(Level.WRONG, one.code, one.text, one.source)
        elif unclear or one.code not in _PLAIN:
            yield Finding(Level.WEAK, "works-unknown" if unclear else one.code, one.text, one.source)


def _source(found: Judgement) -> str:
    """Who says from which version; else who is first."""
    since = next((one.source for one in found.reasons if found.since and found.since in one.text.render()), None)
    return since or next((one.source for one in found.reasons), NO_SOURCE)


def _cannot_run(facts: ReviewFacts) -> Iterator[Finding]:
    """Nothing that was asked for can be tried: why, and which engines could."""
    engine = facts.stated.engine
    gpus = facts.machine.gpus
    devices = [gpu.model for gpu in gpus] or [facts.machine.ram.model]
    told: list[Finding] = []
    if engine is not None and (gpus or engine not in GPU_ONLY):
        judged = [
            _judged(facts, engine, one.format, one.quantization, one.architecture.family, devices[0])
            for one in facts.candidates
        ]  # fmt: skip
        # Of several formats the one is told of that a newer version would run.
        nearest = min(judged, key=lambda one: one.since is None)
        told = [Finding(Level.WRONG, one.code, one.text, one.source) for one in nearest.reasons
                if one.code not in {"since", "works", "unknown"}]  # fmt: skip
    if not told and facts.untried is not None:
        told = [Finding(Level.WRONG, "unsupported", facts.untried, RULES)]
    yield from told
    able = [
        known.title for known in facts.compatibility.engines.values()
        if (gpus or known.name not in GPU_ONLY) and any(
            judge(facts.compatibility, known.name, format=one.format, quantization=one.quantization,
                  family=one.architecture.family, device=devices[0]).verdict is Verdict.YES
            for one in facts.candidates
        )
    ]  # fmt: skip
    if able:
        words = text("by format and card the newest versions of these engines run it: {engines}", engines=joined(able))
        yield Finding(Level.WEAK, "other-engine", words, "compatibility facts of Ansambl: ansambl compat")


def ui_findings(facts: ReviewFacts) -> Iterator[Finding]:
    """Whether the interface can talk to the engine, and shows what the model answers."""
    ui = facts.stated.ui
    engine = facts.best.engine if facts.best else facts.stated.engine
    if ui is None or engine is None or not facts.writes_text:
        return
    found = judge(facts.compatibility, engine, ui=ui.name)
    known = facts.compatibility.engines.get(engine)
    engine_title = known.title if known else engine
    level = _DEPTH.get(found.verdict, Level.HOLDS)
    if engine_title == ui.title:
        yield Finding(Level.HOLDS, "ui", text("{ui} runs the model itself", ui=ui.title), _source(found))
    for one in found.reasons if engine_title != ui.title else ():
        yield Finding(level, "ui" if level is Level.HOLDS else f"ui-{found.verdict.value}", one.text, one.source)
    if found.verdict is Verdict.NO:
        yield from _other_uis(facts, engine)
        return
    if facts.taken_for_ui:
        others = judge(facts.compatibility, "vllm", ui=ui.name)
        yield Finding(
            Level.FORGOTTEN, "ui-own-engine",
            text("{ui} runs models itself, so {engine} was taken; it is no front end to vLLM or to another machine",
                 ui=ui.title, engine=engine), _source(others),
        )  # fmt: skip
    if ui.name == "chat-ui":
        yield Finding(Level.FORGOTTEN, "ui-address",
                      text("HF chat-ui needs the engine's address: OPENAI_BASE_URL=http://HOST:PORT/v1"),
                      "huggingface/chat-ui @c100c162f README.md")  # fmt: skip
    if facts.card is not None and facts.card.kind is ModelKind.REASONING:
        words, source = _THOUGHTS.get(
            ui.name, (text("no source says how {ui} shows the thoughts of a reasoning model: try it", ui=ui.title),
                      NO_SOURCE))  # fmt: skip
        yield Finding(Level.HOLDS if ui.name in _THOUGHTS else Level.WEAK, "ui-thoughts", words, source)


def _other_uis(facts: ReviewFacts, engine: str) -> Iterator[Finding]:
    able = {ui.title: found for ui in facts.compatibility.uis.values()
            if (found := judge(facts.compatibility, engine, ui=ui.name)).verdict is Verdict.YES}  # fmt: skip
    if able:
        yield Finding(Level.WEAK, "ui-instead", text("{engine} can be used from {uis}", engine=engine,
                                                     uis=joined(able)), _source(next(iter(able.values()))))  # fmt: skip
