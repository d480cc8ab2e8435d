"""What ``ansambl models pull`` does with repositories of a hub: tell what it would be, ask, fetch several at once."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from ansambl.cli.output import ask_yes, console, note, say
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansambl.foundation.paths import DataPaths
    from ansambl.model_catalog.download import Announcement


def pull_from_hub(
    models: Sequence[str], paths: DataPaths, *, engine: str | None, accepted: Sequence[str], offline: bool, yes: bool
) -> None:
    """Fetch them; those that are here already are told and left alone.

    Raises:
        AnsamblError: the first that failed; the others were fetched all the same.
        typer.Exit: the user said no.
    """
    from ansambl.app.data_folder import prepare_folder
    from ansambl.cli.model_tables import print_announcement
    from ansambl.cli.progress import DownloadBar
    from ansambl.model_catalog import download
    from ansambl.model_catalog.several import fetch_all

    wanted = [one for one in models if not (offline and _is_here(one, paths))]
    announced = {one.folder: one for one in _announced(wanted, paths, engine, offline=offline)}
    missing = []
    for one in announced.values():
        if one.installed:
            say(speak("{title} is here already: {path}").format(title=one.reference, path=one.path))
        else:
            print_announcement(one)
            missing.append(one)
    if not missing:
        return
    download.check_room(*missing)
    for one in missing:
        _require_accepted(one, paths, accepted, yes=yes)
    if not ask_yes(speak("Fetch it?") if len(missing) == 1 else speak("Fetch them?"), yes=yes):
        raise typer.Exit(1)
    prepare_folder(paths)
    try:
        with closing(DownloadBar(console(error=True))) as bar:
            ended = fetch_all(missing, bar.show, files=bar.file, offline=offline)
    except KeyboardInterrupt:
        note(speak("Interrupted. What has come stays; the same command goes on from there."))
        raise
    for result in ended:
        if result.path is not None:
            say(speak("Fetched: {path}").format(path=result.path))
    failures = [result.failure for result in ended if result.failure is not None]
    for failure in failures[1:]:
        note(failure.message.render(speak))
    if failures:
        raise failures[0]


def _is_here(model: str, paths: DataPaths) -> bool:
    """Whether it can be told without the network that a model is on this machine; then that is said."""
    from ansambl.domain.errors import CheckpointError
    from ansambl.model_catalog.checkpoints import open_checkpoint

    try:
        found = open_checkpoint(model, paths.models)
    except CheckpointError:
        return False
    say(speak("{title} is here already: {path}").format(title=model, path=found.path))
    return True


def _announced(models: Sequence[str], paths: DataPaths, engine: str | None, *, offline: bool) -> list[Announcement]:
    from ansambl.app.pulling import hub_name, suiting
    from ansambl.model_catalog.download import announce

    if not models:
        return []
    chosen = suiting(engine, paths)
    return [announce(hub_name(one, chosen), paths.models, suiting=chosen, offline=offline) for one in models]


def _require_accepted(one: Announcement, paths: DataPaths, accepted: Sequence[str], *, yes: bool) -> None:
    """Ask whether the licence is accepted, where it wants to be; an answer is remembered.

    Raises:
        UsageError: nobody can be asked, and the option does not name the licence.
        typer.Exit: it was not accepted.
    """
    from ansambl.domain.errors import UsageError
    from ansambl.domain.names import folded
    from ansambl.domain.text import text
    from ansambl.model_catalog.acceptance import accept, still_asked
    from ansambl.model_catalog.licences import find_licence

    repo = one.repository.repo
    licence = still_asked(paths.root, one.licence, repo, gated=one.gated)
    if licence is None:
        return
    terms = find_licence(licence, repo)
    page = one.repository.page
    if folded(licence) not in {folded(name) for name in accepted}:
        if yes or not sys.stdin.isatty():
            raise UsageError(
                text("{repo} asks to accept its licence ({licence}); read it at {page}, then give --accept-licence "
                     "{name}", repo=repo, licence=terms.title if terms else licence, page=page, name=licence)
            )  # fmt: skip
        note(
            speak("{repo} asks to accept its licence, {licence}. It is at {page}.").format(
                repo=repo, licence=terms.title if terms else licence, page=page
            )
        )
        if not ask_yes(speak("Do you accept it?"), yes=False):
            raise typer.Exit(1)
    accept(paths.root, repo, licence)
