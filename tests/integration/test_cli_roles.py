"""``ansambl roles`` without a running Ansambl: what is saved, edited, moved and told; each failure is one line."""

from __future__ import annotations

import json
import stat
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansambl.cli import main as program

pytestmark = pytest.mark.usefixtures("own_folder")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = program.main(["roles", *arguments, "--lang", "en"])
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


@pytest.fixture
def document(run: Run) -> Callable[..., Any]:
    def call(*arguments: str) -> Any:
        code, out, err = run(*arguments, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make an editor that runs Python code on the text; what it saw is kept."""

    def make(code: str) -> Path:
        seen = tmp_path / "seen.txt"
        script = tmp_path / "editor.py"
        script.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\nfile = pathlib.Path(sys.argv[1])\ntext = file.read_text()\n"
            f"pathlib.Path({str(seen)!r}).write_text(text)\n{code}\nfile.write_text(text)\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("VISUAL", str(script))
        return seen

    return make


def refused(answer: tuple[int, str, str], *words: str) -> None:
    code, out, err = answer
    assert (code, out, err.count("\n")) == (2, "", 1), answer
    for word in words:
        assert word in err


def test_who_only_looks_makes_no_data_folder(run: Run, document: Callable[..., Any], own_folder: Path) -> None:
    before = sorted(own_folder.rglob("*"))
    code, out, _ = run("list")
    assert code == 0
    assert "summariser" in out
    assert "careful" in out
    listed = document("list")
    assert {one["prefix_group"] for one in listed["roles"]} == {1}
    assert document("export") == {}
    assert run("show", "переводчик")[0] == 0
    assert sorted(own_folder.rglob("*")) == before


def test_the_list_says_who_shares_no_prefix(run: Run, own_folder: Path) -> None:
    (own_folder / "ansambl.toml").write_text(
        '[roles.a]\ninstruction = "A"\nlayout = "classic"\n[roles.b]\ninstruction = "B"\nreasoning_effort = "high"\n'
        '[roles.c]\ninstruction = "C"\ntools = []\n[roles.d]\ninstruction = "D"\ntools = []\n'
    )
    out = run("list")[1]
    assert "a shares with no other role: The layout is classic" in out
    assert "b shares with no other role: No other role sets the same reasoning_effort" in out
    assert "c shares" not in out


def test_keys_are_set_one_by_one(document: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("Sing.\nLoud.\n", encoding="utf-8")
    made = document(
        "edit", "бард", "--set", f"instruction=@{tmp_path / 'long.txt'}", "--set", "aliases=skald, b2",
        "--set", 'stop=["a,b"]', "--set", "instructions.ru=Пой.", "--set", "temperature=1",
        "--set", "answer_language=ru",
    )  # fmt: skip
    assert made["saved"] == {
        "instruction": "Sing.\nLoud.", "aliases": ["skald", "b2"], "stop": ["a,b"], "instructions": {"ru": "Пой."},
        "temperature": 1, "answer_language": "ru",
    }  # fmt: skip
    changed = document("edit", "SKALD", "--set", "temperature=", "--set", "instructions.ru=")
    assert (changed["name"], changed["version"]) == ("бард", 2)
    assert not {"temperature", "instructions"} & set(changed["saved"])


def test_a_shipped_role_is_changed_key_by_key_and_brought_back(document: Callable[..., Any], run: Run) -> None:
    changed = document("edit", "coder", "--set", "top_k=5")
    assert (changed["saved"], changed["origins"]["top_k"], changed["origins"]["top_p"]) == (
        {"top_k": 5},
        "saved",
        "shipped",
    )
    assert run("remove", "coder", "--yes")[0] == 0
    assert document("show", "coder")["origin"] == "shipped"
    assert document("restore", "coder")["saved"] == {"top_k": 5}
    assert [one["action"] for one in document("history", "coder")["versions"]] == ["created", "removed", "restored"]


def test_a_role_of_the_file_is_copied_not_changed(document: Callable[..., Any], run: Run, own_folder: Path) -> None:
    (own_folder / "ansambl.toml").write_text('\n[roles.poet]\ninstruction = "Rhyme."\naliases = ["bard"]\n')
    refused(run("edit", "bard", "--set", "top_k=1"), "'poet' stands in ansambl.toml:3", "edit NEW --from poet")
    refused(run("remove", "poet", "--yes"), "'poet' stands in ansambl.toml, line 2")
    copy = document("edit", "skald", "--from", "poet", "--set", "top_k=1")
    assert copy["saved"] == {"instruction": "Rhyme.", "top_k": 1}
    refused(run("edit", "skald", "--from", "poet"), "exists already")


def test_the_editor_opens_a_table_and_keeps_what_it_says(
    document: Callable[..., Any], run: Run, editor: Callable[[str], Path]
) -> None:
    seen = editor("text = text.replace('[roles.brief]', '[roles.brief]\\nmax_tokens = 64', 1)")
    assert document("edit", "brief")["saved"] == {"max_tokens": 64}
    assert "# temperature = 0.3" in seen.read_text()
    editor("text = text.replace('64', '65')")
    assert document("edit", "brief")["version"] == 2
    assert "max_tokens = 64" in seen.read_text()
    editor("")
    assert run("edit", "brief") == (0, "Nothing was changed.\n", "")
    # A new name begins with a template; left as it is, nothing is made.
    assert run("edit", "bard") == (0, "Nothing was changed.\n", "")
    refused(run("show", "bard"), "no role or ensemble 'bard'")
    editor("text = text.replace('coder', 'brief')")
    assert document("edit", "pair", "--ensemble")["saved"]["roles"] == ["brief", "reasoner"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("text = '[roles.bard]\\n\\ntemprature = 1\\n'", "line 3: unknown key 'roles.bard.temprature'; did you mean"),
        ("text = '[roles.bard]\\ntop_p = 0.5\\nmodel = \"x\"\\n'", "line 3: roles.bard.model: 'x' is not known"),
        ("text = '[roles.bard]\\ntop_p = \\n'", "not valid TOML"),
        ("text = '[roles.other]\\ntop_p = 1\\n'", "keep the one table [roles.bard]"),
        ("text = '[models.bard]\\n'", "line 1: 'models' is no table of roles or ensembles"),
        ("text = ''", "keep the one table"),
        ("raise SystemExit(3)", "ended with 3; nothing was changed"),
    ],
)
def test_a_mistake_in_the_editor_is_told_with_its_line(
    run: Run, document: Callable[..., Any], editor: Callable[[str], Path], code: str, words: str
) -> None:
    editor(code)
    refused(run("edit", "bard"), words)
    assert "bard" not in [one["name"] for one in document("list")["roles"]]


def test_without_an_editor(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    refused(run("edit", "bard"), "there is no terminal", "--set KEY=VALUE")
    monkeypatch.setenv("EDITOR", "no-such-editor --wait")
    refused(run("edit", "bard"), "'no-such-editor' cannot be started")


def test_what_is_exported_is_imported_elsewhere(
    document: Callable[..., Any], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document("edit", "bard", "--set", 'instruction=Line one.\nLine "two" \\ end.', "--set", "instructions.ru=Пой.")
    document("edit", "choir", "--ensemble", "--set", "roles=bard,brief", "--set", "pattern=debate")
    file, as_json = tmp_path / "set.toml", tmp_path / "set.json"
    assert run("export", "--out", str(file))[0] == 0
    assert run("export", "--out", str(as_json))[0] == 0
    whole = document("export")
    assert tomllib.loads(file.read_text(encoding="utf-8")) == json.loads(as_json.read_text(encoding="utf-8")) == whole
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "other"))
    dry = document("import", str(file), "--dry-run")
    assert (dry["dry_run"], dry["created"]) == (True, ["bard", "choir"])
    assert document("export") == {}
    document("import", str(as_json))
    assert document("export") == whole
    assert document("import", str(file))["unchanged"] == ["bard", "choir"]
    # Pasted into the file it means the same.
    shown = document("show", "bard")["fields"]
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "third"))
    Path("ansambl.toml").write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    assert document("show", "bard")["fields"] == shown
    named = run("export", "auto", "кодер")[1]
    assert set(tomllib.loads(named)["roles"]) == {"coder"}
    assert len(tomllib.loads(named)["ensembles"]["auto"]["rules"]) == 3


def test_a_file_that_cannot_be_imported_is_one_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "set.toml"
    for content, words in (
        (b"[roles.a]\ntop_k = 1\n\n[roles.b]\ntop_k = -1\n", "line 5: roles.b.top_k is -1"),
        (b"[models.a]\n", "'models' is no table"),
        (b'{"roles": ', "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * 1_000_001, "over 1 MB"),
        (b'[roles.a]\nmodel = "nope"\n', "roles.a.model: 'nope' is not known"),
        (b"", "holds no role and no ensemble"),
        (b"[roles]\n", "holds no role and no ensemble"),
    ):  # fmt: skip
        file.write_bytes(content)
        refused(run("import", str(file)), words)
    refused(run("import", str(tmp_path / "missing")), "cannot be read")
    assert run("export")[1] == ""


def test_names_and_versions_that_are_not_there(run: Run) -> None:
    refused(run("show", "codr"), "nearest: coder")
    refused(run("history", "coder"), "No role 'coder' is saved")
    refused(run("restore", "coder"), "No role 'coder' is saved")
    refused(run("remove", "coder", "--yes"), "comes with Ansambl")
    refused(run("edit", "a b", "--set", "top_k=1"), "'a b' cannot be a name")
    refused(run("edit", "a/b", "--set", "top_k=1"), "cannot hold '/'")
    refused(run("edit", "a", "--set", "top_k"), "--set takes KEY=VALUE")
    refused(run("edit", "a", "--set", "top_kk=1"), "did you mean 'roles.a.top_k'")
    assert run("edit", "a", "--set", "top_k=1")[0] == 0
    refused(run("restore", "a"), "only one version")
    refused(run("restore", "a", "1"), "in effect already")
    refused(run("restore", "a", "7"), "no version 7")


def test_another_name_takes_the_versions_along(document: Callable[..., Any]) -> None:
    document("edit", "a", "--set", "top_k=1")
    assert document("edit", "a", "--rename", "b")["name"] == "b"
    assert len(document("history", "b")["versions"]) == 2


def test_what_the_file_hides_is_kept_and_told(document: Callable[..., Any], run: Run, own_folder: Path) -> None:
    document("edit", "bard", "--set", "instruction=Sing.")
    (own_folder / "ansambl.toml").write_text('[roles.bard]\ninstruction = "Hum."\n')
    code, out, err = run("list")
    assert (code, "hides a saved one" in out) == (0, True)
    assert "bard, as saved, is not in effect: ansambl.toml has a table of this name" in err
    assert document("show", "bard")["fields"]["instruction"] == "Hum."
    assert run("remove", "bard", "--yes")[0] == 0
    assert "hides" not in run("list")[1]
