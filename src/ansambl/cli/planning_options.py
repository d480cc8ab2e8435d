"""Options that the planner's commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak

DOES_NOT_FIT = NotSupportedError.exit_code
"""What a command ends with where the answer is no: it does not fit, does not hold, or does not work."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help=speak('A model of the catalog (see: ansambl models list), the path of its files, or "embedded".'),
    ),
]
Quantization = Annotated[
    str | None,
    typer.Option("--quantization", metavar="Q", help=speak("Only this quantization, for example Q4_K_M or FP8.")),
]
Engine = Annotated[
    str | None, typer.Option("--engine", metavar="ENGINE", help=speak("Only this engine, for example vllm."))
]
MachineName = Annotated[
    str | None,
    typer.Option(
        "--machine", metavar="NAME|FILE", help=speak("A machine of the list or a TOML file; else this machine.")
    ),
]
GoalName = Annotated[
    str,
    typer.Option("--goal", metavar="GOAL", help=speak("What matters most: depth, parallel, balanced or no-swap.")),
]
Language = Annotated[
    str | None,
    typer.Option("--language", metavar="CODE", help=speak("Weigh the quality in this language, for example ru.")),
]
Context = Annotated[
    int | None, typer.Option("--context", metavar="N", help=speak("Tokens for each sequence."), show_default=False)
]
Parallel = Annotated[int, typer.Option("--parallel", metavar="N", help=speak("Sequences at once."))]
KvType = Annotated[
    str, typer.Option("--kv-type", metavar="T", help=speak("Number format of the KV cache, for example q8_0 or fp8."))
]
Remote = Annotated[
    bool, typer.Option("--remote", help=speak("MODEL is owner/name[:Q] on a hub: read its headers there."))
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help=speak("A setting of the engine, for example gpu_memory_utilization=0.95.")
    ),
]


def read_settings(pairs: Sequence[str] | None) -> dict[str, str]:
    """The values of ``--set`` by name.

    Raises:
        UsageError: a pair has no name or no equals sign, or a name is given twice with other values.
    """
    settings: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name:
            raise UsageError(text("--set '{pair}' is not KEY=VALUE; write for example --set n_cpu_moe=20", pair=pair))
        if settings.get(name, value) != value:
            raise UsageError(
                text("--set {name} is given twice ({first} and {second}); give it once", name=name,
                     first=settings[name], second=value)
            )  # fmt: skip
        settings[name] = value.strip()
    return settings
