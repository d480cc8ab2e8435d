"""``ansambl knowledge`` over knowledge in memory: what is printed, asked, refused, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace

import msgspec
import pytest
import typer

from ansambl.app.knowledge import opening
from ansambl.cli import main as program
from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
from ansambl.domain.text import text
from ansambl.foundation import logging
from ansambl.knowledge.contract import Estimate, Refused, Report
from ansambl.testing.fake_knowledge import FakeKnowledge

EVIL = "\x1b]0;title\x07\x1b[31mred\u202eback\x9b"
TALK = PastConversation(
    "chatgpt", "67f-1", "Про деревья",
    (
        Turn(Speaker.USER, "Что такое клён?", 1_754_500_000.0, "", "a"),
        Turn(Speaker.ASSISTANT, "Клён — дерево с резными листьями.", 1_754_500_100.0, "ChatGPT", "b", ("leaf.png",)),
    ), created=1_754_500_000.0,
)  # fmt: skip


class Known(FakeKnowledge):
    """Which also says that its model is the bundled one, so fast, and refuses what a test names."""

    def __init__(self):
        super().__init__()
        self.bundled, self.rate, self.refused, self.embeddings = True, 2.0, (), 0
        self.interrupting = False

    def add(self, place, collection, **more):
        if self.interrupting:
            watch = more["watch"]

            def interrupted(one):
                os.kill(os.getpid(), signal.SIGINT)
                watch(one)

            more["watch"] = interrupted
        found = super().add(place, collection, **more)
        return replace(found, refused=(*found.refused, *self.refused))

    def state(self):
        return replace(super().state(), bundled=self.bundled, rate=self.rate)

    def estimate(self):
        found = super().estimate()
        return Estimate(found.passages, found.model, self.rate, found.passages / self.rate if self.rate else None)

    def embed(self, **more):
        self.embeddings += 1
        return super().embed(**more)


@pytest.fixture
def known(own_folder, monkeypatch):
    found = Known()
    monkeypatch.setattr(opening, "open_knowledge", lambda *_: found)
    monkeypatch.setattr(logging, "configure", lambda *_: None)
    return found


@pytest.fixture
def run(known, capsys):
    def call(*arguments, lang="en"):
        capsys.readouterr()
        code = program.main(["knowledge", *arguments, "--lang", lang] if "--" not in arguments
                            else ["--lang", lang, "knowledge", *arguments])  # fmt: skip
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


def test_a_folder_is_added_found_shown_and_removed(run, known, own_folder):
    notes = own_folder / "notes"
    notes.mkdir()
    (notes / "trees.md").write_text("# Trees\n\nA maple has five lobes.", encoding="utf-8")
    (notes / "клёны.md").write_text("# Клёны\n\nРезные листья клёна.", encoding="utf-8")
    code, out, err = run("add", "notes", "--collection", "garden")
    assert (code, err) == (0, "")
    assert "2 added" in out
    code, out, _ = run("add", "notes", "--collection", "garden")
    assert (code, "2 unchanged" in out) == (0, True)
    code, out, _ = run("search", "maple", "lobes")
    assert code == 0
    for words in ("trees.md", "Trees", "A maple has five lobes.", "garden"):
        assert words in out
    found = json.loads(run("search", "клёна", "--json")[1])
    (hit,) = found["hits"]
    assert set(hit) >= {"text", "score", "document", "collection", "heading", "page", "time", "author"}
    assert (hit["document"], hit["heading"], hit["text"]) == ("клёны.md", "Клёны", "Резные листья клёна.")
    listed = json.loads(run("list", "--json")[1])
    assert [(one["name"], one["documents"]) for one in listed["collections"]] == [("garden", 2)]
    documents = json.loads(run("list", "--collection", "garden", "--json")[1])["documents"]
    shown = run("show", str(documents[0]["id"]))
    assert "A maple has five lobes." in shown[1]
    assert "A maple" in run("show", str(documents[0]["id"]), "--passages")[1]
    code, out, err = run("remove", str(documents[0]["id"]))
    assert (code, "--yes" in err) == (1, True)
    assert len(known.documents()) == 2
    assert run("remove", str(documents[0]["id"]), "--yes")[:2] == (0, "Documents removed: 1\n")
    assert run("remove", "notes", "--yes")[0] == 0
    assert known.documents() == []
    assert notes.exists()


def test_what_others_wrote_never_commands_the_terminal(run, known):
    number = known.put("c", f"title {EVIL}", f"maple {EVIL} tree", place=f"/x/{EVIL}")
    turns = (Turn(Speaker.USER, EVIL, None, EVIL, "a", (EVIL,)),)
    known.remember(PastConversation("chatgpt", "e", f"talk {EVIL}", turns), "memory", "key")
    known.refused = (Refused(f"/{EVIL}", text("because of {what}", what=EVIL)),)
    for arguments in (
        ("list",), ("list", "-c", "c"), ("show", str(number)), ("show", str(number), "--passages"), ("show", "e"),
        ("search", "maple"), ("remove", str(number)), ("forget",), ("list", "--json"), ("search", "maple", "--json"),
        ("show", str(number), "--json"), ("add", "."),
    ):  # fmt: skip
        _, out, err = run(*arguments)
        printed = (out + err).replace("\n", "").replace("\t", "")
        assert out + err, arguments
        for letter in ("\x1b", "\x07", "\u202e", "\x9b"):
            assert letter not in printed, arguments


def test_refused_things_are_told_and_the_rest_counts(run, known, own_folder):
    (own_folder / "a.txt").write_text("words", encoding="utf-8")
    known.refused = tuple(Refused(f"/f{number}", text("it is encrypted")) for number in range(50))
    code, out, err = run("add", "a.txt")
    assert code == 0
    assert "1 added" in out
    assert err.count("it is encrypted") == 20
    assert "and refused besides: 30" in err
    (own_folder / "b.bin").write_bytes(b"\xff")
    known.refused = ()
    code, _, err = run("add", "b.bin")
    assert (code, "is not text" in err) == (1, True)
    whole = json.loads(run("add", "b.bin", "--json")[1])
    assert (whole["refused_count"], whole["added"], whole["stopped"]) == (1, 0, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "nowhere"), "nowhere"), (("add", "x" * 5000), "cannot read"), (("add",), "PATH"),
        (("add", "https://example.org/", "--watch"), "--watch"), (("add", ".", "--colection", "x"), "colection"),
        (("search", "x", "--since", "yesterday"), "2025-08-07"), (("search", "x", "--language", "klingon"), "klingon"),
        (("search", "  "), "empty"), (("search", "x", "--limit", "0"), "limit"), (("show", "99"), "99"),
        (("show", "no such talk"), "no such talk"), (("remove", "no-such-thing", "--yes"), "no-such-thing"),
        (("list", "-c", "gardn"), "gardn"), (("forget", "7"), "7"), (("forget", "7", "--all"), "--all"),
        (("watch", "--remove"), "which folder"), (("watch", "--remove", "."), "not kept"), (("watch",), "no folder"),
        (("import-chats", "nothing.zip"), "nothing.zip"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_and_exit_code_two(run, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, ""), err
    assert len(err.splitlines()) == 1
    assert words in err


def test_names_in_any_script_odd_bytes_and_hyphens(run, known, own_folder):
    names = ["-strange.txt", "日本語 メモ.txt", "заметка.txt", "a'\"$(x).txt", "x" * 250 + ".txt"]
    for name in names:
        (own_folder / name).write_text("words", encoding="utf-8")
    code, _, err = run("add", "--", *names)
    assert (code, err) == (0, "")
    assert sorted(one.title for one in known.documents()) == sorted(names)
    assert run("remove", "--yes", "--", "-strange.txt")[0] == 0
    assert len(known.documents()) == len(names) - 1


def test_hours_of_embedding_are_asked_for_before_they_begin(run, known, own_folder, monkeypatch):
    known.vectors = False
    (own_folder / "a.txt").write_text("\n\n".join(f"passage {number}" for number in range(300)), encoding="utf-8")
    code, _, err = run("add", "a.txt")
    assert (code, known.embeddings) == (0, 0)
    assert "Passages: 300; about 2 min on this CPU with the bundled model. Words are searchable at once." in err
    assert "ansambl knowledge embed --yes" in err
    assert run("add", "a.txt", "--no-embed")[2] == ""
    # Another model than the bundled one is fast enough not to ask; so is little work.
    known.bundled = False
    assert run("embed")[0] == 0
    assert known.embeddings == 1
    known.vectors, known.bundled, known.rate = False, True, 100.0
    assert run("embed")[0] == 0
    known.vectors, known.rate = False, None
    assert "about 2 min" in run("add", "a.txt")[2]
    assert known.embeddings == 2
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", lambda: "да\n", raising=False)
    assert run("embed")[0] == 0
    assert known.embeddings == 3
    known.vectors = False
    assert run("embed", "--yes")[0] == 0
    assert known.embeddings == 4


def test_ctrl_c_at_the_question_says_how_to_have_the_vectors_later(run, known, own_folder, monkeypatch):
    def interrupts():
        raise KeyboardInterrupt

    known.vectors = False
    (own_folder / "a.txt").write_text("\n\n".join(f"passage {number}" for number in range(300)), encoding="utf-8")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", interrupts, raising=False)
    code, out, err = run("add", "a.txt")
    assert (code, known.embeddings, "1 added" in out) == (130, 0, True)
    assert "ansambl knowledge embed --yes" in err


def test_ctrl_c_ends_between_documents_and_the_same_command_goes_on(run, known, own_folder):
    (own_folder / "notes").mkdir()
    for number in range(5):
        (own_folder / "notes" / f"{number}.txt").write_text(f"words {number}", encoding="utf-8")
    known.interrupting = True
    before = signal.getsignal(signal.SIGINT)
    code, out, err = run("add", "notes")
    assert (code, len(known.documents())) == (130, 1)
    assert "the same command goes on" in err
    assert "1 added" in out
    assert signal.getsignal(signal.SIGINT) is before
    known.interrupting = False
    code, out, _ = run("add", "notes")
    assert (code, "4 added" in out, "1 unchanged" in out) == (0, True, True)


def test_conversations_are_imported_shown_and_told_apart(run, known, own_folder):
    (own_folder / "conversations.json").write_bytes(msgspec.json.encode([TALK]))
    code, out, _ = run("import-chats", "conversations.json")
    assert (code, "Conversations: 1 added" in out) == (0, True)
    assert "1 unchanged" in run("import-chats", "conversations.json")[1]
    code, out, _ = run("show", "67f-1")
    assert code == 0
    for words in ("Про деревья", "Что такое клён?", "ChatGPT", "06.08.2025", "leaf.png"):
        assert words in out
    code, out, _ = run("search", "листьями", "--role", "assistant")
    assert "ChatGPT, 06.08.2025" in out
    assert "Про деревья" in out
    assert json.loads(run("show", "67f-1", "--json")[1])["turns"][1]["attachments"] == ["leaf.png"]


def test_a_conversation_whose_id_is_a_number_is_shown(run, known):
    known.remember(replace(TALK, id="1736789912980"), "chats", "")
    assert "Что такое клён?" in run("show", "1736789912980")[1]
    code, _, err = run("show", "1736789912981")
    assert (code, "1736789912981" in err) == (2, True)


def test_a_report_of_conversations_says_from_when_they_are(run, known, own_folder, monkeypatch):
    (own_folder / "c.zip").write_bytes(b"")
    report = Report(added=2, turns=31, since=1_600_000_000.0, until=1_754_500_000.0, repairs=12_345)
    monkeypatch.setattr(known, "import_chats", lambda *_, **__: report)
    _, out, _ = run("import-chats", "c.zip")
    for words in ("31 messages", "13.09.2020", "06.08.2025", "repaired: 12,345"):
        assert words in out


@pytest.mark.parametrize(
    ("option", "day_first"), [((), None), (("--day-first",), True), (("--month-first",), False)]
)  # fmt: skip
def test_the_order_of_dates_reaches_the_import_and_notes_are_no_refusals(
    run, known, own_folder, monkeypatch, option, day_first
):
    asked = []

    def imported(*_, **more):
        asked.append(more["day_first"])
        return Report(notes=(Refused("/notes", "passed over: 3", note=True),))

    (own_folder / "c.zip").write_bytes(b"")
    monkeypatch.setattr(known, "import_chats", imported)
    code, _, err = run("import-chats", "c.zip", *option)
    assert (code, asked) == (0, [day_first])
    assert "/notes: passed over: 3" in err
    assert "refused" not in err
    report = json.loads(run("import-chats", "c.zip", "--json")[1])
    assert (report["refused_count"], report["notes"]) == (0, [{"place": "/notes", "reason": "passed over: 3"}])


def test_memory_is_listed_and_forgotten(run, known):
    first = known.remember(TALK, "memory", "key-a")
    known.put("memory", "one", "text", owner="key-b", place="/1")
    known.put("memory", "two", "text", owner="key-b", place="/2")
    known.put("docs", "book", "text")
    assert [one["owner"] for one in json.loads(run("forget", "--json")[1])["documents"]] == ["key-a", "key-b", "key-b"]
    assert run("forget", str(first))[0] == 1
    assert run("forget", str(first), "--yes")[0] == 0
    assert json.loads(run("forget", "--key", "key-b", "--yes", "--json")[1]) == {"removed": 2}
    assert "Nothing is remembered." in run("forget")[1]
    assert [one.title for one in known.documents()] == ["book"]
    known.remember(TALK, "memory", "key-a")
    assert run("forget", "--all", "--yes")[0] == 0
    assert [one.title for one in known.documents()] == ["book"]


def test_a_collection_is_removed_whole_after_a_yes(run, known):
    for number in range(3):
        known.put("garden", f"d{number}", "text")
    code, _, err = run("remove", "garden")
    assert (code, "garden; documents in it: 3" in err) == (1, True)
    assert json.loads(run("remove", "garden", "--yes", "--json")[1]) == {
        "removed": 3, "collections": ["garden"], "folders": [],
    }  # fmt: skip
    assert known.collections() == []


def test_folders_are_kept_in_step_listed_and_left(run, known, own_folder):
    (own_folder / "notes").mkdir()
    assert run("add", "notes", "--watch")[0] == 0
    assert json.loads(run("watch", "--list", "--json")[1])["folders"] == [
        {"path": str(own_folder / "notes"), "collection": "documents"}
    ]
    assert str(own_folder / "notes") in run("watch", "--list")[1]
    assert run("watch", "--remove", "notes")[0] == 0
    assert "No folder is kept in step" in run("watch", "--list")[1]


def test_every_command_has_a_help_page(run):
    group = typer.main.get_command(program.make_app("knowledge")).commands["knowledge"]
    for name in group.commands:
        code, out, _ = run(name, "--help")
        assert (code, "Usage" in out) == (0, True), name
