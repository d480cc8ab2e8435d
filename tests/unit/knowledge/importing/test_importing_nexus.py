"""Notes of Nexus AI Chat Importer: every version of the plugin, every locale's dates, and no text lost."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.past_conversation import PastConversation, Speaker
from ansambl.knowledge.importing import nexus
from ansambl.knowledge.importing.dates import DayOrder, written_date
from ansambl.knowledge.importing.exports import conversations

VAULT = Path(__file__).parents[3] / "data" / "chats" / "vault"


def read(note, order=None):
    return nexus.read(note, "note", order or DayOrder())


def moment(*parts):
    return datetime(*parts, tzinfo=UTC).timestamp()


def from_vault(name):
    return next(one for one in conversations(VAULT) if isinstance(one, PastConversation) and one.title == name)


def test_a_note_in_russian_with_all_that_markdown_has():
    one = from_vault("Зимняя резина")
    assert one.id == "6894b1bb-0000-4000-8000-00000000000a"
    assert [(turn.speaker, turn.author, turn.id) for turn in one.turns] == [
        (Speaker.USER, "", "u-1"), (Speaker.ASSISTANT, "ChatGPT", "a-1"), (Speaker.ASSISTANT, "ChatGPT", "a-2"),
        (Speaker.USER, "", "u-2"),
    ]  # fmt: skip
    # 12:48 where the plugin ran was 09:48 in UTC, as its front matter says.
    assert one.turns[0].time == one.created == moment(2025, 8, 7, 9, 48)
    asked, answered = one.turns[0], one.turns[1]
    assert asked.text == (
        "Чем шипованная резина лучше фрикционной?\n\n> так написано на форуме:\n> > «липучка» шумит меньше\n\n"
        "[attachment: шины.pdf]"
    )
    assert asked.attachments == ("шины.pdf",)
    assert "| лёд | да | хуже |" in answered.text
    assert "    # > это не цитата\n    return v ** 2 / 20" in answered.text
    assert answered.text.endswith("---\n\nВыбирайте по дорогам.")
    assert one.warnings == ()


def test_a_note_in_the_wrong_character_set_says_the_same():
    right, broken = from_vault("Зимняя резина"), from_vault("Летняя поездка")
    assert broken.turns == right.turns
    assert broken.repairs.keys() == {"mac-roman"}
    assert right.repairs == {}


def test_the_older_form_with_headings():
    one = from_vault("Old headings")
    assert [turn.text for turn in one.turns] == ["What is a good toast?\n> to life", "To friends.\n\n> quoted"]
    assert [turn.speaker for turn in one.turns] == [Speaker.USER, Speaker.ASSISTANT]
    assert one.turns[1].time - one.turns[0].time == 60


def test_an_ambiguous_date_is_read_as_the_other_notes_of_the_vault_are():
    one = from_vault("Ambiguous")
    assert datetime.fromtimestamp(one.turns[0].time).astimezone().month == 7
    assert one.warnings == ()


def headed(*dates):
    return "\n\n".join(f">[!nexus_user] **User** - {one}\n> text {one}\n<!-- UID: {number} -->"
                       for number, one in enumerate(dates))  # fmt: skip


def days(note, order=None):
    one = read(note, order)
    return [
        (found.month, found.day) for found in (datetime.fromtimestamp(turn.time).astimezone() for turn in one.turns)
    ]


def test_the_order_of_day_and_month_is_found_from_a_large_number_from_the_order_in_time_else_guessed_and_said():
    assert days(headed("07/08/2025 at 10:00", "25/08/2025 at 10:00")) == [(8, 7), (8, 25)]
    assert days(headed("07/08/2025 at 10:00 AM", "08/25/2025 at 10:00 AM")) == [(7, 8), (8, 25)]
    # As months first, these two would go back in time by months.
    assert days(headed("11/02/2025 at 10:00", "03/03/2025 at 10:00")) == [(2, 11), (3, 3)]
    guessed = read(headed("07/08/2025 at 10:00"))
    assert "day was taken to come first" in guessed.warnings[0]
    assert days(headed("07/08/2025 at 10:00")) == [(8, 7)]
    assert days(headed("07/08/2025 at 3:00 PM")) == [(7, 8)]
    told = DayOrder(given=False)
    assert days(headed("07/08/2025 at 10:00"), told) == [(7, 8)]
    assert read(headed("07/08/2025 at 10:00"), told).warnings == ()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("07.08.2025 at 12:48", (2025, 8, 7, 12, 48)), ("07.08.2025 в 12:48", (2025, 8, 7, 12, 48)),
        ("7.8.2025, 12:48:05", (2025, 8, 7, 12, 48)), ("08/31/2025 at 8:48:30 AM", (2025, 8, 31, 8, 48)),
        ("12/31/2024 at 11:59 PM", (2024, 12, 31, 23, 59)), ("12/31/2024 at 12:05 AM", (2024, 12, 31, 0, 5)),
        ("2025-08-07 at 12:48", (2025, 8, 7, 12, 48)), ("2025/08/07 12:48", (2025, 8, 7, 12, 48)),
        ("7 августа 2025 г. в 12:48", (2025, 8, 7, 12, 48)), ("7 авг. 2025 г., 12:48", (2025, 8, 7, 12, 48)),
        ("3 мая 2025 г. в 09:05", (2025, 5, 3, 9, 5)), ("August 7, 2025 at 12:48 PM", (2025, 8, 7, 12, 48)),
        ("7. August 2025 um 12:48", (2025, 8, 7, 12, 48)), ("7 août 2025 à 12:48", (2025, 8, 7, 12, 48)),
        ("7 juillet 2025 à 12h48", (2025, 7, 7, 12, 48)), ("7 de agosto de 2025, 12:48", (2025, 8, 7, 12, 48)),
        ("2025年8月7日 12:48", (2025, 8, 7, 12, 48)), ("2025. 8. 7. 오후 1:48", (2025, 8, 7, 13, 48)),
        ("2025-08-20T13:48:30.000Z", (2025, 8, 20, 13, 48)), ("07-08-25 12:48", (2025, 8, 7, 12, 48)),
    ],
)  # fmt: skip
def test_dates_of_many_locales(written, expected):
    found = written_date(written)
    assert found is not None
    assert found.moment(day_first=True, zone=UTC) // 60 == moment(*expected) // 60


@pytest.mark.parametrize("written", ["", "at 12:48", "version 1.2.3", "10.0.0.1", "99/99/2025", "31.02.2025 xx"])
def test_what_is_no_date_gives_no_time(written):
    found = written_date(written)
    assert found is None or found.moment(day_first=True, zone=UTC) is None


@pytest.mark.parametrize(
    ("header", "speaker", "text"),
    [
        (">[!nexus_user] **User** - 07.08.2025 at 12:48", Speaker.USER, "body"),
        ("> [!nexus_agent] **Assistant** - 07.08.2025 at 12:48", Speaker.ASSISTANT, "body"),
        (">[!NEXUS_AGENT]+ **Assistant**", Speaker.ASSISTANT, "body"),
        (">[!nexus_user]", Speaker.USER, "body"),
        (">[!nexus_user] User - 07.08.2025 at 12:48", Speaker.USER, "body"),
        (">[!nexus_agent] **Assistant** - someday", Speaker.ASSISTANT, "someday\nbody"),
        (">[!nexus_user] **User** — 07.08.2025 в 12:48 Привет", Speaker.USER, "Привет\nbody"),
    ],
)
def test_malformed_headers_lose_nothing(header, speaker, text):
    one = read(f"{header}\n> body\n<!-- UID: a -->\n")
    assert [(turn.speaker, turn.text.replace("- ", "")) for turn in one.turns] == [(speaker, text)]


def test_a_pasted_note_inside_a_message_is_text_of_the_message():
    note = (
        ">[!nexus_user] **User** - 07.08.2025 at 12:48\n> look:\n"
        "> > [!nexus_agent] **Assistant** - 01.01.2020 at 1:00\n> [!nexus_agent] raw\n"
    )
    one = read(note)
    assert len(one.turns) == 1
    assert "[!nexus_agent] raw" in one.turns[0].text


def test_what_stands_outside_of_messages_is_kept():
    note = (
        "---\nnexus: nexus-ai-chat-importer\nprovider: claude\n---\nmy own remark\n\n"
        ">[!nexus_user] **User** - 07.08.2025 at 12:48\n> one\nwithout a mark\n<!-- UID: a -->\n\n---\n\n> more\n"
        "<!-- UID: b -->\n\nadded by hand\n\n>[!nexus_agent] **Assistant** - 07.08.2025 at 12:49\n> two\n"
    )
    one = read(note)
    assert [turn.text for turn in one.turns] == ["one\nwithout a mark", "more\n\nadded by hand", "two"]
    assert one.facts["preface"] == "my own remark"
    assert one.turns[-1].author == "Claude"


LINES = st.lists(
    st.sampled_from(
        ["", "слово", "# Заголовок", "> цитата", "> > глубже", "```python", "```", "| a | b |", "- пункт", "    код",
         "---", "***", "1. раз", "[[ссылка]]", "<!-- комментарий -->", "### User, on the way", "$x > y$", "\tтаб", ">"]
    ),
    min_size=1, max_size=8,
).filter(lambda lines: any(line.strip(" >\t") for line in lines))  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), LINES), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_the_text_of_each_message_comes_out_as_it_went_in(messages, ids, bare):
    parts = []
    for number, (user, lines) in enumerate(messages):
        body = "\n".join(">" if bare and not line else f"> {line}" for line in lines)
        kind = "[!nexus_user] **User**" if user else "[!nexus_agent] **Assistant**"
        parts.append(
            f">{kind} - 07.08.2025 at 12:{number + 10}\n{body}\n" + (f"<!-- UID: id{number} -->\n" if ids else "")
        )
    one = read("---\nnexus: x\n---\n# Title: t\n\n" + "\n---\n\n".join(parts))
    assert [turn.text for turn in one.turns] == ["\n".join(lines).strip("\n") for _, lines in messages]
    assert [turn.speaker is Speaker.USER for turn in one.turns] == [user for user, _ in messages]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(
    [">[!nexus_user]", "### User, on 12/31/2024 at 11:59 PM;", "#### ChatGPT, on 01/01/2025 at 1:00 AM;", "> a", ">> b",
     "word", "---", "<!-- UID: x -->", "", "```", ">[!nexus_attachment] **f.png**", "> ![[f.png]]", "Created: x", "# T"]
), max_size=10))  # fmt: skip
def test_no_order_of_lines_raises_or_loses_a_word(lines):
    note = "\n".join(
        ["---", "nexus: nexus-ai-chat-importer", "---", ">[!nexus_agent] **Assistant**", "> first", *lines]
    )
    assert nexus.recognises(note)
    one = read(note)
    said = "\n".join(turn.text for turn in one.turns)
    for word in ("word", "a", "b"):
        expected = sum(line.strip("> ") == word for line in lines)
        assert sum(line.strip("> ") == word for line in said.splitlines()) >= expected


def test_notes_of_other_encodings():
    note = ">[!nexus_user] **User** - 07.08.2025 at 12:48\n> Привет, как дела?\n"
    assert nexus.decoded(note.encode("utf-16"))[0] == note
    assert nexus.decoded(b"\xef\xbb\xbf" + note.encode())[0] == note
    text, warning = nexus.decoded(note.encode("cp1251"))
    assert (text, "Windows-1251" in warning) == (note, True)


def test_a_note_of_nothing_but_rules_or_very_long_lines_is_read_quickly():
    head = "---\nnexus: nexus-ai-chat-importer\n---\n>[!nexus_agent] **Assistant**\n> first\n"
    one = read(head + "---\n" * 20_000 + "> " + "[" * 50_000 + "\n> **📎 Attachment:** " + " " * 50_000 + "x\n")
    assert one.turns[0].text.startswith("first")
    assert one.turns[0].author == "ChatGPT"
