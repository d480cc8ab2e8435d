"""A plan as one page of HTML that needs no network: everything is in it, and nothing in it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ansambl import __version__
from ansambl.app.plan_words import (
    COUNTED,
    Speak,
    answering,
    goal_word,
    residency_word,
    swaps_words,
    tokens_per_second,
)
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption
from ansambl.domain.text import text
from ansambl.domain.units import size_words
from ansambl.foundation.paths import write_atomically
from ansambl.planner.loads import DeviceLoad, device_loads

_TEMPLATES = Path(__file__).resolve().parent / "page_templates"
_COLOURS = 6
_PUBLIC = 0o644


def write_plan_page(plan: Plan, path: Path, speak: Speak, language: str) -> None:
    """Write the page to `path`, whole or not at all; `speak` translates into `language`.

    Raises:
        UsageError: the file cannot be written.
    """
    page = plan_page(plan, speak, language)
    try:
        write_atomically(path, page.encode(), mode=_PUBLIC)
    except OSError as error:
        raise UsageError(
            text("the page {path} cannot be written ({reason}); name another file with --html", path=str(path),
                 reason=error.strerror or str(error))
        ) from None  # fmt: skip


def plan_page(plan: Plan, speak: Speak, language: str) -> str:
    """The page as text, in `language`, into which `speak` translates."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("plan.html").render(
        language=language,
        words=_words(speak),
        # A machine that was described, and often one's own, has one name for both.
        machines=[one.name if one.name == one.title else f"{one.name} ({one.title})" for one in plan.machines],
        goal=goal_word(plan, speak),
        recommended=plan.best.title.render(speak) if plan.best else None,
        why=_reasons(plan.why, speak),
        options=[_option(plan, one, speak) for one in plan.options],
        rejected=_reasons(plan.rejected, speak),
        notes=[f"{machine.name}: {words.render(speak)}" for machine in plan.machines for words in machine.notes],
    )


def _words(speak: Speak) -> dict[str, str]:
    return {
        "title": speak("Ansambl plan"), "machines": speak("Machines"), "goal": speak("Goal"),
        "recommended": speak("Recommended"), "badge": speak("recommended"), "does_not_fit": speak("does not fit"),
        "nothing": speak("Nothing of this fits; the reasons stand below."), "answers": speak("Answers"),
        "reads": speak("Reads prompts"), "roles": speak("Roles"), "swaps": speak("Swaps expected"),
        "groups": speak("Change of role without reading again"),
        "prefilling": speak("Change of role that reads everything again"),
        "why": speak("Why"), "left_out": speak("Left out"),
        "foot": speak("Forecasts are ranges from stated sources. Made by ansambl {version}.").format(
            version=__version__),
    }  # fmt: skip


def _option(plan: Plan, option: PlanOption, speak: Speak) -> dict[str, Any]:
    colours = {one.id: index % _COLOURS for index, one in enumerate(option.placements)}
    names = {one.id: one.candidate.model for one in option.placements}
    reasons = [one for placement in option.placements
               for one in (*placement.footprint.reasons, *placement.speed.reasons)]  # fmt: skip
    return {
        "id": option.id, "title": option.title.render(speak), "fits": option.fits,
        "recommended": option.id == plan.recommended,
        "placements": [_placement(one, option, colours, speak) for one in option.placements],
        "loads": [_load(one, colours, names, speak) for one in device_loads(option)],
        "groups": [", ".join(group) for group in option.prefix_groups if len(group) > 1],
        "prefilling": ", ".join(option.prefilling_roles),
        "swaps": swaps_words(option, speak),
        "for": _reasons([one for one in option.speaks_for if not one.code.startswith(COUNTED)], speak),
        "against": _reasons(option.speaks_against, speak),
        "reasons": _reasons([*(one for one in option.speaks_for if one.code.startswith(COUNTED)), *reasons], speak),
    }  # fmt: skip


def _placement(
    placement: PlannedPlacement, option: PlanOption, colours: dict[str, int], speak: Speak
) -> dict[str, Any]:
    candidate = placement.candidate
    gpus = ", ".join(f"{one.model.title} (gpu{one.index})" for one in placement.machine.gpus)
    context = speak("{context} tokens × {parallel}").format(context=placement.context, parallel=placement.parallel)
    return {
        "colour": colours[placement.id],
        "model": candidate.title,
        "what": f"{candidate.quantization} · {placement.engine} · {context}",
        "where": " · ".join(
            part for part in (placement.machine.name, gpus or speak("RAM"), placement.written_settings) if part
        ),
        "decode": answering(placement, speak),
        "prefill": tokens_per_second(placement.speed.prefill, speak),
        "size": size_words(candidate.size, speak),
        "residency": residency_word(placement, speak),
        "roles": [role for role, where in option.roles.items() if where == placement.id],
    }


def _load(load: DeviceLoad, colours: dict[str, int], names: dict[str, str], speak: Speak) -> dict[str, Any]:
    return {
        "name": f"{load.machine}: {load.name}",
        "words": speak("{expected} of {usable} usable (up to {high})").format(
            expected=size_words(load.needed.expected, speak), usable=size_words(load.usable, speak),
            high=size_words(load.needed.high, speak)),
        "shares": [
            {
                "colour": colours[one.placement],
                "percent": f"{min(100.0, 100 * one.needed.expected / max(1, load.capacity)):.2f}",
                "title": f"{names[one.placement]}: {size_words(one.needed.expected, speak)}",
            }
            for one in load.drawn
        ],
    }  # fmt: skip


def _reasons(reasons: tuple[Reason, ...] | list[Reason], speak: Speak) -> list[dict[str, str]]:
    """Each reason once, its source where the next one has another."""
    pairs = list(dict.fromkeys((one.text.render(speak), one.source) for one in reasons))
    following = [*(source for _, source in pairs), ""][1:]
    return [
        {"text": words, "source": "" if source == after else speak(source)}
        for (words, source), after in zip(pairs, following, strict=True)
    ]
