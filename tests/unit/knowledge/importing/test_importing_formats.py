"""Every format through the same suite: it knows its own files alone, keeps what was said, and survives damage."""

import json
import random
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from ansambl.domain.past_conversation import PastConversation, Speaker
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.importing import kept
from ansambl.knowledge.importing.exports import conversations
from ansambl.knowledge.importing.material import material_of
from ansambl.knowledge.importing.registry import FORMATS, format_of

DATA = Path(__file__).parents[3] / "data" / "chats"
FILES = {
    "chatgpt": "chatgpt.json", "claude": "claude.json", "open-webui": "open-webui.json",
    "lm-studio": "1736789912980.conversation.json", "jsonl": "messages.jsonl",
}  # fmt: skip
SAID = {
    "chatgpt": "веса в MXFP4 занимают около 63 ГБ", "claude": "Twelve hours in the fridge.",
    "open-webui": "Два раза в день.", "lm-studio": "Owner may write", "jsonl": "Таллин.",
}  # fmt: skip
HIDDEN = ("тайные мысли", "secret thought", "I live in Riga", "Thought for", "cite\ue202", "\ue200", "【", "hmm")
EACH = pytest.mark.parametrize("source", FILES)


def values(source):
    text = (DATA / FILES[source]).read_text(encoding="utf-8")
    if FILES[source].endswith("l"):
        return [json.loads(line) for line in text.splitlines()]
    found = json.loads(text)
    return found if isinstance(found, list) else [found]


def all_of(path):
    found = list(conversations(path))
    return [one for one in found if isinstance(one, PastConversation)], [
        one for one in found if isinstance(one, Refused)
    ]


def whole_text(one):
    return "\n".join(
        [*(turn.text for turn in one.turns), *(turn.text for branch in one.branches for turn in branch.turns)]
    )


def test_every_format_has_a_file_here():
    assert {one.source for one in FORMATS} == set(FILES)


@EACH
def test_a_value_is_of_exactly_one_format(source):
    for value in values(source):
        assert next(one.source for one in FORMATS if one.recognises(value)) == source
        assert format_of(value).source == source
    for strange in ({}, [], 5, None, {"mapping": 3}, {"messages": []}, {"chat": {}}, {"title": "x", "items": [1]}):
        assert format_of(strange) is None


@EACH
def test_what_was_said_is_there_and_what_was_hidden_is_not(source):
    found, refused = all_of(DATA / FILES[source])
    assert refused == []
    assert len(found) == len(values(source))
    text = "\n".join(map(whole_text, found))
    assert SAID[source] in text
    assert not [one for one in HIDDEN if one in text]
    for one in found:
        assert one.source == source
        assert one.title
        assert {turn.speaker for turn in one.turns} >= {Speaker.USER, Speaker.ASSISTANT} or len(one.turns) == 1
        ids = [turn.id for turn in one.turns] + [turn.id for branch in one.branches for turn in branch.turns]
        assert len(ids) == len(set(ids))
        times = [turn.time for turn in one.turns if turn.time is not None]
        assert all(a <= b for a, b in pairwise(times))


@EACH
def test_it_comes_back_from_the_store_and_the_same_again_is_the_same(source):
    first, second = all_of(DATA / FILES[source])[0], all_of(DATA / FILES[source])[0]
    for one, again in zip(first, second, strict=True):
        assert kept.decode(kept.encode(one)) == one
        assert kept.digest(one) == kept.digest(again)
        material = material_of(one)
        starts = [mark.start for mark in material.marks]
        assert starts == sorted(set(starts))
        assert material.place == f"{source}:{one.id}"
        for mark, end in zip(material.marks, [*starts[1:], len(material.text)], strict=True):
            assert material.text[mark.start : end].strip()


@EACH
def test_it_is_found_in_a_zip_a_folder_and_alone_with_the_same_contents(source, tmp_path):
    plain = [kept.digest(one) for one in all_of(DATA / FILES[source])[0]]
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    (folder / FILES[source]).write_bytes((DATA / FILES[source]).read_bytes())
    (folder / "user.json").write_text('{"id": "user"}')
    (folder / "chat.html").write_text("<html>")
    packed = tmp_path / "export.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("user.json", "{}")
        archive.write(DATA / FILES[source], f"data/{FILES[source]}")
    for place in (folder.parent, packed):
        found, _ = all_of(place)
        assert [kept.digest(one) for one in found] == plain


@EACH
def test_damage_anywhere_in_a_value_raises_nothing_and_loses_no_neighbour(source):
    """Whatever is missing or of the wrong type inside, reading gives a conversation or none."""
    dice = random.Random(source)  # noqa: S311 - a seed, no secret
    kind = next(one for one in FORMATS if one.source == source)
    for value in values(source):
        for _ in range(40):
            damaged = json.loads(json.dumps(value))
            spot(damaged, dice)
            if kind.recognises(damaged):
                made = kind.read(damaged, "1736789912980.conversation.json")
                if made is not None:
                    kept.encode(made)
                    material_of(made)


def spot(value, dice):
    """Replace or remove something at random below `value`."""
    places = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            places.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    holder, key = dice.choice(places)
    strange = [None, 5, -1.5, "x", [], {}, [None], {"a": None}, True, "9" * 400, 1e308]
    if dice.random() < 0.3:
        del holder[key]
    else:
        holder[key] = dice.choice(strange)


def test_chatgpt_keeps_branches_attachments_models_and_tools():
    one, trip, mended = all_of(DATA / "chatgpt.json")[0]
    assert one.facts["model"] == "gpt-4o, gpt-5"
    assert one.facts["url"].endswith(one.id)
    assert [(branch.after, branch.turns[0].text) for branch in one.branches] == [
        ("m-u1", "Первый ответ: возьмите две карты по 48 ГБ.")
    ]
    asked = next(turn for turn in one.turns if turn.attachments)
    assert asked.attachments == ("карта.png",)
    assert "[image: карта.png]" in asked.text
    assert [turn.author for turn in one.turns if turn.speaker is Speaker.TOOL] == ["python", "python"]
    assert "https://example.org/altai" in whole_text(trip)
    assert any(turn.speaker is Speaker.ASSISTANT and "- tent" in turn.text for turn in trip.turns)
    assert "Barnaul" in trip.turns[-1].text
    assert mended.title == "Рецепт борща"
    assert [turn.text for turn in mended.turns][-1] == "да"
    assert mended.turns[1].text.startswith("Right text stays.\nСвёклу варят")
    assert mended.repairs.keys() == {"mac-roman"}


def test_claude_keeps_pasted_texts_with_the_question():
    one = all_of(DATA / "claude.json")[0][0]
    assert "350 g water" in one.turns[0].text
    assert one.turns[0].attachments == ("recipe.txt", "loaf.jpg")
    assert [branch.turns[0].text for branch in one.branches] == ["Shorter!"]


def test_single_messages_of_a_file_are_one_conversation():
    found, refused = all_of(DATA / "lone-messages.jsonl")
    assert (len(found), refused) == (1, [])
    assert [turn.text for turn in found[0].turns] == ["One message a line?", "One conversation a file."]
