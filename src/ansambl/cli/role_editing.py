"""Editing a role or an ensemble: in an editor as a table of TOML, or key by key on the command line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak
from ansambl.foundation.toml_writer import write_key, write_toml

if TYPE_CHECKING:
    from ansambl.app.roles.written import Source
    from ansambl.roles.catalog import Kind

Fields = dict[str, Any]
_EDITORS = ("nano", "vi")
_LARGEST_FILE = 1_000_000


def edit_text(kind: Kind, name: str, own: Mapping[str, Any], below: Mapping[str, Any]) -> str:
    """What the editor opens: the keys that are set, and those below them as comments.

    `below` is what is in effect without the own keys; empty for something new.
    """
    lines = [f"# {one}" for one in _introduction(kind).split("\n")]
    body = write_toml({kind: {name: dict(own)}})
    if not own:
        body = f"[{kind}.{write_key(name)}]\n"
    written = "\n".join(lines) + "\n\n" + body
    others = {key: value for key, value in below.items() if key not in own}
    if others:
        comment = write_toml({kind: {name: others}})
        written += (
            "\n# " + speak("As shipped:") + "\n" + "".join(f"# {line}".rstrip() + "\n" for line in comment.split("\n"))
        )
    return written


def _introduction(kind: Kind) -> str:
    if kind == "roles":
        return speak("A role. Save and close to keep it; leave it unchanged to keep nothing.\n"
                     "All keys: docs/reference/configuration.md, [roles.NAME].")  # fmt: skip
    return speak("An ensemble. Save and close to keep it; leave it unchanged to keep nothing.\n"
                 "All keys: docs/reference/configuration.md, [ensembles.NAME].")  # fmt: skip


def template(kind: Kind) -> Fields:
    """What something new begins with."""
    if kind == "roles":
        return {"description": "", "instruction": speak("Say what makes this role, in a sentence or two."),
                "temperature": 0.7}  # fmt: skip
    return {"description": "", "pattern": "council", "roles": ["coder", "reasoner"], "conductor": "reasoner"}


def read_edited(kind: Kind, name: str, source: str, shown: str) -> tuple[Fields, Source]:
    """The keys that the edited text sets.

    Raises:
        ConfigurationError: it cannot be used; with the line.
    """
    from ansambl.app.roles.written import check_tables, read_toml
    from ansambl.domain.errors import ConfigurationError

    document, places = read_toml(source, shown)
    check_tables(document, places)
    tables = [(table, one) for table, content in document.items() for one in content]
    if tables != [(kind, name)]:
        raise ConfigurationError(
            text("{file}: keep the one table [{table}] and its parts; another name needs: ansambl roles edit --rename",
                 file=shown, table=f"{kind}.{write_key(name)}")
        )  # fmt: skip
    return dict(document[kind][name]), places


def edit_in_editor(
    kind: Kind, name: str, before: str, keep: Callable[[Fields], dict[str, Any]]
) -> dict[str, Any] | None:
    """Let the user edit `before` until `keep` takes it; return what `keep` returned, None when nothing was changed.

    Raises:
        AnsamblError: there is no editor, or what was written cannot be used and the user gave up.
    """
    from ansambl.cli.output import ask_yes, note

    command = _editor()
    with tempfile.TemporaryDirectory(prefix="ansambl-") as folder:
        file = Path(folder) / f"{kind[:-1]}.toml"
        file.write_text(before, encoding="utf-8")
        while True:
            _run_editor([*command, str(file)])
            try:
                written = _read(file)
                if written == before:
                    return None
                fields, places = read_edited(kind, name, written, speak("the edited text"))
                try:
                    return keep(fields)
                except AnsamblError as error:
                    line = _line_of(error.message.render(speak), places)
                    if line is None:
                        raise
                    raise UsageError(text("line {line}: {problem}", line=line, problem=error.message)) from error
            except AnsamblError as error:
                if not sys.stdin.isatty():
                    raise
                note(error.message.render(speak))
                if not ask_yes(speak("Edit it again?"), yes=False, default=True):
                    raise


def _editor() -> list[str]:
    import shutil

    for variable in ("VISUAL", "EDITOR"):
        words = shlex.split(os.environ.get(variable, ""))
        if words:
            return words
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        # An editor that nobody sees waits for ever.
        raise UsageError(text("there is no terminal for an editor here; use --set KEY=VALUE"))
    found = next((one for one in _EDITORS if shutil.which(one)), None)
    if found is None:
        raise UsageError(text("no editor was found; name one in the variable EDITOR, or use --set KEY=VALUE"))
    return [found]


def _run_editor(command: Sequence[str]) -> None:
    try:
        ended = subprocess.run(list(command), check=False)
    except OSError as error:
        raise UsageError(
            text("the editor '{editor}' cannot be started ({reason}); name another in the variable EDITOR",
                 editor=command[0], reason=error.strerror or error)
        ) from None  # fmt: skip
    if ended.returncode != 0:
        raise UsageError(
            text(
                "the editor '{editor}' ended with {code}; nothing was changed", editor=command[0], code=ended.returncode
            )
        )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            text("the edited text cannot be read ({reason})", reason=error.strerror or str(error))
        ) from None
    except UnicodeDecodeError:
        raise UsageError(text("{file} is not UTF-8 text; save it as UTF-8", file=file.name)) from None


def _line_of(problem: str, source: Source) -> int | None:
    """The line of the key that a sentence begins with."""
    from ansambl.app.configuration.settings_lines import written_path

    for path in sorted(source.lines, key=len, reverse=True):
        plain = ".".join(str(one) for one in path)
        if len(path) > 1 and problem.startswith(
            tuple(one + end for one in (written_path(path), plain) for end in ": ")
        ):
            return source.lines[path]
    return None


def with_settings(kind: Kind, fields: Mapping[str, Any], assignments: Sequence[str]) -> Fields:
    """The keys with ``KEY=VALUE`` set over them; ``KEY=@FILE`` reads a file, ``KEY=`` takes the key out.

    Raises:
        UsageError: an assignment has no key or its file cannot be read.
    """
    changed: Fields = {**fields}
    for one in assignments:
        key, sign, written = one.partition("=")
        if not sign or not key.strip():
            raise UsageError(text("--set takes KEY=VALUE, not '{words}'; for example --set temperature=0.2", words=one))
        key, _, inner = key.strip().partition(".")
        value = _read_value(kind, key, written, is_inner=bool(inner))
        if inner:
            table = changed.get(key)
            value = {**(table if isinstance(table, dict) else {}), inner: value}
            value = {name: part for name, part in value.items() if part is not None} or None
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    return changed


def _read_value(kind: Kind, key: str, written: str, *, is_inner: bool) -> Any:
    if written == "":
        return None
    if written.startswith("@"):
        written = read_source(written[1:])
        return written.removesuffix("\n")
    if is_inner or _is_text(kind, key):
        return written
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        if _is_list(kind, key):
            return [one.strip() for one in written.split(",") if one.strip()]
        return written


def _annotation(kind: Kind, key: str) -> str:
    from ansambl.app.configuration.role_settings import EnsembleSettings, RoleSettings

    field = (RoleSettings if kind == "roles" else EnsembleSettings).model_fields.get(key)
    return str(field.annotation) if field is not None else ""


def _is_text(kind: Kind, key: str) -> bool:
    annotation = _annotation(kind, key)
    return annotation.startswith(("str ", "typing.Optional[str", "typing.Literal", "typing.Union[typing.Literal"))


def _is_list(kind: Kind, key: str) -> bool:
    return "tuple[" in _annotation(kind, key)


def read_source(name: str) -> str:
    """The text of a file, or of standard input when it is called "-".

    Raises:
        UsageError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(_LARGEST_FILE + 1)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(_LARGEST_FILE + 1)
        if len(raw) > _LARGEST_FILE:
            raise UsageError(text("{file} is over 1 MB, which no set of roles is", file=name))
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise UsageError(text("{file} cannot be read ({reason})", file=name, reason=error.strerror or error)) from None
    except UnicodeDecodeError:
        raise UsageError(text("{file} is not UTF-8 text; save it as UTF-8", file=name)) from None


def read_set(name: str) -> dict[str, Any]:
    """The set of roles and ensembles in a file of TOML or JSON.

    Raises:
        ConfigurationError: it cannot be used; with the line where it is TOML.
    """
    import json

    from ansambl.app.roles.written import check_tables, read_toml
    from ansambl.domain.errors import ConfigurationError

    source = read_source(name)
    if source.lstrip().startswith("{"):
        try:
            document = json.loads(source)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(text("{file}: not valid JSON: {reason}", file=name, reason=error)) from None
        check_tables(document)
        return dict(document)
    document, places = read_toml(source, name)
    check_tables(document, places)
    return document
