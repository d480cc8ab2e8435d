"""The page of all engines, ``docs/reference/engines/README.md``: from the registry, the adapters and the builds."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ansambl.app.configuration.settings import BUNDLED_ENGINE
from ansambl.domain.engine import Installed, NotUsable
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.adapter import AttachOnly, CanSleep, EngineAdapter, KeepsConversations, SharesPrefixes, SwapsLora
from ansambl.engines.install.data import known_builds
from ansambl.engines.registry import ENGINES

_WORDS = {
    "gguf": "GGUF", "exl3": "EXL3", "mlx": "MLX", "peft": "PEFT", "cuda": "CUDA", "rocm": "ROCm", "metal": "Metal",
    "vulkan": "Vulkan", "cpu": "processor", "xpu": "Intel GPU",
}  # fmt: skip
_ORDER = ("cuda", "rocm", "vulkan", "metal", "xpu", "cpu")
NOTICE = "<!-- Made by tools/generate_reference.py (make docs); change the code, not this page. -->"
"""Stands at the top of what is made."""

_PAGE = """\
# Engines

{notice}

An engine is the program that runs a checkpoint. Ansambl knows these. An engine that is *started* runs as a child
process: Ansambl chooses its port, gives it a key where it takes one, watches it, explains why it ended, and brings it
back. One that is *attached* is run by somebody else, and Ansambl only talks to it.

{runs}

`engine` may be left out. Then a GGUF file goes to llama.cpp with a GPU where such a program is here, else to the
bundled one; a folder of safetensors to vLLM, SGLang or Transformers, whichever is usable first; EXL3 to ExLlamaV3;
MLX to MLX. `ansambl engines list` says what is usable on this machine, and what is missing: [install an
engine](../../how-to/install-an-engine.md).

With an `address` every engine but `llama.cpp-bundled` and `command` may be named. Nothing is started then, and the
name only says what is known of it: [attach](../../how-to/attach.md).

## What each can do

{can}

* **LoRA adapters**: the format that it loads, and when. What the builds of one engine can do may differ: see its page
  and [LoRA adapters](../../how-to/lora-adapters.md).
* **Sleep**: it gives the device's memory back and stays. An engine without sleep is ended after the model's `ttl`
  instead, and started again.
* **Slots**: where they are *chosen*, each request goes to the slot that holds most of its conversation; *copied*,
  what several roles have in common is read once; *kept*, conversations survive a start for a new LoRA adapter.
* **Shares prefixes at once**: requests that are worked on at the same time share the beginning of their prompts by
  the engine's own cache. *No* with slots that are copied costs a copy instead ([how roles answer at
  once](../../explanation/roles.md#how-roles-answer-at-once)).

## What was tried

Every engine passes one suite of checks against recorded data. This table says which of them were also run for real,
with which version and on what; the pages say what exactly.

{tried}

[Add an engine](../../how-to/add-an-engine.md): one module, one line, one folder of data, one page.
"""
_DAY = re.compile(r"\bon (\d{4}-\d{2}-\d{2})\b")
_RUNS = ("Engine", "`engine =`", "Is", "Formats", "Devices", "`ansambl engines install`")
_CAN = ("Engine", "LoRA adapters", "Sleep", "Slots", "Shares prefixes at once")
_TRIED = ("Engine", "Tried on the real engine", "Followed where it was not tried")


def page(pages: Path) -> str:
    """The whole page. `pages` is the folder of the engines' own pages, which name the day of a real run.

    Raises:
        ValueError: an adapter says that it was tried on the real engine, and its page names no day.
    """
    return _PAGE.format(
        notice=NOTICE, runs=_table(_RUNS, _runs, pages), can=_table(_CAN, _can, pages),
        tried=_table(_TRIED, _tried, pages),
    )  # fmt: skip


def _table(head: tuple[str, ...], row: Callable[[str, EngineAdapter, str], tuple[str, ...]], pages: Path) -> str:
    rows = [head, ("---",) * len(head)]
    for name in ENGINES:
        own = (pages / f"{name}.md").read_text(encoding="utf-8")
        title = own.split("\n", 1)[0].removeprefix("# ")
        rows.append((f"[{title}]({name}.md)", *row(name, ENGINES.get(name), own)))
    return "\n".join(f"| {' | '.join(one)} |".replace("| --- |", "|---|").replace(" --- |", "---|") for one in rows)


def _runs(name: str, adapter: EngineAdapter, _: str) -> tuple[str, ...]:
    traits = adapter.traits
    how = "attached" if _is_attached(adapter) else "started"
    return f"`{name}`", how, _formats(traits.formats), _devices(traits.devices), _builds(name)


def _can(name: str, adapter: EngineAdapter, _: str) -> tuple[str, ...]:
    return _loras(name, adapter), _sleep(name, adapter), _slots(name, adapter), _prefixes(name, adapter)


def _is_attached(adapter: EngineAdapter) -> bool:
    return isinstance(adapter, AttachOnly) and adapter.attach_only


def _formats(formats: frozenset[str]) -> str:
    return ", ".join(_WORDS.get(one, one) for one in sorted(formats)) or "its own affair"


def _devices(devices: frozenset[str]) -> str:
    return ", ".join(_WORDS[one] for one in _ORDER if one in devices) or "its own affair"


def _tried(name: str, adapter: EngineAdapter, own: str) -> tuple[str, ...]:
    traits, followed = adapter.traits, adapter.traits.documented or "–"
    if not traits.verified:
        return ("**no**" if traits.documented else f"no engine of its own: [its page]({name}.md#verified)"), followed
    found = _DAY.search(own.partition("\n## Verified\n")[2])
    if found is None:
        message = f"{name} was tried on the real engine; its page must say when, under Verified: on YYYY-MM-DD"
        raise ValueError(message)
    return f"{traits.verified}, {found[1]}", followed


def _placement(name: str, form: str | None, loras: tuple[LoraAdapter, ...] = ()) -> Placement:
    checkpoint = None
    if form is not None:
        checkpoint = Checkpoint(
            reference="model", path="/models/model", format=form, size=Bytes(1000), identity="", context=8192
        )
    return Placement(
        model="model", engine=name, checkpoint=checkpoint, context=4096, parallel=2, loras=loras,
        state_folder="/states", gpus=(0,), vendor="nvidia",
        installed=Installed(version="", path="/engine", build="cuda"),
    )  # fmt: skip


def _loras(name: str, adapter: EngineAdapter) -> str:
    forms = sorted(adapter.traits.lora_formats)
    if not isinstance(adapter, SwapsLora) or not forms:
        return "no"
    lora = LoraAdapter("poet", "model", dict.fromkeys(forms, "/loras/poet"), 8, Bytes(1000), "")
    calls = adapter.lora_calls(_placement(name, _form(adapter), (lora,)))
    if isinstance(calls, NotUsable):
        return "no"
    when = [*(["at its start"] if calls.at_start else []), *(["while it runs"] if calls.can_load else [])]
    return f"{', '.join(_WORDS[one] for one in forms)}: loaded {' or '.join(when)}"


def _form(adapter: EngineAdapter) -> str | None:
    return min(adapter.traits.formats, default=None)


def _sleep(name: str, adapter: EngineAdapter) -> str:
    if isinstance(adapter, CanSleep):
        return f"[on some builds]({name}.md#sleep)"
    return "–" if _is_attached(adapter) else "no: it is ended"


def _slots(name: str, adapter: EngineAdapter) -> str:
    if not isinstance(adapter, KeepsConversations):
        return "no"
    calls = adapter.conversation_calls(_placement(name, _form(adapter)))
    if calls is None:
        return "as the command says"
    return "chosen, copied, kept" if calls.can_copy else "chosen"


def _prefixes(name: str, adapter: EngineAdapter) -> str:
    if not isinstance(adapter, SharesPrefixes):
        return "unknown"
    words = {True: "yes", False: "no", None: "unknown"}
    forms = sorted(adapter.traits.formats)
    told = {form: words[adapter.shares_prefixes(_placement(name, form))] for form in forms}
    if len(set(told.values())) == 1:
        return told[forms[0]]
    if not told:
        return "as the command says"
    return ", ".join(f"{_WORDS.get(form, form)} {answer}" for form, answer in told.items())


def _builds(name: str) -> str:
    if name == BUNDLED_ENGINE:
        return "comes with Ansambl"
    builds = {one.build for one in known_builds() if one.engine == name}
    return _devices(frozenset(builds)) if builds else "no"
