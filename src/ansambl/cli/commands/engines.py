"""``ansambl engines``: the engines on this machine, installing them and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.engine_book import EngineEntry
    from ansambl.app.installing.offers import InstallOffer
    from ansambl.domain.engine import Installed, NotUsable
    from ansambl.engines.install.installer import Announcement

Engine = Annotated[str, typer.Argument(metavar="ENGINE", help=speak("vllm, sglang, transformers or llama.cpp."))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("The programs that run models."))
    group.command("list", help=speak("Every engine: usable or why not, and what could be installed."))(list_engines)
    group.command("install", help=speak("Install an engine into a folder of its own."))(install)
    group.command("remove", help=speak("Remove an engine that Ansambl installed."))(remove)
    app.add_typer(group, name="engines")


def list_engines(config: Config = None, as_json: Json = False) -> None:
    """List the engines."""
    from ansambl.app.configuration.settings_file import load_settings
    from ansambl.app.engine_book import EngineBook, entries_to_json
    from ansambl.cli.output import print_json

    loaded = load_settings(config)
    entries = EngineBook(loaded, loaded.paths).entries()
    if as_json:
        print_json(entries_to_json(entries, speak))
    else:
        _print_entries(entries)


def _print_entries(entries: list[EngineEntry]) -> None:
    from ansambl.cli.output import console, print_grouped, print_signed
    from ansambl.domain.engine import Installed, NotUsable

    usable = [(one, one.state) for one in entries if isinstance(one.state, Installed)]
    lines = [_usable_line(entry, state) for entry, state in usable]
    paths = [state.path or "" for _, state in usable]
    print_grouped(speak("Usable here"), "✓", "green", zip(lines, paths, strict=True))
    others = [(one, one.state) for one in entries if isinstance(one.state, NotUsable)]
    print_grouped(
        speak("Not usable here"), "·", "dim",
        [(f"{entry.name}: {state.reason.render(speak)}", _way_out(entry, state)) for entry, state in others],
    )  # fmt: skip
    hints = [words for one in entries for words in _hints(one)]
    if hints:
        console().print()
        print_signed("→", "cyan", hints)


def _way_out(entry: EngineEntry, state: NotUsable) -> str:
    """What to do about it; for what cannot be installed here, why not."""
    from ansambl.engines.install.records import Refusal

    if isinstance(entry.available, Refusal) and entry.manifest is None:
        why = entry.available.why
        return f"{why.reason.render(speak)}; {why.how_to_fix.render(speak)}"
    return state.how_to_fix.render(speak)


def _usable_line(entry: EngineEntry, state: Installed) -> str:
    from ansambl.domain.units import size_words

    known = [one for one in (state.version, state.build) if one and one != "-"]
    if entry.size is not None and state.managed:
        known.append(speak("installed by Ansambl, {size}").format(size=size_words(entry.size, speak)))
    if entry.models:
        known.append(speak("used by {models}").format(models=", ".join(entry.models)))
    if entry.traits.documented and not entry.traits.verified:
        known.append(speak("not tried on the real engine by Ansambl's makers"))
    if state.warning is not None:
        known.append(state.warning.render(speak))
    return f"{entry.name}: {', '.join(known)}" if known else entry.name


def _hints(entry: EngineEntry) -> list[str]:
    from ansambl.engines.install.records import Choice

    found = []
    if entry.is_older and isinstance(entry.available, Choice):
        found.append(
            speak("{engine} {version} can be installed: ansambl engines install {name}").format(
                engine=entry.traits.title, version=entry.available.build.version, name=entry.name
            )
        )
    if entry.begun:
        found.append(
            speak("An installation of {engine} was broken off. Go on: ansambl engines install {name}").format(
                engine=entry.traits.title, name=entry.name
            )
        )
    return found


def install(
    engine: Engine,
    config: Config = None,
    build: Annotated[
        str | None,
        typer.Option("--build", metavar="BUILD", help=speak("cuda, rocm, vulkan, metal or cpu; default: what fits.")),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help=speak("Compile it here instead of fetching what was compiled elsewhere."))
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help=speak("Fetch nothing."))] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Install an engine."""
    from ansambl.app.configuration.settings_file import load_settings
    from ansambl.app.engine_book import EngineBook
    from ansambl.app.installing import offers
    from ansambl.cli.installing import say_installed, show_installation
    from ansambl.cli.output import ask_yes, print_json, say
    from ansambl.engines.installations import manifest_to_json

    loaded = load_settings(config)
    offer = offers.make_offer(
        EngineBook(loaded, loaded.paths), loaded.paths, engine, build=build, compiled=compiled
    )  # fmt: skip
    announced = offer.announced
    if announced.is_done and announced.installed is not None:
        if as_json:
            print_json(manifest_to_json(announced.installed))
        else:
            say(_here_already(announced))
        return
    _announce(offer)
    offers.check_offer(offer, offline=offline)
    if not ask_yes(speak("Install it?"), yes=yes):
        raise typer.Exit(1)
    manifest = show_installation(lambda progress: offers.carry_out(offer, loaded.paths, progress, offline=offline))
    say_installed(announced, manifest, as_json=as_json)


def _here_already(announced: Announcement) -> str:
    return speak("{engine} {version} ({build}) is installed already: {folder}").format(
        engine=announced.build.title, version=announced.build.version, build=announced.build.build,
        folder=announced.folder,
    )  # fmt: skip


def _announce(offer: InstallOffer) -> None:
    from ansambl.cli.output import note
    from ansambl.domain.units import size_words
    from ansambl.engines.install.records import Way

    announced, build = offer.announced, offer.build
    unknown = speak("unknown")
    ways = {
        Way.WHEELS: speak("packages of the package index, into an environment of its own"),
        Way.ARCHIVE: speak("a program that its makers compiled"),
        Way.SOURCE: speak("source, compiled on this machine, which takes minutes to hours"),
    }
    note(
        speak("{engine} {version} for {build}: {way}.").format(
            engine=build.title, version=build.version, build=build.build, way=ways[build.way]
        )
    )
    note(
        speak("Download {download}, on disk {size}, free {free}, licence {licence}, folder {folder}.").format(
            download=size_words(build.download, speak) if build.download else unknown,
            size=size_words(build.size, speak), free=size_words(announced.free, speak), licence=build.licence,
            folder=announced.folder,
        )
    )  # fmt: skip
    for one in offer.notes:
        note(speak("Note: {words}.").format(words=one.render(speak)))
    if not build.verified:
        note(speak("Note: {words}.").format(words=speak("this build was not tried by Ansambl's makers")))
    for passed in offer.passed:
        note(speak("Passed over: {words}.").format(words=passed.why.reason.render(speak)))


def remove(engine: Engine, config: Config = None, yes: Yes = False, as_json: Json = False) -> None:
    """Remove an engine."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.app.engine_book import installable_name
    from ansambl.cli.output import ask_yes, note, print_json, say
    from ansambl.domain.units import size_words
    from ansambl.engines.install import installer

    folder = load_data_paths(config).engines
    name = installable_name(engine)
    standing = installer.standing(name, folder)
    note(
        speak("{engine}: {size} in {path} will be deleted.").format(
            engine=name, size=size_words(standing.size, speak), path=standing.folder
        )
    )
    if not ask_yes(speak("Delete it?"), yes=yes):
        raise typer.Exit(1)
    freed = installer.remove(name, folder)
    if as_json:
        print_json({"engine": name, "freed_bytes": freed, "path": str(standing.folder)})
    else:
        say(speak("Deleted: {path}").format(path=standing.folder))
