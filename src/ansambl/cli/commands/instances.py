"""``ansambl instances``: the engines of a running Ansambl, and having one wake, sleep or stop by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.runtime.usage import UsageRow

_MOST_DAYS = 400

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=speak("A model of the configuration."))]
AnyName = Annotated[
    str,
    typer.Argument(metavar="NAME", help=speak("A model of the configuration, an alias, or a role that runs on it.")),
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help=speak("Wait until it is done, or only begin it."), show_default=False)
]
Level = Annotated[
    int | None, typer.Option("--level", metavar="N", min=1, max=9, help=speak("How deep: a level of the engine's own."))
]
Days = Annotated[
    int, typer.Option("--days", metavar="N", min=1, max=_MOST_DAYS, help=speak("How many days, today included."))
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help=speak("The engines that run: list them, wake, sleep or stop one, and what they were used for.")
    )
    group.command("list", help=speak("What each model's engine does now."))(list_instances)
    group.command("wake", help=speak("Have a model ready before it is asked for: wake its engine, or start it."))(wake)
    group.command("load", help=speak("Have a model in memory; name it, or a role that runs on it."))(load)
    group.command("unload", help=speak("Have a model out of memory when its answers are done; a pin is lifted."))(
        unload
    )
    group.command("pin", help=speak("Load a model and have it stay in memory until it is unpinned or Ansambl stops."))(
        pin
    )
    group.command("unpin", help=speak("Let a model go when others want its memory."))(unpin)
    group.command("sleep", help=speak("Put a model's engine to sleep when its answers are done."))(sleep)
    group.command("stop", help=speak("Stop a model's engine; the next request starts it again."))(stop)
    group.command("usage", help=speak("What was asked of each model, by day and by role."))(usage)
    app.add_typer(group, name="instances", no_args_is_help=True)


def list_instances(config: Config = None, as_json: Json = False) -> None:
    """The instances and the memory that they share."""
    from ansambl.cli.client import connect
    from ansambl.cli.instance_words import print_devices, print_instances
    from ansambl.cli.output import print_json

    with connect(config) as client:
        state = client.state_document()
    found = {"instances": state["instances"], "devices": state.get("devices", [])}
    if as_json:
        print_json(found)
    else:
        print_devices(found["devices"])
        print_instances(found["instances"])


def wake(model: ModelName, config: Config = None, as_json: Json = False) -> None:
    """Preload a model."""
    _change(model, "wake", config, as_json=as_json)


def load(name: AnyName, wait: Wait = True, config: Config = None, as_json: Json = False) -> None:
    """Have a model in memory."""
    _change(name, _waiting("load", wait=wait), config, as_json=as_json)


def unload(name: AnyName, wait: Wait = True, config: Config = None, as_json: Json = False) -> None:
    """Have a model out of memory."""
    _change(name, _waiting("unload", wait=wait), config, as_json=as_json)


def pin(name: AnyName, wait: Wait = True, config: Config = None, as_json: Json = False) -> None:
    """Load a model and have it stay."""
    _change(name, _waiting("pin", wait=wait), config, as_json=as_json)


def unpin(name: AnyName, config: Config = None, as_json: Json = False) -> None:
    """Let a model go."""
    _change(name, "unpin", config, as_json=as_json)


def _waiting(what: str, *, wait: bool) -> str:
    return what if wait else f"{what}?wait=false"


def sleep(model: ModelName, level: Level = None, config: Config = None, as_json: Json = False) -> None:
    """Put an engine to sleep."""
    _change(model, "sleep" if level is None else f"sleep?level={level}", config, as_json=as_json)


def stop(model: ModelName, config: Config = None, as_json: Json = False) -> None:
    """Stop an engine."""
    _change(model, "stop", config, as_json=as_json)


def _change(model: str, what: str, config: Any, *, as_json: bool) -> None:
    from ansambl.cli.client import connect
    from ansambl.cli.instance_words import print_instances
    from ansambl.cli.output import print_json

    with connect(config) as client:
        found = client.change_instance(model, what)
    if as_json:
        print_json(found)
    else:
        print_instances([found])


def usage(days: Days = 7, config: Config = None, as_json: Json = False) -> None:
    """Usage by day; it is read from the database, so Ansambl need not run."""
    from dataclasses import asdict
    from datetime import UTC, datetime, timedelta

    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.output import print_json, print_table, say
    from ansambl.runtime.usage import read_usage

    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    rows = read_usage(load_data_paths(config).database, since=since)
    if as_json:
        print_json(
            {
                "usage": [
                    {"day": str(one.day), "model": one.model, "name": one.name, **asdict(one.usage)} for one in rows
                ]
            }
        )
        return
    if not rows:
        say(speak("Nothing was asked in these days, or what was asked is not written yet (that takes half a minute)."))
        return
    print_table(
        speak("Usage, days in UTC"),
        (speak("Day"), speak("Model"), speak("Asked as"), speak("Requests"), speak("Failed"), speak("Prompt tokens"),
         speak("Of them cached"), speak("Tokens written"), speak("Waited"), speak("First token"),
         speak("Swaps waited for")),
        [_usage(one) for one in rows],
    )  # fmt: skip


def _usage(row: UsageRow) -> tuple[str, ...]:
    used = row.usage
    cached = f"{used.cached_tokens / used.prompt_tokens:.0%}" if used.prompt_tokens else ""
    return (
        str(row.day), row.model, row.name, str(used.requests), str(used.failed), str(used.prompt_tokens), cached,
        str(used.output_tokens), _mean(used.queued_seconds, used.requests),
        _mean(used.first_token_seconds, used.first_tokens), str(used.swaps),
    )  # fmt: skip


def _mean(seconds: float, count: int) -> str:
    return speak("{seconds} s").format(seconds=number_words(seconds / count, ".2f", speak)) if count else ""
