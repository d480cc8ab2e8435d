"""Traces of requests: JSON lines from a file, from standard input or shipped with the program, checked line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ansambl.domain.errors import AnsamblError, UnknownNameError, UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.runtime.simulated import Trace

MOST_REQUESTS = 5_000_000
"""Requests of one trace: beyond, a simulation takes minutes and gigabytes."""
_LONGEST_LINE = 16_384
_MOST_TOKENS = 100_000_000
_LATEST = 1e9
_SHIPPED = Path(__file__).resolve().parent / "traces"

ModelOf = Callable[[str], str]
"""The model that answers what is asked under a name of a model or role; raises AnsamblError where nothing does."""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    t: float
    prompt_tokens: int
    output_tokens: int
    model: str | None = None
    role: str | None = None
    request_class: RequestClass = msgspec.field(default=RequestClass.INTERACTIVE, name="class")
    conversation: str | int | None = None


_decode = msgspec.json.Decoder(_Line).decode


def shipped_traces() -> tuple[str, ...]:
    """The names of the traces that come with the program."""
    return tuple(sorted(one.stem for one in _SHIPPED.glob("*.jsonl")))


def shipped_file(name: str) -> Path:
    """The file of a shipped trace, or the shipped configuration (``card-96g.toml``)."""
    return _SHIPPED / name


def read_trace(name: str, model_of: ModelOf) -> Trace:
    """The trace in the file `name`, the shipped one of that name, or ("-") on standard input.

    Raises:
        UsageError: there is no such file, or a line is wrong; with its number.
    """
    if name == "-":
        return parse_trace(sys.stdin.buffer, "-", model_of)
    path = Path(name)
    if name in shipped_traces() and not os.path.lexists(path):
        path, model_of = shipped_file(f"{name}.jsonl"), _with_advice(model_of)
    try:
        with path.open("rb") as file:
            return parse_trace(file, name, model_of)
    except (OSError, ValueError) as error:
        if not os.path.lexists(path) and path.name == name and not path.suffix:
            raise UsageError(
                text("there is no trace '{name}'; give a file, - for standard input, or one of: {known}",
                     name=name[:80], known=", ".join(shipped_traces()))
            ) from None  # fmt: skip
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(
            text("the trace {file} cannot be read ({reason}); give another file", file=name, reason=reason)
        ) from None


def _with_advice(model_of: ModelOf) -> ModelOf:
    """Who tries a shipped trace has none of its models: what to write down stands on a page."""

    def advised(name: str) -> str:
        try:
            return model_of(name)
        except UnknownNameError:
            raise UsageError(
                text("the shipped traces ask for models that this configuration does not have, such as '{name}'; one "
                     "for them stands in docs/how-to/simulate-a-trace.md, give it with --config", name=name)
            ) from None  # fmt: skip

    return advised


def parse_trace(file: BinaryIO, shown: str, model_of: ModelOf) -> Trace:
    """The requests of JSON lines; empty lines are passed over.

    Raises:
        UsageError: a line is wrong; with its number. There is no request, or there are too many.
    """
    trace, models = Trace(), dict[str, str]()
    for number, raw in enumerate(_lines(file, shown), 1):
        if not raw.strip():
            continue
        try:
            line = _decode(raw)
        except msgspec.DecodeError as error:
            raise _wrong(shown, number, _problem(str(error), raw)) from None
        except ValueError as error:
            raise _wrong(shown, number, str(error)) from None
        _check(line, shown, number)
        name = line.model if line.model is not None else line.role or ""
        model = models.get(name)
        if model is None:
            try:
                model = models[name] = model_of(name)
            except AnsamblError as error:
                raise UsageError(
                    text("{file} line {line}: {problem}", file=shown, line=number, problem=error.message)
                ) from None
        conversation = line.conversation
        trace.add(
            line.t, model, line.request_class, prompt_tokens=line.prompt_tokens, output_tokens=line.output_tokens,
            conversation=None if conversation is None else str(conversation),
        )  # fmt: skip
        if len(trace) > MOST_REQUESTS:
            raise UsageError(text("{file} has more than {most} requests; give fewer", file=shown, most=MOST_REQUESTS))
    if not len(trace):
        raise UsageError(text("{file} has no requests; see: docs/how-to/simulate-a-trace.md", file=shown))
    return trace


def _lines(file: BinaryIO, shown: str) -> Iterator[bytes]:
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise UsageError(
                text("{file} line {line}: longer than {most} bytes, which no request of a trace is", file=shown,
                     line=number, most=_LONGEST_LINE)
            )  # fmt: skip
        yield line


def _check(line: _Line, shown: str, number: int) -> None:
    if (line.model is None) == (line.role is None):
        raise UsageError(
            text("{file} line {line}: says neither 'model' nor 'role', or both; keep one", file=shown, line=number)
        )
    if not 0 <= line.t <= _LATEST:
        raise UsageError(
            text("{file} line {line}: 't' is {value}; give seconds from 0 to {most}", file=shown, line=number,
                 value=line.t, most=round(_LATEST))
        )  # fmt: skip
    for field, value, least in (("prompt_tokens", line.prompt_tokens, 1), ("output_tokens", line.output_tokens, 0)):
        if not least <= value <= _MOST_TOKENS:
            raise UsageError(
                text("{file} line {line}: '{field}' is {value}; give a number from {least} to {most}", file=shown,
                     line=number, field=field, value=value, least=least, most=_MOST_TOKENS)
            )  # fmt: skip


def _problem(words: str, raw: bytes) -> str:
    """What the decoder says, with a nearest name where a field is misspelt."""
    marker = "unknown field `"
    if marker in words:
        wrong = words.partition(marker)[2].partition("`")[0]
        close = nearest_names(wrong, _fields(), 1)
        return f"{words}; {close[0]}?" if close else f"{words}; {', '.join(_fields())}"
    shown = raw.strip()[:60].decode("utf-8", "replace")
    return words if "$" in words or "missing" in words else f"{words}: {shown}"


def _fields() -> Iterable[str]:
    return ("t", "model", "role", "class", "prompt_tokens", "output_tokens", "conversation")


def _wrong(shown: str, number: int, problem: str) -> UsageError:
    return UsageError(text("{file} line {line}: {problem}", file=shown, line=number, problem=problem))
