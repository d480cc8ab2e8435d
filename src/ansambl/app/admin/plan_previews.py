"""What putting a plan into effect would do, as the admin API tells it."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.api.plan_schemas import FetchingDocument, PreviewDocument
from ansambl.app.admin.plan_applying import PlanApplying
from ansambl.app.configuration.rewriting import model_tables
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.plan_change import Change, change_for, option_of, planned_tables
from ansambl.domain.errors import AnsamblError
from ansambl.domain.planning import Plan, PlanOption
from ansambl.domain.text import text
from ansambl.foundation.paths import DataPaths

Translate = Callable[[str], str]


def preview_document(
    plan: Plan, name: str, loaded: LoadedSettings, paths: DataPaths, applying: PlanApplying, translate: Translate, *,
    here: bool,
) -> PreviewDocument:  # fmt: skip
    """What would happen with the option of this id; where nothing can happen, why. Blocks.

    Raises:
        AnsamblError: there is no such option, or it does not fit.
    """
    option = option_of(plan, name)
    if not here:
        return _without(
            option, translate,
            text("this plan is for another machine: copy its tables into the configuration there").render(translate),
        )  # fmt: skip
    try:
        change = change_for(option, loaded, paths)
    except AnsamblError as error:
        return _without(option, translate, error.message.render(translate))
    # Licences are accepted with the plan itself.
    accepted = frozenset(one.accept.casefold() for one in change.missing if one.accept)
    refused = applying.refusal(change, accepted)
    return _document(option, change, translate, refused.message.render(translate) if refused else None)


def _document(option: PlanOption, change: Change, translate: Translate, problem: str | None) -> PreviewDocument:
    return PreviewDocument(
        option=option.id, title=option.title.render(translate), problem=problem, text=change.text,
        agreed=change.digest if problem is None else None,
        fetches=[
            FetchingDocument(
                model=one.model, title=one.title, reference=one.reference, bytes=one.size, licence=one.licence,
                here=one.here, accept=one.accept,
            )
            for one in change.fetches
        ],
        bytes_to_fetch=change.size, free_bytes=change.free, folder=str(change.folder), starts=list(change.models),
        stops=list(change.stops),
        replaces=list(change.replaced), keeps=list(change.kept), file=str(change.file), creates=change.creates,
    )  # fmt: skip


def _without(option: PlanOption, translate: Translate, problem: str) -> PreviewDocument:
    """An option that is not put into effect here: its tables to copy, machine by machine."""
    lines: list[str] = []
    machines = list(dict.fromkeys(one.machine.name for one in option.placements))
    for machine in machines:
        part = [one for one in option.placements if one.machine.name == machine]
        try:
            tables, _ = planned_tables(part, option.roles, gpus=any(one.machine.gpus for one in part))
        except AnsamblError as error:
            lines.append(f"# {machine}: {error.message.render(translate)}")
            continue
        if len(machines) > 1:
            lines += ["", f"# {machine}"]
        lines += model_tables(tables)
    return PreviewDocument(
        option=option.id, title=option.title.render(translate), problem=problem, text="\n".join(lines).strip() + "\n",
        agreed=None,
    )  # fmt: skip
