"""An installation as a command shows it: its stages, an interruption, and what came of it. Engines and companions."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from ansambl.cli.output import console, note, print_json, say
from ansambl.cli.progress import StageBar
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansambl.engines.install.installer import Announcement
    from ansambl.engines.install.records import Progress
    from ansambl.engines.installations import InstallManifest


def show_installation(install: Callable[[Progress], InstallManifest]) -> InstallManifest:
    """Have `install` tell its stages to a bar; who interrupts it learns that nothing is lost.

    Raises:
        AnsamblError: as `install`.
    """
    try:
        with closing(StageBar(console(error=True))) as bar:
            return install(bar.show)
    except KeyboardInterrupt:
        note(speak("Interrupted. What has come stays; the same command goes on from there."))
        raise


def say_installed(announced: Announcement, manifest: InstallManifest, *, as_json: bool) -> None:
    """Say what is installed now, and where."""
    from ansambl.engines.installations import manifest_to_json

    if as_json:
        print_json(manifest_to_json(manifest))
        return
    say(
        speak("Installed: {engine} {version} ({build}) in {folder}").format(
            engine=announced.build.title, version=manifest.version, build=manifest.build, folder=announced.folder
        )
    )
