"""The language of what a person wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.languages import CODES, language_of_text

_SENTENCES = {
    "What is the difference between a process and a thread?": "en",
    "Explain quicksort algorithm": "en",
    "write a haiku": "en",
    "Чем процесс отличается от потока?": "ru",
    "Привет": "ru",
    "Напиши тост": "ru",
    "Чим процес відрізняється від потоку і навіщо він потрібен?": "uk",
    "Калі ласка, растлумач, што такое рэкурсія ў праграмаванні": "be",
    "Процесс пен ағынның айырмашылығы қандай?": "kk",
    "Каква е разликата между процес и нишка и защо е важна?": "bg",
    "Was ist der Unterschied zwischen einem Prozess und einem Thread?": "de",
    "Quelle est la différence entre un processus et un fil d'exécution ?": "fr",
    "¿Cuál es la diferencia entre un proceso y un hilo?": "es",
    "Qual è la differenza tra un processo e un thread?": "it",
    "Qual é a diferença entre um processo e uma thread?": "pt",
    "Jaka jest różnica między procesem a wątkiem?": "pl",
    "Wat is het verschil tussen een proces en een thread?": "nl",
    "Süreç ile iş parçacığı arasındaki fark nedir?": "tr",
    "Jaký je rozdíl mezi procesem a vláknem?": "cs",
    "Vad är skillnaden mellan en process och en tråd?": "sv",
    "Hvad er forskellen mellem en proces og en tråd?": "da",
    "Sự khác biệt giữa tiến trình và luồng là gì?": "vi",
    "进程和线程有什么区别？": "zh",
    "プロセスとスレッドの違いは何ですか？": "ja",
    "프로세스와 스레드의 차이점은 무엇인가요?": "ko",
    "ما الفرق بين العملية والخيط؟": "ar",
    "تفاوت بین پردازه و نخ چیست؟": "fa",
    "מה ההבדל בין תהליך לחוט?": "he",
    "Ποια είναι η διαφορά μεταξύ διεργασίας και νήματος;": "el",
    "प्रक्रिया और थ्रेड में क्या अंतर है?": "hi",
    "กระบวนการกับเธรดต่างกันอย่างไร": "th",
}


@pytest.mark.parametrize(("said", "code"), _SENTENCES.items())
def test_a_sentence_tells_its_language(said, code):
    assert language_of_text(said) == code


@pytest.mark.parametrize(
    "said",
    ["", "  \n", "ok", "ок", "да", "print(x)", "42", "?!", "https://example.org/the/art/of/it", "git rebase main"],
)
def test_what_is_too_short_or_no_sentence_has_no_language(said):
    assert language_of_text(said) is None


@pytest.mark.parametrize(
    "said",
    [
        "Почему падает?\n```python\n# this is the part that does not work for me\nraise ValueError\n```",
        "Почему падает `the value of this is not what it was`?",
        "Вот код, он не закрыт:\n```\nif this is not the case and that is what you want",
        "Почему падает?\n    return the_value_of_this(is_not, what_it_was);",
        "Посмотри https://example.org/what/is/the/point/of-this и скажи",
        "Напиши на the@is.of.and.example.org",
    ],
)
def test_code_and_addresses_do_not_count(said):
    assert language_of_text(said) == "ru"


def test_a_comment_in_another_language_inside_code_does_not_count():
    assert language_of_text("Why does this fail?\n```\n# здесь всё время падает, и я не знаю почему\n```") == "en"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Как в Python использовать asyncio.gather с async with?", "ru"),
        ("Что такое REST API и чем оно отличается от GraphQL", "ru"),
        ("Что делает useEffect в React, и когда нужен useMemo?", "ru"),
        ("What does the Russian word «тоска» mean?", "en"),
        ("Скажи по-русски: the quick brown fox jumps over the lazy dog and runs from the hunters in the forest", "en"),
        ("日本語の「プロセス」は English では何と言いますか？", "ja"),
    ],
)
def test_a_mixture_is_in_the_language_of_most_words(said, code):
    assert language_of_text(said) == code


def test_one_ukrainian_name_does_not_make_a_russian_text_ukrainian():
    said = "Расскажи, пожалуйста, о городе Київ: когда он основан, чем известен, и что в нём посмотреть за два дня?"
    assert language_of_text(said) == "ru"


@given(st.text(max_size=300))
def test_any_text_has_a_known_language_or_none(said):
    found = language_of_text(said)
    assert found is None or found in CODES


@given(st.sampled_from(list(_SENTENCES)), st.text("0123456789 \n.,!?-", max_size=40))
def test_digits_and_marks_around_a_sentence_change_nothing(said, marks):
    assert language_of_text(f"{said} {marks}") == _SENTENCES[said]
