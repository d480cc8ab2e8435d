"""Showing what installing Open WebUI would mean, its licence first, and asking once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings
    from ansambl.engines.install.installer import Announcement


def agreed(loaded: LoadedSettings, *, offline: bool, yes: bool) -> bool:
    """Whether ``up`` may start Open WebUI, and install it where it is not; False after a no.

    Raises:
        AnsamblError: it is not installed and cannot be.
        UsageError: nobody can be asked.
    """
    import sys

    from ansambl.app.open_webui import NOT_INSTALLED
    from ansambl.cli.output import note
    from ansambl.companions.open_webui.installing import announce, installed_program
    from ansambl.companions.open_webui.keeping import Places
    from ansambl.domain.errors import UnavailableError, UsageError
    from ansambl.domain.text import text

    programs, build = Places(loaded.paths.companions).programs, loaded.settings.open_webui.build
    if installed_program(programs, build) is not None:
        return True
    if offline:
        raise UnavailableError(NOT_INSTALLED)
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            text("Open WebUI is not installed, and nobody can be asked here; 'ansambl open-webui install' shows its "
                 "licence and size, and with --yes it agrees to them and installs it")
        )  # fmt: skip
    if may_install(announce(programs, build), yes=yes):
        return True
    note(speak("Open WebUI is not installed; Ansambl starts without it."))
    return False


def may_install(announced: Announcement, *, yes: bool) -> bool:
    """Show the licence, the sizes and the time, and ask."""
    from ansambl.cli.output import ask_yes, note
    from ansambl.companions.open_webui.building import BUILD_WORDS, LICENCE_WORDS
    from ansambl.domain.units import size_words

    build = announced.build
    for words in LICENCE_WORDS:
        note(words.render(speak))
    note(
        speak("{title} {version}, build {build}: {words}.").format(
            title=build.title, version=build.version, build=build.build, words=BUILD_WORDS[build.build].render(speak)
        )
    )
    note(
        speak("Download about {download}, on disk {size}, free {free}, folder {folder}.").format(
            download=size_words(build.download, speak) if build.download else "-", size=size_words(build.size, speak),
            free=size_words(announced.free, speak), folder=announced.folder,
        )
    )  # fmt: skip
    return ask_yes(speak("Install it?"), yes=yes)
