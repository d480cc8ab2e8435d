"""The sentences of a judgement: what was asked, what the rows say of it, and from which version."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.domain.compatibility import CompatibilityRow, DeviceClass, DeviceSelector, KnownEngine, Platform, Verdict
from ansambl.domain.footprint import Reason
from ansambl.domain.text import Text, text
from ansambl.planner.compatibility.spelling import shown_version

_NO_SOURCE = "no source was found"
_TITLES = {Platform.CUDA: "CUDA", Platform.ROCM: "ROCm", Platform.METAL: "Metal", Platform.XPU: "Intel XPU"}


@dataclass(frozen=True, slots=True)
class Labels:
    """The question in the words of whoever asked."""

    engine: KnownEngine
    version: str | None
    ui: str | None
    family: str | None
    kv_type: str | None
    format: str | None
    quantization: str | None
    device: DeviceClass | None


def in_favour(labels: Labels, subject: str, row: CompatibilityRow) -> Reason:
    """It works, or works slowly."""
    if subject == "engine" and row.note is not None:
        return Reason(row.code or "works", row.note, row.source)
    engine, what = labels.engine.title, _what(labels, subject, row)
    if subject == "ui":
        return _reason(row, "talks", text("{ui} can talk to {engine}", engine=engine, ui=what))
    does = text("runs on {what}", what=what) if subject == "device" else text("runs {what}", what=what)
    since = shown_version(labels.engine, row.since) if row.since else None
    seen = shown_version(labels.engine, row.seen) if row.seen else None
    if row.verdict is Verdict.SLOW:
        return _reason(row, "slow", text("{engine} {does}, but slowly", engine=engine, does=does))
    if since:
        return _reason(
            row, "since", text("{engine} {does} from version {since}", engine=engine, does=does, since=since)
        )
    if seen:
        words = text("{engine} {does} (found in {seen}; the first version is not known)", engine=engine, does=does,
                     seen=seen)  # fmt: skip
        return _reason(row, "works", words)
    return _reason(row, "works", text("{engine} {does}", engine=engine, does=does))


def against(labels: Labels, subject: str, row: CompatibilityRow) -> Reason:
    """It does not work."""
    engine, what = labels.engine.title, _what(labels, subject, row)
    if subject == "ui":
        return _reason(row, "unsupported", text("{ui} cannot talk to {engine}", engine=engine, ui=what))
    does = text("does not run on {what}", what=what) if subject == "device" else text("does not run {what}", what=what)
    if row.since:
        since = shown_version(labels.engine, row.since)
        words = text("{engine} {does} from version {since}", engine=engine, does=does, since=since)
    else:
        words = text("{engine} {does}", engine=engine, does=does)
    return _reason(row, "unsupported", words)


def too_old(labels: Labels, subject: str, row: CompatibilityRow) -> Reason:
    """The version that was asked for came before."""
    words = text(
        "{engine} {version} is too old for {what}: it needs {since}",
        engine=labels.engine.title, version=shown_version(labels.engine, labels.version or ""),
        what=_what(labels, subject, row), since=shown_version(labels.engine, row.since or ""),
    )  # fmt: skip
    return _reason(row, "too-old", words, own_code=True)


def removed(labels: Labels, subject: str, row: CompatibilityRow) -> Reason:
    """Later versions do it no more."""
    words = text(
        "{engine} runs {what} only before version {until}",
        engine=labels.engine.title, what=_what(labels, subject, row),
        until=shown_version(labels.engine, row.until or ""),
    )  # fmt: skip
    return _reason(row, "removed", words, own_code=True)


def unknown(labels: Labels, subject: str) -> Reason:
    """Nobody says."""
    engine, what = labels.engine.title, _what(labels, subject, None)
    if subject == "ui":
        words = text("no source says that {ui} can talk to {engine}", ui=what, engine=engine)
    elif subject == "device":
        words = text("no source says whether {engine} runs on {what}", what=what, engine=engine)
    elif subject == "quantization" and labels.device is not None:
        words = text("no source says whether {engine} runs {what} on {device}", what=what, engine=engine,
                     device=_device(labels.device))  # fmt: skip
    else:
        words = text("no source says whether {engine} runs {what}", what=what, engine=engine)
    return Reason("unknown", words, _NO_SOURCE)


def nothing_asked(engine: KnownEngine, collected: str) -> Reason:
    """No part of a combination was named."""
    words = text("name a format, a model, a device or an interface to judge {engine} with", engine=engine.title)
    return Reason("unknown", words, collected or _NO_SOURCE)


def _reason(row: CompatibilityRow, code: str, words: Text, *, own_code: bool = False) -> Reason:
    if row.note is not None:
        words = text("{fact}; {note}", fact=words, note=row.note)
    return Reason(code if own_code or row.code is None else row.code, words, row.source)


def _what(labels: Labels, subject: str, row: CompatibilityRow | None) -> Text | str:
    """What is spoken about, with the conditions of the row that decides."""
    main = _label(labels, subject)
    parts = [
        _label(labels, name)
        for name in ("quantization", "format")
        if name != subject and row is not None and getattr(row, name) and getattr(labels, name)
    ]
    if row is None and subject == "quantization" and labels.format:
        parts.append(_label(labels, "format"))
    words: Text | str = main if not parts else text("{what} as {form}", what=main, form=" ".join(map(str, parts)))
    if subject == "device" or row is None or not row.device:
        return words
    asked = labels.device
    devices = row.device if asked is None else tuple(one for one in row.device if one.accepts(asked))
    return text("{what} on {devices}", what=words, devices=_devices(devices))


def _label(labels: Labels, name: str) -> Text | str:
    if name == "device":
        return _device(labels.device)
    if name == "kv_type":
        return text("a KV cache in {type}", type=labels.kv_type)
    if name == "family":
        return text("models of the family {family}", family=labels.family)
    value = getattr(labels, name)
    return str(value).upper() if name == "format" and value != "safetensors" else str(value)


def _device(device: DeviceClass | None) -> Text | str:
    if device is None or device.platform is Platform.OTHER:
        return text("this device")
    if device.platform is Platform.CPU:
        return text("the processor")
    title = _TITLES[device.platform]
    if device.capability:
        return f"{title} {device.capability[0]}.{device.capability[1]}"
    return f"{title} {device.target}" if device.target else title


def _devices(selectors: tuple[DeviceSelector, ...]) -> Text | str:
    words = [_selector(one) for one in selectors]
    if len(words) == 1:
        return words[0]
    return text("{devices} or {last}", devices=words[0] if len(words) == 2 else _devices(selectors[:-1]),
                last=words[-1])  # fmt: skip


def _selector(one: DeviceSelector) -> Text | str:
    if one.platform is Platform.CPU:
        return text("the processor")
    title = _TITLES.get(one.platform, one.platform.value)
    low = f"{one.low[0]}.{one.low[1]}" if one.low else None
    below = f"{one.below[0]}.{one.below[1]}" if one.below else None
    if low and below:
        return text("{platform} {low} to below {below}", platform=title, low=low, below=below)
    if low:
        return text("{platform} {low} and newer", platform=title, low=low)
    if below:
        return text("{platform} below {below}", platform=title, below=below)
    return f"{title} {', '.join(one.targets)}" if one.targets else title
