"""What is refused, in one line each, while the rest goes on."""

import json
import os
import zipfile
from functools import partial
from pathlib import Path

import pytest

from ansambl.domain.past_conversation import PastConversation
from ansambl.knowledge.importing import files
from ansambl.knowledge.importing.exports import conversations
from ansambl.knowledge.reading.pinning import opened

DATA = Path(__file__).parents[3] / "data" / "chats"
ONE = json.loads((DATA / "chatgpt.json").read_text(encoding="utf-8"))[0]


def told(path):
    found = list(conversations(path))
    return sum(isinstance(one, PastConversation) for one in found), [
        str(one.reason) for one in found if not isinstance(one, PastConversation)
    ]


def test_a_broken_conversation_is_one_line_and_the_others_are_taken(tmp_path):
    file = tmp_path / "conversations.json"
    good = json.dumps(ONE)
    file.write_text(f'[{good}, {{"mapping": {{nonsense}}}}, {{"mapping": 5}}, {good}]')
    count, reasons = told(file)
    assert count == 2
    assert len(reasons) == 2
    assert "conversation 2" in reasons[0]


def test_a_file_that_ends_too_early_gives_what_came_before(tmp_path):
    file = tmp_path / "conversations.json"
    good = json.dumps(ONE)
    file.write_text(f"[{good}, {good[:-200]}")
    count, reasons = told(file)
    assert count == 1
    assert len(reasons) == 1
    assert "ends in the middle" in reasons[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.json", b'{"name": "a package"}'), ("b.md", b"# note\n"), ("c.bin", os.urandom(2000)), ("d.json", b""),
     ("e.json", b'[1, 2, {"x": 1}]'), ("f.jsonl", b'{"text": "corpus"}\n')],
)  # fmt: skip
def test_a_file_without_conversations_says_what_would_be_one(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    count, reasons = told(tmp_path / name)
    assert count == 0
    assert len(reasons) == 1
    assert "ChatGPT" in reasons[0]
    assert told(tmp_path)[0] == 0


def test_what_does_not_exist(tmp_path):
    assert told(tmp_path / "nothing") == (0, ["there is no such file or folder"])


def test_a_zip_bomb_ends_at_its_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_FREE", 100_000)
    monkeypatch.setattr(files, "LARGEST_RATIO", 20)
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", "[" + json.dumps({**ONE, "title": "x" * 5_000_000}) + "]")
        archive.writestr("conversations-2.json", json.dumps([ONE]))
    count, reasons = told(packed)
    assert count == 1
    assert "packed size" in reasons[0]


def test_damaged_and_encrypted_zips_are_one_line(tmp_path):
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([ONE]))
    data = bytearray(packed.read_bytes())
    (tmp_path / "half.zip").write_bytes(data[: len(data) // 2])
    for place in range(60, 400):
        data[place] ^= 0x55
    (tmp_path / "broken.zip").write_bytes(data)
    for name in ("half.zip", "broken.zip"):
        count, reasons = told(tmp_path / name)
        assert count == 0
        assert 1 <= len(reasons) <= 2


def test_links_and_hidden_folders_are_not_followed(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([ONE]))
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    (tmp_path / ".trash").mkdir()
    (tmp_path / ".trash" / "b.json").write_text(json.dumps([ONE]))
    assert told(tmp_path) == (1, [])


def test_a_vault_gives_its_conversations_and_counts_the_ordinary_notes():
    count, reasons = told(DATA / "vault")
    assert count == 4
    assert reasons == ["files there that hold no conversation and were passed over: 1"]
    assert [one.note for one in conversations(DATA / "vault") if not isinstance(one, PastConversation)] == [True]


def test_broken_lines_of_jsonl_are_named_and_the_others_taken(tmp_path):
    file = tmp_path / "a.jsonl"
    line = json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})
    file.write_text(f"{line}\nnot json\n\n{line[:-3]}\n{line}")
    count, reasons = told(file)
    assert count == 2
    assert reasons == ["line 2 is no valid JSON", "line 4 is no valid JSON"]


def test_pipes_are_not_waited_for_and_nothing_outside_of_the_roots_is_read(tmp_path, monkeypatch):
    outside, inside = tmp_path / "private", tmp_path / "shared"
    talk = '{"role": "user", "content": "a secret"}\n'
    for one in (outside, inside):
        one.mkdir()
        (one / "chat.jsonl").write_text(talk, encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.jsonl")
    checked = partial(opened, roots=(str(inside.resolve()),))
    assert "no regular file" in str(next(conversations(tmp_path / "pipe.jsonl", opener=opened)).reason)
    assert [one.turns[0].text for one in conversations(inside, opener=checked)] == ["a secret"]
    # As if the folder, or a file in it, had become a link after it was listed.
    (inside / "swapped").symlink_to(outside)
    monkeypatch.setattr(files, "paths_of", lambda _: iter([inside / "swapped" / "chat.jsonl"]))
    for place in (inside, inside / "swapped" / "chat.jsonl"):
        reasons = [str(one.reason) for one in conversations(place, opener=checked)]
        assert "outside" in reasons[0]
        assert "a secret" not in str(reasons)
