"""From a placement to what is started, for engines whose command line is written by an `EngineLines` table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from ansambl.domain.engine import LaunchSpec
from ansambl.domain.errors import UsageError
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.engines.command_lines import write_command
from ansambl.engines.command_lines.records import CommandInputs, Lora
from ansambl.engines.command_lines.settings import EngineLines
from ansambl.engines.shared.digest import launch_digest

_ANY_PORT = 1


@dataclass(frozen=True, slots=True)
class Program:
    """What stands in a command line in place of its first words, and what is added to it.

    `words` replace the first `instead_of` words of the serving command (``vllm serve`` are two). `arguments` follow
    the table's words; `of_this_run` follow them and tell no two placements apart (a folder of this run). `environment`
    is added to the table's. `key_variable` is where the engine takes its API key from, None for the table's own.
    """

    words: tuple[str, ...]
    instead_of: int = 1
    arguments: tuple[str, ...] = ()
    of_this_run: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    key_variable: str | None = None


def inputs_for(placement: Placement, lora_format: str | None = None) -> CommandInputs:
    """What the command of this placement is made from; the port is left to the caller.

    Args:
        placement: what is to run.
        lora_format: the format of LoRA adapters that the engine is told at its start; None tells it none.

    Raises:
        UsageError: it has no checkpoint.
    """
    checkpoint = placement.checkpoint
    if checkpoint is None:
        raise UsageError(text("models.{model} has no checkpoint; set one", model=placement.model))
    loras = tuple(
        Lora(one.name, one.files[lora_format]) for one in placement.loras if lora_format and lora_format in one.files
    )
    return CommandInputs(
        model=placement.model, format=checkpoint.format, quantization=checkpoint.quantization or "unknown",
        context=placement.context, parallel=placement.parallel, kv_type=placement.kv_type,
        settings=placement.settings, path=checkpoint.path, gpus=placement.gpus, vendor=placement.vendor,
        layers=checkpoint.layers, kind=placement.kind, loras=loras, mmproj=placement.mmproj, draft=placement.draft,
        known_as=placement.known_as or PurePath(checkpoint.repo or checkpoint.path).name,
    )  # fmt: skip


def launch_spec(
    lines: EngineLines, placement: Placement, program: Program, *, port: int, secret: str,
    inputs: CommandInputs | None = None,
) -> LaunchSpec:  # fmt: skip
    """What is started for `placement`: the table's command with the real program, and the user's words last.

    Raises:
        AnsamblError: the placement contradicts itself, or the engine cannot be told something that is wanted.
    """
    given = inputs or inputs_for(placement)
    version = placement.installed.version if placement.installed else ""
    identity = placement.checkpoint.identity if placement.checkpoint else ""

    def written(at: int) -> tuple[list[str], dict[str, str], Mapping[str, str], str | None]:
        made = write_command(lines, replace(given, port=at))
        words = [*program.words, *made.argv[program.instead_of :], *program.arguments]
        added = {**made.environment, **program.environment}
        return words, added, made.files, program.key_variable or made.key_variable

    words, added, files, key_variable = written(port or _ANY_PORT)
    plain, plain_added, plain_files, _ = written(_ANY_PORT)
    options = placement.options
    digest = launch_digest(
        [*plain, *options.arguments],
        {**plain_added, **options.environment, **{f"file {name}": content for name, content in plain_files.items()}},
        " ".join((version, identity, *(one.identity for one in placement.loras if given.loras))),
    )
    secrets = {key_variable: secret} if key_variable else {}
    return LaunchSpec(
        engine=lines.name, argv=(*words, *program.of_this_run, *options.arguments), port=port,
        environment={**added, **options.environment, **secrets}, secret_environment=frozenset(secrets),
        upstream_name=placement.options.name or placement.model, digest=digest, files=files,
    )  # fmt: skip


def missing_program(placement: Placement, title: str, engine: str, *, installable: bool = True) -> UsageError:
    """The error for a placement whose engine was not found before it was to be started."""
    if not installable:
        return UsageError(
            text("models.{model}: {engine} was not found here; set engines.{name}.program to it",
                 model=placement.model, engine=title, name=engine)
        )  # fmt: skip
    return UsageError(
        text("models.{model}: {engine} is not installed here; install it with: ansambl engines install {name}",
             model=placement.model, engine=title, name=engine)
    )  # fmt: skip


def program_of(placement: Placement, title: str, engine: str, *, installable: bool = True) -> str:
    """The path of the program that was found for this placement.

    Args:
        placement: what is to run.
        title: the engine's name for people.
        engine: its registered name.
        installable: whether Ansambl could install it.

    Raises:
        UsageError: none was found.
    """
    if placement.installed is None or placement.installed.path is None:
        raise missing_program(placement, title, engine, installable=installable)
    return placement.installed.path
