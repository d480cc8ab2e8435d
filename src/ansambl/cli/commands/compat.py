"""``ansambl compat``: what works with what, since which version, and who says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import DOES_NOT_FIT, Engine, MachineName, Set, read_settings
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.compatibility import CompatibilityLine, CompatibilityReport
    from ansambl.domain.compatibility import Judgement
    from ansambl.domain.footprint import Reason

_Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        show_default=False,
        help=speak('A model of the catalog, the path of its files, or "embedded"; else engines and devices alone.'),
    ),
]
_Ui = Annotated[str | None, typer.Option("--ui", metavar="UI", help=speak("A user interface, for example open-webui."))]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compat", help=speak("Tell what works with what, since which version, and who says so."))(compat)


def compat(
    model: _Model = None, machine: MachineName = None, engine: Engine = None, ui: _Ui = None, settings: Set = None,
    config: Config = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Judge combinations; exit code 3 when an engine is named and nothing works with it."""
    from ansambl.app.compatibility import CompatibilityQuestion, answer_compatibility, compatibility_document
    from ansambl.cli.output import print_json
    from ansambl.domain.compatibility import Verdict

    report = answer_compatibility(CompatibilityQuestion(model, machine, engine, ui, read_settings(settings)), config)
    if as_json:
        print_json(compatibility_document(report, speak))
    else:
        _print(report, every=engine is not None)
    if engine is not None and report.best is Verdict.NO:
        raise typer.Exit(DOES_NOT_FIT)


class _Reasons:
    """Reasons as numbered notes, in the order in which lines first need them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}

    def cite(self, reasons: Iterable[Reason]) -> str:
        numbers = [
            self._numbers.setdefault((one.text.render(speak), one.source), len(self._numbers) + 1) for one in reasons
        ]
        return " ".join(map(str, dict.fromkeys(numbers)))

    def print(self) -> None:
        from ansambl.cli.output import print_table

        rows = [(str(number), words, source) for (words, source), number in self._numbers.items()]
        print_table(speak("Reasons"), ("#", speak("Reason"), speak("Source")), rows)


def _print(report: CompatibilityReport, *, every: bool) -> None:
    from ansambl.cli.output import note, say

    say(" · ".join(one for one in (report.model, report.machine.title) if one))
    reasons = _Reasons()
    if report.model is None:
        _print_matrix(report, reasons)
    else:
        _print_formats(report, reasons, every=every)
    reasons.print()
    note(speak("unknown: no source says so, which is not a no."))
    for one in report.machine.notes:
        note(one.render(speak))


def _print_matrix(report: CompatibilityReport, reasons: _Reasons) -> None:
    """Engines down and devices across; then who talks to whom."""
    from ansambl.cli.output import print_table

    engines: dict[str, dict[str, str]] = {}
    pairs: dict[tuple[str, str, str], list[str]] = {}
    columns: dict[str, None] = {}
    for line in report.lines:
        if line.device:
            columns[line.device.title] = None
            cell = f"{_works(line.judgement)} [{reasons.cite(line.judgement.reasons)}]"
            engines.setdefault(line.engine.title, {})[line.device.title] = cell
        elif line.ui:
            source = line.judgement.reasons[0].source
            pairs.setdefault((line.ui.title, _works(line.judgement), source), []).append(line.engine.title)
    rows = [(engine, *(cells.get(one, "") for one in columns)) for engine, cells in engines.items()]
    print_table(speak("Engines and devices"), (speak("Engine"), *columns), rows)
    print_table(
        speak("Engines and interfaces"), (speak("Interface"), speak("Engines"), speak("Works"), speak("Source")),
        [(ui, ", ".join(names), works, source) for (ui, works, source), names in sorted(pairs.items())],
    )  # fmt: skip


def _print_formats(report: CompatibilityReport, reasons: _Reasons, *, every: bool) -> None:
    """One line for the formats of an engine that are judged alike."""
    from ansambl.cli.output import note, print_table
    from ansambl.domain.compatibility import Verdict

    several = len({line.device.name for line in report.lines if line.device}) > 1
    groups: dict[tuple[str, str, str], list[CompatibilityLine]] = {}
    for line in report.lines:
        device = line.device.title if line.device and several else ""
        groups.setdefault((line.engine.title, device, _works(line.judgement)), []).append(line)
    fine = {Verdict.YES, Verdict.SLOW}
    good = {line.engine.title for line in report.lines if line.judgement.verdict in fine}
    rows = []
    for (engine, device, works), lines in groups.items():
        if lines[0].judgement.verdict not in fine and engine in good and not every:
            continue
        cited = reasons.cite(one for line in lines for one in line.judgement.reasons)
        rows.append((engine, *([device] if several else []), _formats(lines), works, cited))
    headers = (
        speak("Engine"), *([speak("Device")] if several else []), speak("Formats"), speak("Works"), speak("Reasons"),
    )  # fmt: skip
    print_table(speak("Engines and formats"), headers, rows)
    if len(rows) < len(groups):
        note(speak("Formats that an engine does not run, or of which no source speaks: --engine NAME, or --json."))


def _formats(lines: Iterable[CompatibilityLine]) -> str:
    names: dict[str, list[str]] = {}
    for line in lines:
        form = line.format or ""
        shown = form if form == "safetensors" else form.upper()
        names.setdefault(shown, []).extend([line.quantization] if line.quantization else [])
    return "; ".join(f"{form} {', '.join(dict.fromkeys(found))}".strip() for form, found in names.items())


def _works(judgement: Judgement) -> str:
    words = {"yes": speak("yes"), "slow": speak("slowly"), "no": speak("no"), "unknown": speak("unknown")}
    word, since = words[judgement.verdict.value], judgement.since
    if since is None:
        return word
    if judgement.verdict.value == "no":
        return speak("no, it needs {version}").format(version=since)
    return speak("{verdict}, from {version}").format(verdict=word, version=since)
