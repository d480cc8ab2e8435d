"""``ansambl keys``: API keys that let other people, programs and machines in, each with its own rights and limits."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ansambl.cli.options import Config, Json, Yes
from ansambl.foundation.locales import speak

Wanted = Annotated[str, typer.Argument(metavar="KEY", help=speak("A key, by its id or name."))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("API keys: who may use what, and how much of it."))
    group.command("create", help=speak("Make a key. Its secret is printed once, alone on standard output."))(create)
    group.command("list", help=speak("List the keys; their secrets are nowhere."))(list_keys)
    group.command("show", help=speak("Show one key, and what is left of its limits."))(show)
    group.command("revoke", help=speak("Let nobody in with a key any more, at once."))(revoke)
    group.command("usage", help=speak("What was asked with each key, by day and by model."))(usage)
    app.add_typer(group, name="keys")


def usage(
    days: Annotated[
        int, typer.Option("--days", metavar="N", min=1, max=400, help=speak("How many days, today included."))
    ] = 7,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Usage by key; it is read from the database, so Ansambl need not run."""
    from dataclasses import asdict
    from datetime import UTC, datetime, timedelta

    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.output import print_json, print_table, say
    from ansambl.runtime.usage import read_key_usage

    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    rows = read_key_usage(load_data_paths(config).database, since=since)
    if as_json:
        print_json(
            {"usage": [{"day": str(one.day), "key": one.key, "model": one.model, **asdict(one.usage)} for one in rows]}
        )
        return
    if not rows:
        say(speak("Nothing was asked in these days, or what was asked is not written yet (that takes half a minute)."))
        return
    print_table(
        speak("Usage by key, days in UTC"),
        (speak("Day"), speak("Key"), speak("Model"), speak("Requests"), speak("Failed"), speak("Prompt tokens"),
         speak("Of them cached"), speak("Tokens written")),
        [
            (str(row.day), row.key, row.model, str(row.usage.requests), str(row.usage.failed),
             str(row.usage.prompt_tokens), str(row.usage.cached_tokens), str(row.usage.output_tokens))
            for row in rows
        ],
    )  # fmt: skip


def create(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help=speak("What people call it."))] = None,
    config: Config = None,
    roles: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="NAME", help=speak(
            "A role, an ensemble or a model that it may use; left out: all. May be repeated.")),
    ] = None,
    endpoints: Annotated[
        list[str] | None,
        typer.Option("--endpoint", metavar="ENDPOINT", help=speak(
            "What it may do: chat, completions, embeddings, rerank, audio, images, knowledge, metrics, admin:read or "
            "admin; left out: the first six. May be repeated.")),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="REQUESTS", help=speak(
            "How many requests it may make, such as 60/min. May be repeated.")),
    ] = None,
    tokens: Annotated[
        list[str] | None,
        typer.Option("--tokens", metavar="TOKENS", help=speak(
            "How many tokens it may use, such as 1M/day. May be repeated.")),
    ] = None,
    request_class: Annotated[
        str | None,
        typer.Option("--class", metavar="CLASS", help=speak(
            "How urgent its requests are at most: interactive, batch, background or task.")),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help=speak("How long it is good, such as 30d."))
    ] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Make a key."""
    from ansambl.cli.key_access import key_access
    from ansambl.cli.output import note, print_json

    wanted: dict[str, Any] = {
        "name": name, "roles": roles or None, "endpoints": endpoints or None,
        "limit": limit or [], "tokens": tokens or [], "request_class": request_class, "expires": expires,
    }  # fmt: skip
    with key_access(config, changes=True) as reached:
        is_first = not reached.keys(all_of_them=False)
        made = reached.create(wanted)
    if as_json:
        print_json(made)
    else:
        # Nothing else goes there, so that KEY=$(ansambl keys create) is the key.
        typer.echo(made["secret"])
        note(speak("The key '{name}' is printed above, once; nobody can read it again. Keep it well.").format(
            name=made["key"]["name"]))  # fmt: skip
    if is_first:
        note(speak("It is the first key: from now on every program needs one, on this machine too."))


def list_keys(
    config: Config = None,
    with_revoked: Annotated[bool, typer.Option("--all", help=speak("Also those that were revoked."))] = False,
    as_json: Json = False,
) -> None:
    """List the keys."""
    from ansambl.cli.key_access import key_access
    from ansambl.cli.output import local_time, print_json, print_table, say

    with key_access(config, changes=False) as reached:
        keys = reached.keys(all_of_them=with_revoked)
    if as_json:
        print_json({"keys": keys})
        return
    if not keys:
        say(speak("There are no API keys: programs of this machine need none, and no other machine is let in."))
        return
    headers = (
        speak("Id"), speak("Name"), speak("Secret"), speak("State"), speak("May use"), speak("Limits"),
        speak("Expires"), speak("Last used"),
    )  # fmt: skip
    print_table(
        speak("API keys"), headers,
        [
            (
                one["id"], one["name"], one["shown"], _states()[one["state"]], _names(one), _limits(one),
                local_time(one["expires"]) if one["expires"] is not None else speak("never"),
                local_time(one["last_used"]) if one["last_used"] is not None else speak("never"),
            )
            for one in keys
        ],
    )  # fmt: skip


def show(wanted: Wanted, config: Config = None, as_json: Json = False) -> None:
    """Show one key."""
    from ansambl.cli.key_access import key_access
    from ansambl.cli.output import print_json

    with key_access(config, changes=False) as reached:
        found = reached.key(wanted)
    if as_json:
        print_json(found)
    else:
        _print_key(found)


def revoke(wanted: Wanted, config: Config = None, yes: Yes = False, as_json: Json = False) -> None:
    """Let nobody in with a key any more."""
    from ansambl.cli.key_access import key_access
    from ansambl.cli.output import ask_yes, note, print_json, say

    with key_access(config, changes=False) as reached:
        found = reached.key(wanted)
    question = speak("Revoke the key '{name}' ({id})? This cannot be undone.").format(
        name=found["name"], id=found["id"]
    )
    if not as_json and not ask_yes(question, yes=yes):
        raise typer.Exit(1)
    # Reached anew: Ansambl may have started or stopped while the question stood.
    with key_access(config, changes=True) as reached:
        revoked = reached.revoke(found["id"])
        is_last = not reached.keys(all_of_them=False)
    if as_json:
        print_json(revoked)
    else:
        say(speak("The key '{name}' lets nobody in any more.").format(name=found["name"]))
    if is_last:
        note(speak("It was the last key: programs of this machine need none now, and no other machine is let in."))


def _print_key(one: dict[str, Any]) -> None:
    from ansambl.cli.output import local_time, print_pairs

    def moment(name: str) -> str:
        return local_time(one[name]) if one[name] is not None else speak("never")

    pairs = [
        (speak("Id"), one["id"]), (speak("Name"), one["name"]), (speak("Secret"), one["shown"]),
        (speak("State"), _states()[one["state"]]), (speak("May use"), _names(one)),
        (speak("Endpoints"), ", ".join(one["endpoints"])), (speak("Class"), one["request_class"]),
        (speak("Limits"), _limits(one)), (speak("Created"), moment("created")), (speak("Expires"), moment("expires")),
        (speak("Last used"), moment("last_used")),
    ]  # fmt: skip
    if one["requests_left"] is not None:
        pairs.append((speak("Requests left"), str(one["requests_left"])))
    if one["tokens_left"] is not None:
        pairs.append((speak("Tokens left"), str(one["tokens_left"])))
    print_pairs(pairs)


def _states() -> dict[str, str]:
    return {"valid": speak("valid"), "expired": speak("expired"), "revoked": speak("revoked")}


def _names(one: dict[str, Any]) -> str:
    return speak("everything") if one["names"] is None else ", ".join(one["names"])


def _limits(one: dict[str, Any]) -> str:
    found = [speak("{amount} requests").format(amount=each) for each in one["limit"]]
    found += [speak("{amount} tokens").format(amount=each) for each in one["tokens"]]
    return ", ".join(found) or speak("none")
