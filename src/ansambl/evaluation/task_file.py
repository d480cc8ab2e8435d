"""Reading a file of tasks: JSON lines, a JSON array or CSV, each also packed with gzip."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ansambl.domain.errors import UsageError
from ansambl.domain.text import Text, text
from ansambl.evaluation.public_formats import READERS, format_of
from ansambl.evaluation.task_fields import FieldError, Row
from ansambl.evaluation.tasks import Task

SHIPPED = "shipped"
"""What stands for the file of the set that comes with Ansambl."""
_DATA = Path(__file__).with_name("data")
_LARGEST = 256 * 2**20
_MOST = 100_000
_MMLU_COLUMNS = 6


@dataclass(frozen=True, slots=True)
class TaskSet:
    """The tasks of a file. `digest` tells whether two runs had the same; `left_out` counts rows that are no tasks."""

    name: str
    tasks: tuple[Task, ...]
    digest: str
    left_out: int = 0


def load_tasks(file: str, wanted_format: str | None = None) -> TaskSet:
    """The tasks of a file, or of the shipped set where `file` is ``shipped``.

    Raises:
        UsageError: the file cannot be read, or a row is no task; names line and field.
    """
    if wanted_format is not None and wanted_format not in READERS:
        raise UsageError(text("there is no format '{format}'; use one of: {known}", format=wanted_format[:40],
                              known=", ".join(READERS)))  # fmt: skip
    paths = sorted(_DATA.glob("*.jsonl")) if file == SHIPPED else [Path(file)]
    tasks: dict[str, Task] = {}
    left_out, digest = 0, sha256()
    for path in paths:
        content = _content(path)
        digest.update(content)
        for position, (place, row) in enumerate(_rows(path, content), start=1):
            try:
                task = READERS[wanted_format or format_of(row)](row, position)
            except FieldError as error:
                raise UsageError(text("{file}, {place}: {problem}", file=path.name, place=place,
                                      problem=error.message)) from error  # fmt: skip
            if task is None:
                left_out += 1
                continue
            if task.id in tasks:
                raise UsageError(text("{file}, {place}: there is a task '{id}' already", file=path.name, place=place,
                                      id=task.id[:60]))  # fmt: skip
            tasks[task.id] = task
            if len(tasks) > _MOST:
                raise UsageError(
                    text("{file} holds more than {most} tasks; take a part of it", file=path.name, most=_MOST)
                )
    if not tasks:
        raise UsageError(text("{file} holds no task", file=file))
    return TaskSet(file if file == SHIPPED else paths[0].name, tuple(tasks.values()), digest.hexdigest()[:16], left_out)


def _content(path: Path) -> bytes:
    if path.suffix.lower() in {".parquet", ".arrow"}:
        raise UsageError(
            text(
                "{file}: parquet is not read; turn it into JSON lines, for example: "
                "python -c \"import pandas; pandas.read_parquet('{file}').to_json('tasks.jsonl', orient='records', "
                'lines=True)"',
                file=path.name,
            )
        )
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise UsageError(text("there is no file {file}; the shipped tasks are called: {shipped}", file=str(path),
                              shipped=SHIPPED)) from error  # fmt: skip
    except (OSError, EOFError) as error:
        raise UsageError(
            text(
                "{file} cannot be read: {reason}", file=str(path), reason=getattr(error, "strerror", None) or str(error)
            )
        ) from error
    if len(content) > _LARGEST:
        raise UsageError(
            text("{file} is larger than {limit} MiB; take a part of it", file=path.name, limit=_LARGEST >> 20)
        )
    if content.startswith(b"PAR1"):
        raise UsageError(text("{file} is a parquet file; turn it into JSON lines first", file=path.name))
    return content


def _rows(path: Path, content: bytes) -> Iterator[tuple[Text, Row]]:
    """Each row with its place in words."""
    try:
        words = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(text("{file} is not UTF-8 text", file=path.name)) from error
    name = path.name.lower().removesuffix(".gz")
    start = words.lstrip()[:1]
    if start == "[":
        yield from _array(path, words)
    elif start == "{" or name.endswith((".jsonl", ".json")):
        for number, line in enumerate(words.split("\n"), start=1):
            if line.strip():
                yield text("line {number}", number=number), _object(path, text("line {number}", number=number), line)
    else:
        yield from _table(path, words)


def _array(path: Path, words: str) -> Iterator[tuple[Text, Row]]:
    try:
        found = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise UsageError(text("{file} is not JSON: {reason}", file=path.name, reason=str(error)[:120])) from error
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict):
            raise UsageError(
                text("{file}, {place}: is no object", file=path.name, place=text("element {number}", number=number))
            )
        yield text("element {number}", number=number), row


def _object(path: Path, place: Text, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(text("{file}, {place}: is not JSON: {reason}", file=path.name, place=place,
                              reason=str(error)[:120])) from error  # fmt: skip
    if not isinstance(row, dict):
        raise UsageError(text("{file}, {place}: is no object", file=path.name, place=place))
    return row


def _table(path: Path, words: str) -> Iterator[tuple[Text, Row]]:
    try:
        lines = list(csv.reader(io.StringIO(words, newline=""), strict=True))
    except csv.Error as error:
        raise UsageError(text("{file} is not CSV: {reason}", file=path.name, reason=str(error))) from error
    if not lines:
        return
    if _is_mmlu(lines[0]):
        # MMLU's own files have no head: question, four choices, letter.
        for number, cells in enumerate(lines, start=1):
            if cells:
                yield (
                    text("row {number}", number=number),
                    {"question": cells[0], "choices": cells[1:-1], "answer": cells[-1]},
                )
        return
    head = [one.strip() for one in lines[0]]
    for number, cells in enumerate(lines[1:], start=2):
        if cells:
            yield (
                text("row {number}", number=number),
                {one: cell for one, cell in zip(head, cells, strict=False) if one},
            )


def _is_mmlu(cells: list[str]) -> bool:
    return len(cells) == _MMLU_COLUMNS and cells[-1].strip() in {"A", "B", "C", "D"}
