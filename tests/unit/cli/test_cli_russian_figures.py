"""Tables and pages of the terminal in Russian: their figures are written as Russian writes them, JSON is as it was."""

import json
import re
from pathlib import Path

import pytest
from called_commands import called

from ansambl import cli
from ansambl.cli.instance_words import print_devices
from ansambl.domain.units import GIB
from ansambl.foundation.locales import speak

pytestmark = pytest.mark.usefixtures("own_folder")

ENGLISH = re.compile(r"\b\d+(\.\d+)?\s([KMGT]iB|min|ms|s)\b|tokens")
CARD = ("--machine", "rtx-pro-6000-128g")
ASKED = {
    "fit": ("fit", "gpt-oss-120b", *CARD),
    "not fitting": ("fit", "gpt-oss-120b", "--engine", "vllm", "--machine", "h100-80g"),
    "machine": ("machines", "show", "rtx-pro-6000-128g"),
    "models": ("models", "list"),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_russian_tables_have_russian_figures(capsys, monkeypatch, asked):
    monkeypatch.setattr(speak, "language", "ru")
    _, out, _ = called(capsys, *asked)
    # What stands in brackets, or below that heading, is a source, quoted to the letter.
    told = re.sub(r"\[[^]]*\]", "", out).split("\nИсточники\n")[0]
    assert re.search(r"\d,\d", told)
    assert not [line for line in told.splitlines() if ENGLISH.search(line)]


def test_the_memory_of_devices(capsys, monkeypatch):
    monkeypatch.setattr(speak, "language", "ru")
    print_devices([{"device": "gpu0", "capacity": 8 * GIB, "reserved": 4 * GIB, "foreign": 2 * GIB}])
    out = capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    assert "8,0 ГиБ" in out
    assert "GiB" not in out


def test_documents_for_scripts_do_not_depend_on_the_language(capsys, monkeypatch):
    documents = []
    for language in ("en", "ru"):
        monkeypatch.setattr(speak, "language", language)
        document = json.loads(called(capsys, *ASKED["fit"], "--json")[1])
        documents.append((document["devices"], document["speed"]["decode_tokens_per_second"]))
    assert documents[0] == documents[1]


def test_no_command_writes_sizes_and_times_past_the_language():
    folder = Path(cli.__file__).parent
    found = [one.name for one in folder.rglob("*.py") if re.search(r"\bformat_(bytes|seconds|rate)\b", one.read_text())]
    assert found == []


def test_the_longest_and_the_most_are_not_told_apart_where_one_says_both(capsys, monkeypatch):
    monkeypatch.setattr(speak, "language", "en")
    most = [line for line in called(capsys, *ASKED["fit"], "--context", "131072")[1].splitlines() if "At most" in line]
    assert re.search(r"131072 tokens × [2-9]\d*, on the GPUs alone", most[0])
    assert ", or " not in most[0]
    most = [line for line in called(capsys, *ASKED["fit"], "--context", "8192")[1].splitlines() if "At most" in line]
    assert re.search(r"131072 tokens × 1, or 8192 tokens × \d+", most[0])
