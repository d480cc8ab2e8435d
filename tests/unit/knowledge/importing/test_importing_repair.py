"""Wrong character sets are undone where they are proven, and right text is never touched."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.knowledge.importing.repair import repaired

ROOT = Path(__file__).parents[4]
RUSSIAN = "Привет, мир! Это — проверка: «кавычки», и в том числе я и он. Ёлка №5 стоит 100 €."
SETS = {
    "mac-roman": "mac_roman", "windows-1251": "cp1251", "windows-1252": "cp1252", "mac-cyrillic": "mac_cyrillic",
    "cp866": "cp866", "koi8-r": "koi8_r",
}  # fmt: skip


WORDS = [
    "сервер", "память", "модель", "вопрос", "ответ", "объём", "ёлка", "щука", "эхо", "юность", "январь", "фонарь",
    "цепь", "хлеб", "чашка", "шум", "съезд", "бы", "не", "Москва", "Рига", "Ёж", "НАСА", "Щёлково", "Эстония",
]  # fmt: skip


def misread(text, codec, meant="utf-8"):
    """`text` as a program shows it that reads its bytes with the wrong set; bytes without a letter stay as numbers."""
    letters = []
    for byte in text.encode(meant):
        try:
            letters.append(bytes((byte,)).decode(codec))
        except UnicodeDecodeError:
            letters.append(chr(byte))
    return "".join(letters)


@pytest.mark.parametrize("name", SETS)
def test_russian_is_put_right_from_every_set(name):
    found = repaired(misread(RUSSIAN, SETS[name]))
    assert (found.text, found.mistake) == (RUSSIAN, name)
    assert found.count == sum(not letter.isascii() for letter in RUSSIAN)


@pytest.mark.parametrize("name", SETS)
@settings(max_examples=12, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS), min_size=3, max_size=8))
def test_any_words_come_back(name, words):
    text = " ".join(["сервер", *words])
    assert repaired(misread(text, SETS[name])).text == text


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("cafÃ© und schÃ¶n", "café und schön"), ("caf√© sch√∂n", "café schön"), ("itâ€™s", "it’s"),
        ("‚Äúquoted‚Äù", "“quoted”"), ("ðŸ˜€ ok", "😀 ok"), ("ä½\xa0å¥½", "你好"),
        ("РџСЂРёРІРµС‚", "Привет"), ("–ü—Ä–∏–≤–µ—Ç", "Привет"), ("Ð¿Ñ€Ð¸", "при"),
        ("Ïðèâåò, êàê íàñòðîèòü ñåðâåð?", "Привет, как настроить сервер?"),
        ("Î±Î²Î³", "αβγ"), ("Œ±Œ≤Œ≥", "αβγ"), ("Ã¼Ã¶ÅŸ", "üöş"), ("×©×œ×•×", "שלו×"),
        ("оПХБЕР, ЙЮЙ МЮЯРПНХРЭ ЯЕПБЕП?", "Привет, как настроить сервер?"),
    ],
)  # fmt: skip
def test_known_cases(broken, right):
    assert repaired(broken).text == right


@pytest.mark.parametrize(("first", "second"), [("cp1251", "cp1251"), ("cp1252", "cp1252"), ("mac_roman", "cp1251"),
                                               ("cp1251", "cp1252"), ("cp866", "mac_roman")])  # fmt: skip
def test_a_mistake_made_twice_is_undone_twice(first, second):
    found = repaired(misread(misread(RUSSIAN, first), second))
    assert found.text == RUSSIAN
    assert found.mistake.count("+") == 1


def test_only_the_broken_lines_of_a_note_change():
    right = "Обычная строка: СССР» и (–∞; +∞)\nanother – one"
    found = repaired(f"{right}\n{misread('И эта тоже обычная', 'mac_roman')}\n{right}")
    assert found.text == f"{right}\nИ эта тоже обычная\n{right}"
    inside = repaired(f"Правильно: {misread('неправильно', 'cp1251')}, и дальше")
    assert inside.text == "Правильно: неправильно, и дальше"


def test_damaged_places_stay_and_the_rest_is_put_right():
    broken = misread("Сломанная строка совсем", "cp1252").replace("\x81", "\ufffd", 1)
    found = repaired(broken)
    assert "троканаяовсем"[:5] in found.text or "ломанная" in found.text
    assert "\ufffd" in found.text
    assert "Ð" not in found.text.replace("Ñ\ufffd", "")


def test_short_texts_are_put_right_where_their_neighbours_prove_it():
    broken = misread("да", "mac_roman")
    assert repaired(broken).mistake is None
    assert repaired(broken, {"mac-roman"}).text == "да"
    assert repaired("(–∞; +∞)", {"mac-roman"}).mistake is None


def test_a_repair_can_be_taken_back():
    broken = misread(RUSSIAN, "mac_roman")
    assert misread(repaired(broken).text, "mac_roman") == broken


RIGHT = [
    RUSSIAN, "«Р», «С» — буквы; СССР», РФ… С° и Р№ стоят рядом", "(–∞; +∞), [–π, π], –½ ≤ x ≤ ½", "А—Б—В—Г, –Я– и —А—",
    "Größe, Maß, Äpfel, Übung, „Straße“ – 5 °C, Fuß², Spaß…", "L’été où l’on naît, çà et là, “guillemets” «PÂQUES»",
    "NÃO, IRMÃ – e CORAÇÃO", "ESPAÑA, señor, ¿qué? ¡no! 1.ª y 2.º", "Ångström Å… Å“ och Ö”",
    "Україна: Рівне, Сієста, її",     "ЊЕГОШ, Ћирилица, ЂАК",
    "╔═╤═╗ ║│║ ╟─┼─╢ ╚═╧═╝ ╨ ╤", "│я│п│я│ ├──┤ п─я", "x√2 ≈ 1.41, 2√π, ∑∞, ∂Ω, √∞ ± √Ω",
    "emoji 😀👩‍💻🇷🇺 ok", "λ → μ ⇒ ∀x∈ℝ", "日本語 한국어 עברית العربية", "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ",
    "абвгдеёжзийклмнопрстуфхцчшщъыьэюя", "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ", "PÃO © 2024 ®, §5, №7, ¶",
    "————————————————————", "$ yes áááááááááááááááá | head", "……………………………… ••••••••••••••••",
    "if (a ≠ b) { return “x”; } // — ‘y’", "ВІДІ НІМЕЧЧИНІ КЇНІ РІЧІ СІЛІ", "The € – and £ — “quotes”…", "Зимний вечер",
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
@pytest.mark.parametrize("expected", [(), ("mac-roman",), ("windows-1251",)])
def test_right_text_is_not_touched(text, expected):
    assert repaired(text).mistake is None
    mended = repaired(text, expected)
    assert mended.text == text or not any(letter.isalpha() for letter in text if not letter.isascii())


ALPHABETS = st.sampled_from(
    ["абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕРС «»—…„“–№°", "abcdefghé èàùçêîôûëïüœÉÈÀ«»’–…", "abcdefäöüßÄÖÜ„“–… °²",
     "abcñáéíóú¿¡ªº–", "─│┌┐└┘├┤┬┴┼═║╔╗╚╝╠╣╦╩╬ ╤╧╨", "0123456789+–=∞π∑√±≤≥≠∂Ω()[] x", "абвіїєґІЇЄҐ’ –РС",
     "😀👍🎉 abc — ",      "АБВГДЕЁЖЗРСТУ -–—", "abc{}[]();=<>'\"`_*#/\\ \t"]
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(ALPHABETS.flatmap(lambda letters: st.text(letters, max_size=40)))
def test_no_text_of_any_alphabet_is_touched(text):
    assert repaired(text).text == text


def test_the_texts_of_this_project_are_right():
    """All pages and sentences of the project, Russian ones among them."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.po")):
        text = path.read_text(encoding="utf-8")
        # Shown there as what is mended.
        for wrong in ("–ü—Ä–∏–≤–µ—Ç", "РџСЂРёРІРµС‚"):
            text = text.replace(wrong, "")
        assert repaired(text).mistake is None, path
