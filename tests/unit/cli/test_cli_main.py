"""The program's frame: global options anywhere, one line for a failure, the exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansambl.cli import main as program
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.text import text

pytestmark = pytest.mark.usefixtures("own_folder")


def lines_of_error(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["status", "--lang", "ru", "--json"], (["status", "--json"], False, None)),
        (["--debug", "--lang=en", "status"], (["status"], True, None)),
        (["--lang", "xx", "status"], (["status"], False, "xx")),
        (["status", "--lang"], (["status"], False, "")),
        (["ask", "coder", "--", "--debug"], (["ask", "coder", "--", "--debug"], False, None)),
    ],
)
def test_global_options_are_taken_from_anywhere(
    given: list[str], expected: tuple[list[str], bool, str | None]
) -> None:  # fmt: skip
    assert program.take_global_options(given) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "start"),
    [
        (["status"], 1, "error: Ansambl is not running; start it with: ansambl up"),
        (["statu"], 2, "error: No such command 'statu'."),
        (["status", "--bar"], 2, "error: No such option: --bar. See: ansambl status --help"),
        (["ask"], 2, "error: Missing argument 'NAME'. See: ansambl ask --help"),
        (["data"], 2, "error: Missing command. See: ansambl data --help"),
        (["--lang", "xx", "status"], 2, "error: there is no language 'xx'; use one of: en, ru"),
        (["config", "show", "--config", "none.toml"], 2, "error: the configuration file none.toml does not exist"),
        (["models", "pull", "other"], 2, "error: the catalog has no model 'other'; see what it has with"),
        (["logs"], 2, "error: there is no log in"),
        (["ask", "coder", " "], 2, "error: the question is empty"),
    ],
)
def test_a_failure_is_one_line(
    arguments: list[str], code: int, start: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert program.main(arguments) == code
    lines = lines_of_error(capsys)
    assert len(lines) == 1
    assert lines[0].startswith(start)


def raise_from_a_command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("ansambl.app.configuration.configuration_file.load_data_paths", broken)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (NotSupportedError(text("no GPU here")), 3, ["error: no GPU here"]),
        (KeyboardInterrupt(), 130, []),
        (
            ZeroDivisionError("a\nb"),
            1,
            ["error: unexpected ZeroDivisionError: a b; run again with --debug to see where"],
        ),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, words: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    raise_from_a_command(monkeypatch, error)
    assert program.main(["data", "path"]) == code
    assert lines_of_error(capsys) == words


def test_a_traceback_only_with_debug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    raise_from_a_command(monkeypatch, ZeroDivisionError("x"))
    assert program.main(["data", "path", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    words = capsys.readouterr().out
    assert all(f" {name} " in words for name in program.command_names())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ansambl ")


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["up", "--help"]])
def test_a_command_loads_only_what_it_needs(arguments: list[str]) -> None:
    heavy = ("httpx", "fastapi", "psutil", "uvicorn", "aiohttp", "structlog")
    code = (
        f"import sys; from ansambl.cli.main import main; main({arguments}); "
        f"print([one for one in {heavy} if one in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_configuration_as_json_hides_keys(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "ansambl.toml").write_text(
        '[models.a]\naddress = "http://h:1/v1"\nkey = "s3cret"\n'
        '[models.b]\ncheckpoint = "x"\nenvironment = { HF_TOKEN = "s3cret", PLAIN = "1" }\n'
    )
    assert program.main(["config", "show", "--json"]) == 0
    words = capsys.readouterr().out
    assert "s3cret" not in words
    document = json.loads(words)
    assert document["settings"]["models"]["a"]["key"] == "set, hidden"
    assert document["settings"]["models"]["b"]["environment"] == {"HF_TOKEN": "set, hidden", "PLAIN": "1"}
    assert document["origins"]["models.a.key"] == "ansambl.toml:3"
    assert document["settings"]["data"]["folder"] == str(own_folder / "data")


def test_the_configuration_for_people(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "ansambl.toml").write_text('[gateway]\nport = 9000\n[models.a]\ncheckpoint = "embedded"\nkey = "x"\n')
    assert program.main(["config", "show"]) == 2
    assert lines_of_error(capsys) == [
        "error: ansambl.toml line 5: models.a.key: only goes with 'address'; remove it, or set 'address'"
    ]
    (own_folder / "ansambl.toml").write_text('[gateway]\nport = 9000\n[models.a]\ncheckpoint = "embedded"\n')
    assert program.main(["config", "show"]) == 0
    words = capsys.readouterr().out
    assert "[gateway]\n" in words
    assert "port = 9000  # ansambl.toml:2\n" in words
    assert 'host = "127.0.0.1"  # default\n' in words
    assert "# environment ANSAMBL_DATA" in words


def test_down_without_ansambl_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["down"]) == 0
    assert capsys.readouterr().out == "Ansambl is not running.\n"


def test_the_machine_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["machines", "show", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["memory"]["total"] > 0
    assert document["cpu"]["logical_cores"] >= 1


def test_the_machine_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["machines", "detect"]) == 0
    assert "GiB" in capsys.readouterr().out


def test_a_reader_that_leaves_is_no_failure_with_a_traceback(own_folder: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m ansambl config show --json | head -c 1', sys.executable],
        capture_output=True, text=True, check=False, cwd=own_folder,
    )  # fmt: skip
    assert done.stdout == "{"
    assert done.stderr == ""


def test_a_name_with_line_breaks_stays_in_one_line(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_folder / "ansambl.toml").write_text('[roles."a\\nb\\u001b[31m"]\ninstruction = "x"\n')
    assert program.main(["config", "show"]) == 2
    (line,) = lines_of_error(capsys)
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("prefix", "variables"), [("exec >&-;", {}), ("", {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})]
)
def test_printing_never_fails(own_folder: Path, prefix: str, variables: dict[str, str]) -> None:
    command = f"{prefix} exec '{sys.executable}' -m ansambl config show --lang ru"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=own_folder,
        env={**os.environ, **variables},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
