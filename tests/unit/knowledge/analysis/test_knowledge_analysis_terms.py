"""Terms: forms of one word meet, different words do not, and identifiers are found whole and in parts."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.knowledge.analysis import stems, terms, words
from ansambl.knowledge.analysis.terms import in_latin_letters, names_exactly, query_terms, terms_of

HARD_PAIRS = """
дети ребенок, детей ребёнок, люди человек, людям человека, бежали бегущая, стали стать, стали сталь, шёл идти,
ушла уйти, лучше хороший, хуже плохой, годы год, лет год, мышей мышь, отцы отцов, дней день, пёс псы, лоб лбу,
сёстры сестра, матери мать, котёнок котята, имена имя, времени время, друзья друг, братья брат, деревья дерево,
ушей ухо, глаз глаза, нёс нести, вёз везти, жгу жечь, ем есть, дам дать, пишу писать, ищу искать, лягу лечь,
еду ехать, пою петь, машу махать, сплю спать, сервера серверы, базы баз, данных данные, настройки настройку,
ошибок ошибка, установили установить, запущенный запустить, моделей модель, видеокарты видеокарт, памяти память,
ёлка елки, цен цена, банки банка, мыла мыло, мыла мыть, окон окно
"""
EASY_PAIRS = """
серверы сервер, модели модель, настройки настройка, книга книги, быстрый быстрого, работает работают, читать читал,
красная красной, города город, столы столом
"""
ENGLISH_PAIRS = """
cities city, running run, installed install, models model, queries query, boxes box, studies study,
configured configure, errors error, parsing parse, stopped stop, passages passage
"""
DIFFERENT = """
мост местность, кот который, стол столица, лук лукавый, год годный, пар парк, дом домра, user use, news new,
mode model, пол поле
"""


def _pairs(listed: str) -> list[tuple[str, str]]:
    return [(one.split()[0], one.split()[1]) for one in listed.split(",")]


def _meet(document: str, question: str) -> bool:
    return bool(terms_of(document).keys() & query_terms(question).keys())


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """An installation without the given libraries; what was loaded is forgotten before and after."""

    def forget() -> None:
        stems._analyser.cache_clear()
        stems._stemmer.cache_clear()
        terms._terms.cache_clear()

    def leave_out(*names: str) -> None:
        real = stems.find_spec
        monkeypatch.setattr(stems, "find_spec", lambda name: None if name in names else real(name))
        forget()

    yield leave_out
    forget()


class TestForms:
    def test_all_hard_russian_pairs_meet_both_ways_with_lemmas(self):
        pytest.importorskip("pymorphy3")
        missed = [pair for a, b in _pairs(HARD_PAIRS) for pair in ((a, b), (b, a)) if not _meet(*pair)]
        assert missed == []
        assert len(_pairs(HARD_PAIRS)) == 56

    @pytest.mark.parametrize(
        ("missing", "at_least"), [((), 56), (("pymorphy3",), 20), (("pymorphy3", "Stemmer"), 16)], ids=str
    )
    def test_fewer_libraries_find_fewer_pairs_but_the_easy_ones_always(self, without, missing, at_least):
        if not missing:
            pytest.importorskip("pymorphy3")
        without(*missing)
        assert sum(_meet(a, b) for a, b in _pairs(HARD_PAIRS)) >= at_least
        assert [pair for pair in _pairs(EASY_PAIRS) if not _meet(*pair)] == []
        assert [pair for pair in _pairs(ENGLISH_PAIRS) if not _meet(*pair)] == []

    def test_different_words_stay_apart(self):
        pytest.importorskip("pymorphy3")
        pytest.importorskip("Stemmer")
        assert [pair for pair in _pairs(DIFFERENT) if _meet(*pair)] == []

    def test_without_libraries_two_pairs_of_eleven_are_confused_at_most(self, without):
        without("pymorphy3", "Stemmer")
        assert sum(_meet(*pair) for pair in _pairs(DIFFERENT)) <= 2

    def test_nothing_heavy_is_loaded_for_english_alone(self, without):
        without()
        terms_of("Only English words, and numbers like 42.")
        assert stems._analyser.cache_info().currsize == 0

    def test_other_latin_languages_are_found_with_and_without_knowing_the_language(self):
        pytest.importorskip("Stemmer")
        found = terms_of("Die Häuser stehen zwischen alten Bäumen", "de")
        assert terms_of("Haus", "de").keys() <= found.keys()
        assert terms_of("Häuser").keys() <= found.keys()
        assert terms_of("hauser").keys() <= found.keys()

    def test_ukrainian_words_are_stemmed_not_read_as_russian(self):
        assert _meet("книжкою", "книжка") or _meet("мові", "мова")
        assert terms_of("п'ять") == terms_of("п’ять")


class TestNormalising:
    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ("ёлка", "елка"), ("cтол", "стол"), ("cервер", "сервер"), ("за\u0301мок", "замок"), ("ﬁle", "file"),
            ("ＡＢＣ", "abc"), ("soft\u00adware", "software"), ("café", "cafe"), ("МОСКВА", "москва"),
            ("и\u0306од", "йод"), ("Straße", "strasse"), ("server’s", "server's"), ("well‑known", "well-known"),
        ],
    )  # fmt: skip
    def test_ways_of_writing_one_word_are_one_term(self, a, b):
        assert terms_of(a) == terms_of(b)

    def test_a_word_of_both_alphabets_is_found_by_either_part(self):
        assert {"git", "pdf"} <= terms_of("настроил git-ом PDFка").keys()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("snake_case_name", {"snake_case_name", "snake", "case", "name"}),
            ("parseHTTPRequest", {"http", "request"}),
            ("foo.bar()", {"foo.bar", "foo", "bar"}),
            ("v1.2.3", {"v1.2.3"}),
            ("ошибка ORA-00942", {"ora-00942", "ora", "00942"}),
            ("C++ и C#", {"c++", "c#"}),
            ("std::vector", {"std::vector", "std", "vector"}),
            ("онлайн-курсы", {"онлайн-курс", "онлайн", "курс"}),
            ("дом №5", {"дом", "5"}),
            ("数据库", {"数据", "据库"}),
            ("猫", {"猫"}),
        ],
    )
    def test_compounds_are_terms_whole_and_in_parts(self, text, expected):
        assert expected <= terms_of(text).keys()

    def test_hindi_words_do_not_fall_apart_at_vowel_signs(self):
        assert terms_of("हिन्दी भाषा").keys() == {"हिन्दी", "भाषा"}

    def test_a_line_of_base64_becomes_one_bounded_term(self):
        found = terms_of("Q" * 5000)
        assert [len(term) for term in found] == [words.LONGEST]

    @settings(max_examples=60, deadline=None)
    @given(st.text(max_size=200))
    def test_any_text_gives_short_folded_terms_and_is_found_by_itself(self, text):
        found = terms_of(text)
        assert all(term and len(term) <= 3 * words.LONGEST and times > 0 for term, times in found.items())
        assert terms_of(text) == found
        asked = query_terms(text)
        assert all(0 < weight <= 1.5 for weight in asked.values())
        assert bool(asked) == bool(found)


class TestQuestions:
    def test_stop_words_weigh_little_and_exact_things_more(self):
        weights = query_terms("what is the error ORA-00942 in the parser")
        assert weights["the"] < 0.2 < weights["parser"] < weights["ora-00942"]

    def test_a_question_of_stop_words_still_asks_for_something(self):
        assert set(query_terms("что это").values()) == {1.0}

    def test_the_likelier_reading_weighs_more(self):
        pytest.importorskip("pymorphy3")
        weights = query_terms("стали")
        assert weights["стать"] > weights["сталь"] > 0

    def test_a_question_of_a_megabyte_is_read_in_part(self):
        assert len(query_terms("слово%d " * 100_000)) < 5_000


class TestVersion:
    def test_it_changes_with_what_is_installed(self, without):
        full = terms.version()
        without("pymorphy3", "Stemmer")
        assert terms.version() == "plain/1"
        if "pymorphy3" in sys.modules or full != "plain/1":
            assert full != terms.version()


class TestWhatIsAskedForExactly:
    @pytest.mark.parametrize(
        "question",
        [
            "what is ORA-00942", "0x80070005", "0xDEADBEEF appears", "где задаётся max_connections",
            "новое в 7.4.2", "кто такой ivan@example.com", "std::vector", "10.24.7.19", "заказ 48213", "KX7-19 error",
        ],
    )  # fmt: skip
    def test_codes_identifiers_versions_and_addresses(self, question):
        assert names_exactly(question)

    @pytest.mark.parametrize(
        "question",
        [
            "", "print preview", "3D objects", "import/export", "what happened in 2024", "16GB or 100px",
            "the 10th row", "24-часовой формат", "онлайн-курс", "I don't know", "it is done.Then what", "и/или",
            "версия 3.5", "東京2024年",
        ],
    )  # fmt: skip
    def test_words_years_and_measures_are_none(self, question):
        assert not names_exactly(question)

    def test_letters_of_a_question(self):
        assert in_latin_letters("Où est l'été 2024?")
        assert not in_latin_letters("что такое Docker")
        assert not in_latin_letters("12345 ???")
        assert not in_latin_letters("")
