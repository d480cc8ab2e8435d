"""Instances and the memory of devices, as ``status`` and ``instances`` show them to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak


def print_devices(devices: Sequence[dict[str, Any]]) -> None:
    """Print how the memory of each device is divided; nothing where nobody counts it."""
    from ansambl.cli.memory_bars import Bar, print_bars
    from ansambl.cli.output import say
    from ansambl.domain.units import size_words

    if not devices:
        return
    bars = [
        Bar(
            device_name(one["device"]), max(one["capacity"], one["reserved"] + one["foreign"]),
            ((one["reserved"], 0), (one["foreign"], 1)),
            speak("{reserved} reserved, {foreign} held by others, of {capacity}").format(
                reserved=size_words(one["reserved"], speak), foreign=size_words(one["foreign"], speak),
                capacity=size_words(one["capacity"], speak),
            ),
            one["reserved"] + one["foreign"] <= one["capacity"],
        )
        for one in devices
    ]  # fmt: skip
    say("")
    print_bars(bars, (speak("reserved for models"), speak("other programs")))


def device_name(device: str) -> str:
    """A device as people call it: RAM, GPU 0."""
    kind, number = device.rstrip("0123456789"), device[len(device.rstrip("0123456789")) :]
    return f"{kind.upper()} {number}".strip() if kind in {"ram", "gpu"} else device


def print_instances(instances: Sequence[dict[str, Any]]) -> None:
    """Print the instances, one a line."""
    from ansambl.cli.output import print_table

    print_table(
        speak("Instances"),
        (speak("Model"), speak("State"), speak("Engine"), speak("Memory"), speak("Context"), speak("Speed"), ""),
        [_instance(one) for one in instances],
    )


def state_word(state: str) -> str:
    """An instance's state in the user's language."""
    words = {
        "stopped": speak("stopped"),
        "starting": speak("starting"),
        "ready": speak("ready"),
        "asleep": speak("asleep"),
        "restarting": speak("restarting"),
        "stopping": speak("stopping"),
        "failed": speak("failed"),
        "unreachable": speak("unreachable"),
    }
    return words.get(state, state)


def class_word(name: str) -> str:
    """A class of requests in the user's language."""
    words = {
        "interactive": speak("interactive"),
        "batch": speak("batch"),
        "background": speak("background"),
        "task": speak("tasks"),
    }
    return words.get(name, name)


def progress(one: dict[str, Any]) -> str:
    """How a swap goes that this instance takes part in; "" for none."""
    residency, wanted = one.get("residency"), one.get("wanted")
    if residency == "loading":
        return speak("is loading")
    if residency == "draining" and wanted:
        return speak("finishes its answers, then makes room for {model}").format(model=wanted)
    if residency == "leaving" and wanted:
        return speak("makes room for {model}").format(model=wanted)
    if residency == "draining":
        return speak("finishes its answers, then rests")
    return ""


def _memory(one: dict[str, Any]) -> str:
    from ansambl.domain.units import size_words

    reserved = one.get("reserved") or {}
    if reserved:
        sizes = ", ".join(f"{device_name(device)} {size_words(size, speak)}" for device, size in reserved.items())
        return sizes if one.get("measured") else speak("{sizes} (forecast)").format(sizes=sizes)
    return size_words(one["memory"], speak) if one["memory"] else ""


def _speed(one: dict[str, Any]) -> str:
    decode = (one.get("speed") or {}).get("decode")
    return speak("{rate} tokens/s").format(rate=number_words(decode, ".1f", speak)) if decode else ""


def _instance(one: dict[str, Any]) -> tuple[str, ...]:
    from ansambl.cli.output import local_time

    notes = [speak("attached to {address}").format(address=one["address"])] if one["attached"] else []
    if one["pid"]:
        notes.append(speak("process {pid}").format(pid=one["pid"]))
    if going := progress(one):
        notes.append(going)
    if one["running"] or one["waiting"]:
        notes.append(speak("{running} running, {waiting} waiting").format_map(one) + _by_class(one))
    if one["adopted"]:
        notes.append(speak("adopted"))
    if one.get("load_seconds"):
        notes.append(speak("loaded in {seconds} s").format(seconds=number_words(one["load_seconds"], ".1f", speak)))
    if one.get("swaps"):
        notes.append(speak("swaps: {count}").format(count=one["swaps"]))
    if one.get("cached_share") is not None:
        notes.append(speak("{share} of prompts from the cache").format(share=f"{one['cached_share']:.0%}"))
    if one.get("kv_cache_share") is not None:
        notes.append(speak("KV cache {share} full").format(share=f"{one['kv_cache_share']:.0%}"))
    if one.get("rests_at"):
        notes.append(speak("rests at {time}").format(time=local_time(one["rests_at"])))
    if one["restarts"]:
        notes.append(speak("restarts: {count}").format(count=one["restarts"]))
    if one["message"]:
        notes.append(one["message"])
    context = one["context"]
    return (
        one["model"],
        state_word(one["state"]),
        one["server"] or one["engine"],
        _memory(one),
        f"{context}×{one['parallel'] or 1}" if context else "",
        _speed(one),
        ", ".join(notes),
    )


def _by_class(one: dict[str, Any]) -> str:
    counts = one.get("waiting_by_class") or {}
    words = ", ".join(f"{class_word(name)} {count}" for name, count in counts.items() if count)
    return f" ({words})" if words else ""
