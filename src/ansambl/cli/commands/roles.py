"""``ansambl roles``: the roles and ensembles that exist, and changing those that are saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.cli.role_access import Access
    from ansambl.roles.catalog import Kind

Name = Annotated[str, typer.Argument(metavar="NAME", help=speak("A role or an ensemble."))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("Roles and ensembles: what clients ask for by name."))
    group.command("list", help=speak("List roles and ensembles, and which roles share their prefix."))(list_roles)
    group.command("show", help=speak("Show one, and where each of its keys comes from."))(show)
    group.command("edit", help=speak("Change one in your editor, or with --set; a new name makes a new one."))(edit)
    group.command("export", help=speak("Print them as TOML, to import elsewhere or to paste into ansambl.toml."))(
        export
    )
    group.command("import", help=speak("Save all of a TOML or JSON file, or nothing."))(import_file)
    group.command("remove", help=speak("Take one that was saved out of use; its versions stay."))(remove)
    group.command("history", help=speak("List the versions of one that was saved."))(history)
    group.command("restore", help=speak("Put an earlier version into effect again."))(restore)
    app.add_typer(group, name="roles")


def list_roles(config: Config = None, as_json: Json = False) -> None:
    """List roles and ensembles."""
    from ansambl.cli.output import print_json
    from ansambl.cli.role_access import access
    from ansambl.cli.role_tables import print_list

    with access(config, changes=False) as reached:
        roles, ensembles = reached.entries("roles"), reached.entries("ensembles")
    if as_json:
        print_json({"roles": roles, "ensembles": ensembles})
    else:
        print_list(roles, ensembles)


def show(name: Name, config: Config = None, as_json: Json = False) -> None:
    """Show one."""
    from ansambl.cli.output import print_json
    from ansambl.cli.role_access import access, need
    from ansambl.cli.role_tables import print_entry

    with access(config, changes=False) as reached:
        kind, entry = need(reached, name)
    if as_json:
        print_json(entry)
    else:
        print_entry(kind, entry)


def edit(
    name: Name,
    config: Config = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE",
            help=speak("Set a key without an editor; KEY=@FILE reads a file, KEY= takes the key out. May be repeated."),
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help=speak("Begin with a copy of this one."))
    ] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help=speak("A new name makes an ensemble."))] = False,
    new_name: Annotated[
        str | None, typer.Option("--rename", metavar="NAME", help=speak("Give it this name; its versions stay."))
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Change one, or make a new one."""
    from ansambl.cli.output import print_json, say
    from ansambl.cli.role_access import access, find, need

    if new_name is not None:
        with access(config, changes=True) as reached:
            kind, before = need(reached, name)
            reached.rename(kind, before["name"], new_name)
            entry: dict[str, Any] | None = need(reached, new_name)[1]
    else:
        entry = _edited(config, name, source, assignments or [], wants_ensemble=ensemble)
    if as_json:
        if entry is None:
            with access(config, changes=False) as reached:
                found = find(reached, name)
            entry = found[1] if found is not None else None
        print_json(entry)
    elif entry is None:
        say(speak("Nothing was changed."))
    else:
        say(speak("Saved '{name}', version {number}.").format(name=entry["name"], number=entry["version"]))


def _edited(
    config: Path | None, name: str, source: str | None, assignments: list[str], *, wants_ensemble: bool
) -> dict[str, Any] | None:
    """Save what was edited and return it; None when nothing was changed."""
    from ansambl.cli.role_access import access
    from ansambl.cli.role_editing import edit_in_editor, edit_text, template, with_settings

    with access(config, changes=False) as reached:
        start = _start(reached, name, source, wants_ensemble=wants_ensemble)

    def keep(fields: dict[str, Any]) -> dict[str, Any]:
        # Reached anew: an editor may stay open for hours, and Ansambl may start or stop meanwhile.
        with access(config, changes=True) as reached:
            return reached.save(start.kind, start.name, fields, start.version)

    if assignments:
        wanted = with_settings(start.kind, start.own, assignments)
        return None if wanted == start.own and start.exists else keep(wanted)
    own = start.own if start.exists or source is not None else template(start.kind)
    return edit_in_editor(start.kind, start.name, edit_text(start.kind, start.name, own, start.below), keep)


class _Start(NamedTuple):
    """What is edited: the keys that are set, those that are shipped below them, and the version that they are."""

    kind: Kind
    name: str
    own: dict[str, Any]
    below: dict[str, Any]
    version: int
    exists: bool


def _start(reached: Access, name: str, source: str | None, *, wants_ensemble: bool) -> _Start:
    from ansambl.cli.role_access import find, need
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    found = find(reached, name)
    if found is None:
        if source is None:
            return _Start("ensembles" if wants_ensemble else "roles", name, {}, {}, 0, exists=False)
        kind, copied = need(reached, source)
        # Two things cannot answer to one alias.
        own = {key: value for key, value in copied["fields"].items() if key != "aliases"}
        return _Start(kind, name, own, {}, 0, exists=False)
    if source is not None:
        raise UsageError(text("'{name}' exists already; --from begins a new one, so give a new name", name=name))
    kind, entry = found
    _refuse_read_only(entry)
    below = {key: value for key, value in entry["fields"].items() if entry["origins"].get(key) == "shipped"}
    return _Start(kind, entry["name"], dict(entry["saved"] or {}), below, entry["version"] or 0, exists=True)


def _refuse_read_only(entry: dict[str, Any]) -> None:
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    if entry["read_only"]:
        place = next((one for one in entry["origins"].values() if ":" in one), "ansambl.toml")
        raise UsageError(
            text("'{name}' stands in {place} and is changed there; copy it: ansambl roles edit NEW --from {name}",
                 name=entry["name"], place=place)
        )  # fmt: skip


def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help=speak("Which; left out: all that is not as shipped.")),
    ] = None,
    config: Config = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help=speak("Write to this file; .json writes JSON."))
    ] = None,
    as_json: Json = False,
) -> None:
    """Print them as TOML."""
    import json

    from ansambl.cli.output import note, print_json, say
    from ansambl.cli.role_access import access, need
    from ansambl.foundation.toml_writer import write_toml

    with access(config, changes=False) as reached:
        document = reached.export([need(reached, one)[1]["name"] for one in names] if names else None)
    document = {kind: tables for kind, tables in document.items() if tables}
    if out is not None:
        is_json = as_json or out.suffix == ".json"
        written = json.dumps(document, ensure_ascii=False, indent=2) + "\n" if is_json else write_toml(document)
        _write(out, written)
        count = sum(len(tables) for tables in document.values())
        note(speak("Wrote {count} to {file}.").format(count=count, file=out))
    elif as_json:
        print_json(document)
    elif not document:
        note(speak("All roles and ensembles are as shipped; name those that you want."))
    else:
        say(write_toml(document).rstrip())


def _write(out: Path, written: str) -> None:
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    try:
        out.write_text(written, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            text("{file} cannot be written ({reason})", file=out, reason=error.strerror or error)
        ) from None


def import_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help=speak('A TOML or JSON file; "-" reads standard input.'))],
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=speak("Only check it."))] = False,
    as_json: Json = False,
) -> None:
    """Save all of a file, or nothing."""
    from ansambl.cli.output import print_json, say
    from ansambl.cli.role_access import access
    from ansambl.cli.role_editing import read_set
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    document = read_set(file)
    if not any(document.values()):
        raise UsageError(text("{file} holds no role and no ensemble; write for example {example}",
                              file=file, example="[roles.poet]"))  # fmt: skip
    with access(config, changes=not dry_run) as reached:
        done = reached.import_set(document, dry_run=dry_run)
    if as_json:
        print_json(done)
        return
    if dry_run:
        say(speak("Nothing was saved; this only checked the file."))
    for words, names in (
        (speak("New: {names}"), done["created"]), (speak("Changed: {names}"), done["changed"]),
        (speak("As they were: {names}"), done["unchanged"]),
    ):  # fmt: skip
        if names:
            say(words.format(names=", ".join(names)))


def remove(name: Name, config: Config = None, yes: Yes = False) -> None:
    """Take one that was saved out of use."""
    from ansambl.cli.output import ask_yes, say
    from ansambl.cli.role_access import access, need

    with access(config, changes=True) as reached:
        kind, entry = need(reached, name)
        question = speak("Remove what is saved as '{name}'? It can be restored.").format(name=entry["name"])
        if entry["version"] is not None and not ask_yes(question, yes=yes):
            raise typer.Exit(1)
        reached.remove(kind, entry["name"])
    say(speak("Removed '{name}'; to have it again: ansambl roles restore {name}").format(name=entry["name"]))


def history(name: Name, config: Config = None, as_json: Json = False) -> None:
    """List the versions."""
    from ansambl.cli.output import print_json
    from ansambl.cli.role_access import access
    from ansambl.cli.role_tables import print_versions

    with access(config, changes=False) as reached:
        versions = _versions(reached, name)[2]
    if as_json:
        print_json({"versions": versions})
    else:
        print_versions(versions)


def _versions(reached: Access, name: str) -> tuple[Kind, str, list[dict[str, Any]]]:
    """The versions of a role or an ensemble, also of one that was removed."""
    from ansambl.cli.role_access import KINDS, find
    from ansambl.domain.errors import AnsamblError

    found = find(reached, name)
    tried = [found[0]] if found is not None else list(KINDS)
    own_name = found[1]["name"] if found is not None else name
    problem: AnsamblError | None = None
    for kind in tried:
        try:
            return kind, own_name, reached.versions(kind, own_name)
        except AnsamblError as error:
            problem = problem or error
    if problem is None:
        raise AssertionError(name)
    raise problem


def restore(
    name: Name,
    version: Annotated[
        int | None,
        typer.Argument(metavar="[VERSION]", min=1, help=speak("Its number; left out: the one before the newest.")),
    ] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Put an earlier version into effect again."""
    from ansambl.cli.output import print_json, say
    from ansambl.cli.role_access import access
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    with access(config, changes=True) as reached:
        kind, own_name, versions = _versions(reached, name)
        newest = versions[-1]
        if version is None:
            earlier = [one["number"] for one in versions[:-1] if one["action"] != "removed"]
            if not earlier:
                raise UsageError(text("'{name}' has only one version, so there is nothing to restore", name=own_name))
            version = earlier[-1]
        elif version == newest["number"] and newest["action"] != "removed":
            raise UsageError(text("version {version} of '{name}' is in effect already", version=version, name=own_name))
        entry = reached.restore(kind, own_name, version)
    if as_json:
        print_json(entry)
    else:
        say(speak("'{name}' is again as in version {old}; this is version {number}.").format(
            name=own_name, old=version, number=entry["version"]))  # fmt: skip
