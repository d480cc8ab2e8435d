"""What every command of the planner takes for a path, and what it says where nothing is there."""

import pytest
from model_files import write_gguf

from ansambl.app.planning import local_path
from ansambl.cli import main as program
from ansambl.foundation.paths import DataPaths, expanded

MACHINE = ("--machine", "rtx-4090-64g")


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "PATH", *MACHINE), ("review", "PATH", *MACHINE), ("command", "PATH", *MACHINE),
        ("compat", "PATH", *MACHINE), ("plan", "--model", "PATH", *MACHINE), ("models", "inspect", "PATH"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["~nobody-of-this-name/x.gguf", "./absent.gguf", "~/absent"])
def test_a_path_where_nothing_is_ends_in_one_line(capsys, arguments, path):
    code = program.main([path if one == "PATH" else one for one in arguments])
    words = capsys.readouterr().err.strip()
    assert code == 1
    assert len(words.splitlines()) == 1
    assert "does not exist" in words
    assert "unexpected" not in words


def test_the_home_folder_is_meant_by_a_tilde_and_an_unknown_user_stays(tmp_path):
    assert expanded("~/x.gguf") == tmp_path / "x.gguf"
    assert str(expanded("~nobody-of-this-name/x")) == "~nobody-of-this-name/x"


def test_a_name_is_a_path_only_when_it_looks_like_one_or_is_there(tmp_path):
    paths = DataPaths(tmp_path / "data")
    assert local_path("qwen3-8b", paths) is None
    assert local_path("openai/gpt-oss-20b", paths) is None
    assert local_path("a" * 5000, paths) is None
    assert local_path("a\0b", paths) is None
    write_gguf(tmp_path / "qwen3-8b", {"general.architecture": "llama"}, {"token_embd.weight": ("F16", (64, 10))})
    assert local_path("qwen3-8b", paths) is not None
    assert local_path("absent.gguf", paths) is not None
