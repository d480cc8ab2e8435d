"""Judging one combination from the rows: which facts apply, which of them decides, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ansambl.domain.compatibility import (
    DIMENSIONS,
    CompatibilityFacts,
    CompatibilityRow,
    DeviceClass,
    Judgement,
    KnownEngine,
    Verdict,
)
from ansambl.domain.device import DeviceModel
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import Reason
from ansambl.domain.versions import VersionKey, version_key
from ansambl.planner.compatibility import wording
from ansambl.planner.compatibility.spelling import bad_version, find_engine, find_ui, plain_family, plain_format

_ALIKE = 65_536


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question in the spelling of the rows."""

    engine: KnownEngine
    version: str | None
    key: VersionKey | None
    values: Mapping[str, str | DeviceClass]

    def position(self, row: CompatibilityRow) -> int:
        """Where the version stands to the row's window: -1 before it, 0 in it, 1 after it; no version is the newest.

        2 is a version older than those in which anybody looked.
        """
        if self.key is None:
            return 1 if row.until else 0
        if row.since and self.key < version_key(row.since, builds=self.engine.builds):
            return -1
        if row.seen and self.key < version_key(row.seen, builds=self.engine.builds):
            return 2
        return 1 if row.until and self.key >= version_key(row.until, builds=self.engine.builds) else 0

    def meets(self, row: CompatibilityRow) -> bool:
        """Whether the row speaks about what is asked.

        A good row may have conditions about what was not asked; a bad one holds only where all its conditions do.
        """
        if row.subject != "engine" and row.subject not in self.values:
            return False
        for name in DIMENSIONS:
            condition = getattr(row, name)
            if not condition:
                continue
            value = self.values.get(name)
            if value is None:
                if row.verdict is not Verdict.YES:
                    return False
            elif isinstance(value, DeviceClass):
                if not any(one.accepts(value) for one in condition):
                    return False
            elif value not in condition:
                return False
        return True


def judge(
    rows: CompatibilityFacts,
    engine: str,
    *,
    version: str | None = None,
    format: str | None = None,  # noqa: A002 - the word of the data, and of every caller
    quantization: str | None = None,
    family: str | None = None,
    device: DeviceModel | None = None,
    ui: str | None = None,
    kv_type: str | None = None,
) -> Judgement:
    """Whether a combination works: yes, slow, no, or unknown where a fact is missing. What is None is not asked.

    Each named thing needs a fact of its own that says yes; among several the most specific counts. One fact that says
    no decides. Answers are remembered, so asking again costs microseconds.

    Args:
        rows: the facts, from the data of the engines.
        engine: a name or an alias of an engine.
        version: the engine's version; None stands for the newest.
        format: ``"gguf"``, ``"safetensors"``, ``"exl3"``, ``"exl2"`` or ``"mlx"``.
        quantization: as the checkpoint calls it (``"Q4_K_M"``, ``"awq-4bit"``, ``"MXFP4"``).
        family: the model's family as its files spell it (``"gpt_oss"``, ``"qwen3moe"``).
        device: the device that runs it.
        ui: the user interface that shall talk to the engine.
        kv_type: the number format of the KV cache (``"fp8_e4m3"``).

    Raises:
        UsageError: there is no such engine or user interface, or `version` is no version of the engine.
    """
    kind = DeviceClass.of(device) if device is not None else None
    return _judge(rows, engine, version, format, quantization, family, kind, ui, kv_type)


@lru_cache(maxsize=_ALIKE)
def _judge(
    facts: CompatibilityFacts,
    engine: str,
    version: str | None,
    form: str | None,
    quantization: str | None,
    family: str | None,
    device: DeviceClass | None,
    ui: str | None,
    kv_type: str | None,
) -> Judgement:
    known = find_engine(facts, engine)
    interface = find_ui(facts, ui) if ui is not None else None
    try:
        key = version_key(version, builds=known.builds) if version is not None else None
    except ValueError:
        raise UsageError(bad_version(known, version or "")) from None
    plain, method = plain_format(form, quantization)
    named = {
        "ui": interface.name if interface else None,
        "kv_type": kv_type.strip().lower() if kv_type else None,
        "family": plain_family(facts, family) if family else None,
        "quantization": method,
        "format": plain,
        "device": device,
    }
    asked = _Asked(known, version, key, {name: value for name, value in named.items() if value is not None})
    labels = wording.Labels(
        known, version, ui=interface.title if interface else None, family=family, kv_type=kv_type,
        format=plain, quantization=quantization if method else None, device=device,
    )  # fmt: skip
    applying: dict[str, list[CompatibilityRow]] = {}
    for row in _rows_of(facts, known.name):
        if asked.meets(row):
            applying.setdefault(row.subject, []).append(row)
    parts = [_part(asked, labels, name, applying.get(name, [])) for name in DIMENSIONS if name in asked.values]
    if "engine" in applying:
        parts.append(_part(asked, labels, "engine", applying["engine"]))
    return _joined(facts, known, parts)


@lru_cache(maxsize=256)
def _rows_of(facts: CompatibilityFacts, engine: str) -> tuple[CompatibilityRow, ...]:
    return tuple(row for row in facts.rows if row.engine == engine)


@dataclass(frozen=True, slots=True)
class _Part:
    """What the rows say about one dimension."""

    verdict: Verdict
    since: str | None
    reasons: tuple[Reason, ...]
    too_old: bool = False


def _part(asked: _Asked, labels: wording.Labels, subject: str, rows: list[CompatibilityRow]) -> _Part:
    against = [row for row in rows if row.verdict is Verdict.NO and asked.position(row) == 0]
    if against:
        return _Part(Verdict.NO, None, tuple(wording.against(labels, subject, row) for row in against))
    good = [row for row in rows if row.verdict is not Verdict.NO]
    holding = [row for row in good if asked.position(row) == 0]
    if holding:
        best = _first(asked, _most_specific(asked, holding))
        return _Part(best.verdict, best.since, (wording.in_favour(labels, subject, best),))
    coming = [row for row in good if asked.position(row) < 0]
    if coming:
        best = _first(asked, _most_specific(asked, coming))
        return _Part(Verdict.NO, best.since, (wording.too_old(labels, subject, best),), too_old=True)
    gone = [row for row in good if asked.position(row) == 1]
    if gone:
        return _Part(Verdict.NO, None, (wording.removed(labels, subject, gone[-1]),))
    return _Part(Verdict.UNKNOWN, None, (wording.unknown(labels, subject),))


def _most_specific(asked: _Asked, rows: list[CompatibilityRow]) -> list[CompatibilityRow]:
    def met(row: CompatibilityRow) -> int:
        return sum(1 for name in DIMENSIONS if getattr(row, name) and name in asked.values)

    most = max(map(met, rows))
    return [row for row in rows if met(row) == most]


def _first(asked: _Asked, rows: list[CompatibilityRow]) -> CompatibilityRow:
    """The row that worked earliest; one whose first version nobody names comes last, so that `since` is told."""

    def order(row: CompatibilityRow) -> tuple[bool, VersionKey]:
        return row.since is None, version_key(row.since or row.seen or "0", builds=asked.engine.builds)

    return min(rows, key=order)


_WEIGHT = {Verdict.NO: 0, Verdict.UNKNOWN: 1, Verdict.SLOW: 2, Verdict.YES: 3}


def _joined(facts: CompatibilityFacts, engine: KnownEngine, parts: list[_Part]) -> Judgement:
    if not parts:
        return Judgement(Verdict.UNKNOWN, None, (wording.nothing_asked(engine, facts.collected),))
    verdict = min((part.verdict for part in parts), key=_WEIGHT.__getitem__)
    reasons = tuple(reason for part in sorted(parts, key=lambda part: _WEIGHT[part.verdict]) for reason in part.reasons)
    hopeless = any(part.verdict is Verdict.NO and not part.too_old for part in parts)
    named = [part.since for part in parts if part.since]
    if hopeless or verdict is Verdict.UNKNOWN or not named:
        return Judgement(verdict, None, reasons)
    return Judgement(verdict, max(named, key=lambda one: version_key(one, builds=engine.builds)), reasons)
