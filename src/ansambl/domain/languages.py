"""Languages as users name them, brought to the code of ISO 639-1, and the language of what a person wrote."""

from __future__ import annotations

import re
import unicodedata

from ansambl.domain.code_in_text import without_code
from ansambl.domain.errors import UsageError
from ansambl.domain.names import folded
from ansambl.domain.text import Text, text

_ALL = (
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo "
    "es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka "
    "kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng "
    "nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su "
    "sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
CODES = frozenset(_ALL.split())
"""All two-letter codes (ISO 639-1)."""

_NAMES = {
    "english": "en", "russian": "ru", "русский": "ru", "ukrainian": "uk", "українська": "uk", "belarusian": "be",
    "german": "de", "deutsch": "de", "french": "fr", "français": "fr", "spanish": "es", "español": "es",
    "italian": "it", "italiano": "it", "portuguese": "pt", "português": "pt", "polish": "pl", "polski": "pl",
    "dutch": "nl", "turkish": "tr", "kazakh": "kk", "arabic": "ar", "hindi": "hi", "chinese": "zh", "中文": "zh",
    "japanese": "ja", "日本語": "ja", "korean": "ko", "한국어": "ko", "английский": "en", "немецкий": "de",
    "французский": "fr", "испанский": "es", "китайский": "zh", "украинский": "uk", "казахский": "kk",
}  # fmt: skip


def language_code(name: str) -> str:
    """The code of a language that is given by its code, with or without a region (``ru-RU``), or by its name.

    Raises:
        UsageError: there is no such language.
    """
    wanted = folded(name)
    code = wanted.replace("_", "-").partition("-")[0]
    found = code if code in CODES else _NAMES.get(wanted)
    if found is None:
        raise UsageError(
            text("'{name}' is no language; give its code of two letters, for example --language ru", name=name[:40])
        )
    return found


_TITLES = {
    "en": text("English"), "ru": text("Russian"), "uk": text("Ukrainian"), "be": text("Belarusian"),
    "kk": text("Kazakh"), "de": text("German"), "fr": text("French"), "es": text("Spanish"), "it": text("Italian"),
    "pt": text("Portuguese"), "pl": text("Polish"), "tr": text("Turkish"), "zh": text("Chinese"),
    "ja": text("Japanese"), "ko": text("Korean"), "ar": text("Arabic"), "hi": text("Hindi"),
}  # fmt: skip


def language_name(code: str) -> Text | str:
    """The name of a language for people; the code itself for those that have no name here."""
    return _TITLES.get(code, code)


LONGEST_READ = 20_000
"""Characters of a text that `language_of_text` looks at; the rest cannot change what the language is."""

_SCRIPTS = {
    "latin": "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ", "cyrillic": "Ѐ-ӿ", "greek": "Ͱ-Ͽἀ-῿", "hebrew": "א-ת", "arabic": "ؠ-ي٠-ۿ",
    "armenian": "Ա-և", "georgian": "Ⴀ-ჿ", "ethiopic": "ሀ-፿", "devanagari": "ऀ-ॿ", "bengali": "ঀ-৿", "gurmukhi": "਀-੿",
    "gujarati": "઀-૿", "tamil": "஀-௿", "telugu": "ఀ-౿", "kannada": "ಀ-೿", "malayalam": "ഀ-ൿ", "sinhala": "඀-෿",
    "thai": "฀-๿", "lao": "຀-໿", "burmese": "က-႟", "khmer": "ក-៿", "hangul": "가-힣ᄀ-ᇿ", "kana": "぀-ヿ",
    "han": "㐀-䶿一-鿿",
}  # fmt: skip
_WORD = re.compile("|".join(f"(?P<{name}>[{letters}]+)" for name, letters in _SCRIPTS.items()))

_BY_SCRIPT = {
    "greek": "el", "hebrew": "he", "armenian": "hy", "georgian": "ka", "ethiopic": "am", "devanagari": "hi",
    "bengali": "bn", "gurmukhi": "pa", "gujarati": "gu", "tamil": "ta", "telugu": "te", "kannada": "kn",
    "malayalam": "ml", "sinhala": "si", "thai": "th", "lao": "lo", "burmese": "my", "khmer": "km", "hangul": "ko",
}  # fmt: skip

NOT_IN_LATIN = frozenset(_BY_SCRIPT.values()) | frozenset(
    ("ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "tt", "tg", "mn", "ar", "fa", "ur", "zh", "ja")
)
"""Languages that nobody writes in ASCII letters alone, as far as `language_of_text` finds them."""

_NO_SPACES = {"han": 2.0, "kana": 3.0, "thai": 5.0, "lao": 5.0, "burmese": 5.0, "khmer": 5.0}
"""Letters that count as one word, in scripts that put no space between words."""

_FREQUENT = {
    "en": "the of and to in is that it for on with as was are be this have from or by not what how why which who where "
    "when can could would should do does did you your my me we they his her its an at if about into there than then "
    "please explain write make give tell show help need want let use using fix find between code because will has had "
    "but all some any more most i list summarise summarize translate hello thanks",
    "de": "der die das und ist nicht ich du sie wir ihr ein eine einen einem einer zu mit den dem des auf für von im "
    "wie was warum wo wer wann kann kannst könnte bitte mir mich dich sich auch aber oder wenn dass hat habe sind war "
    "wird werden mein meine dein erkläre schreibe es als bei nach noch nur zwischen über gibt zum zur hallo danke",
    "fr": "le la les des un une et est pas je tu il elle nous vous ils que qui quoi dans pour avec sur ce cette ces "
    "mon ma mes ton votre comment pourquoi peux peut suis sont être avoir fait faire du au aux plus mais ou où quel "
    "quelle merci bonjour expliquez explique écris entre comme si ne se par leur est-ce c'est",
    "es": "el la los las un una y es no yo tú que qué de en por para con cómo como por porque cuál cuáles quién dónde "
    "cuando está están ser hacer puedo puedes mi mis tu su sus del al más pero o si me te se lo le este esta esto eso "
    "muy explica escribe entre hola gracias hay son tiene",
    "it": "il lo la gli le un una e è non io che chi di da in per con come perché cosa quale dove quando sono sei "
    "siamo essere fare posso puoi mi ti si ci del della dei delle al alla nel nella più ma o se questo questa anche "
    "molto spiegami spiega scrivi tra fra ciao grazie ho hai",
    "pt": "o a os as um uma e é não eu você que de em por para com como porque qual quais quem onde quando está estão "
    "são ser fazer posso pode meu minha meus seu sua do da dos das no na nos nas ao mais mas ou se isso este esta "
    "muito explique escreva entre olá obrigado tem há",
    "pl": "i w z na do nie jest to się że jak co dlaczego gdzie kiedy kto czy który która które dla od po przez są być "
    "mam masz może mogę możesz proszę mi mnie ale lub albo jeśli tego tym ten ta te o za przy między napisz wyjaśnij "
    "cześć dziękuję jego jej",
    "nl": "de het een en is niet ik je jij hij zij wij van in op te met voor dat die dit wat hoe waarom waar wie "
    "wanneer kan kun kunt mijn jouw uw zijn aan als bij door naar ook maar of om over uit er heeft heb "
    "worden alsjeblieft schrijf tussen hallo dank",
    "tr": "ve bir bu için ile ne nasıl neden nerede kim mi mı mu mü değil var yok ben sen biz siz onlar çok daha gibi "
    "olarak olan da de kadar ama veya eğer lütfen bana yaz açıkla arasında merhaba teşekkürler hangi",
    "cs": "a je se na že to jak co proč kde kdy kdo který která které nebo ale pro s z v do od po při jsem jsi jsou "
    "být není mám máš může můžeš prosím mi mě tak jako také mezi napiš vysvětli ahoj děkuji si by",
    "sv": "och att det som en på är av för med till den inte jag du vi ni han hon om har hur vad varför var när vem "
    "kan mig dig sig ett från eller men också mellan skriv förklara hej tack vill ska",
    "da": "og at det som en på er af for med til den ikke jeg du vi han hun om har hvordan hvad hvorfor hvor hvornår "
    "hvem kan mig dig sig et fra eller men også mellem skriv forklar hej tak vil skal",
    "no": "og at det som en på er av for med til den ikke jeg du vi han hun om har hvordan hva hvorfor hvor når hvem "
    "kan meg deg seg et fra eller men også mellom skriv forklar hei takk vil skal",
    "fi": "ja on ei se että en hän minä sinä me te he miten mitä miksi missä milloin kuka mikä voi voit voiko ole olen "
    "ovat kuin mutta tai jos myös niin minun sinun kanssa kirjoita selitä hei kiitos",
    "ro": "și şi este nu în la de cu pe pentru care ce cum unde când cine sunt ești o un mai din să se al ale dar sau "
    "dacă te rog îmi scrie explică între bună mulțumesc poți pot",
    "hu": "a az és nem hogy egy van is ez azt mi ki hol mikor miért hogyan mit kell lehet én te ő vagyok vagy de ha "
    "csak mint kérlek írj magyarázd között szia köszönöm meg",
    "id": "yang dan di ke dari untuk dengan ini itu tidak apa bagaimana mengapa kenapa siapa kapan saya kamu anda kami "
    "adalah akan bisa dapat ada pada atau juga jika tolong tulis jelaskan antara halo terima kasih",
}  # fmt: skip
_MARKED = {
    "de": "ß", "fr": "œùëï", "es": "ñ¿¡", "pt": "ãõ", "pl": "łąęśćźż", "tr": "ğıİş", "cs": "ěřůčďť", "ro": "țșă",
    "hu": "őű", "vi": "ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹơưđ",
}  # fmt: skip
_ENDINGS = {
    "en": ("tion", "ing", "ness", "ment", "ally"), "de": ("ung", "keit", "heit", "schen", "lich"),
    "fr": ("eux", "ement", "ité", "aient"), "es": ("ción", "idad", "mente"), "it": ("zione", "mente", "ità"),
    "pt": ("ção", "ções", "dade"), "nl": ("ijk", "heid", "ingen"), "fi": ("ssa", "ssä", "lla", "inen"),
}  # fmt: skip
_WEIGHTS: dict[str, dict[str, float]] = {}
for _code, _words in _FREQUENT.items():
    for _word in set(_words.split()):
        _WEIGHTS.setdefault(_word, {})[_code] = 1.0
for _word, _found in _WEIGHTS.items():
    # What several languages share says less about each.
    _WEIGHTS[_word] = dict.fromkeys(_found, 1.0 / len(_found))

_RUSSIAN_WORDS = (
    "что чтобы это этот эта эти как я ты мы вы он она они на с по из у о об при для без или если когда где почему "
    "зачем какой какая какие мне меня тебя его её их был была было быть есть нет можно нужно напиши объясни чем так "
    "только уже ещё еще пожалуйста и между за от но или"
)
_BULGARIAN_WORDS = (
    "е са ще това този тази тези какво как защо къде кога кой която което които съм си сме ми ме го я ги на с за от и "
    "да но или ако когато може мога можеш искам трябва моля обясни напиши между няма много повече при"
)
_RUSSIAN = frozenset(_RUSSIAN_WORDS.split()) - frozenset(_BULGARIAN_WORDS.split())
_BULGARIAN = frozenset(_BULGARIAN_WORDS.split()) - frozenset(_RUSSIAN_WORDS.split())


def language_of_text(text: str) -> str | None:
    """The language that a person wrote `text` in, as an ISO 639-1 code; None when it is too short or unclear.

    Code, tags, addresses and paths are left out, and in a mixture the language of most of the words counts (a Russian
    question with English terms is Russian: a Latin word that is none of English's frequent ones weighs half). The
    script decides first; languages that share the Latin or the Cyrillic script are told apart by frequent words and
    by letters that only they have. No model, no data file; the first `LONGEST_READ` characters are read.
    """
    words: dict[str, list[str]] = {}
    for found in _WORD.finditer(without_code(unicodedata.normalize("NFC", text[:LONGEST_READ]))):
        script = found.lastgroup or ""
        words.setdefault(script, []).append(found.group().lower())
    if "kana" in words:
        words["kana"] += words.pop("han", [])
    latin = _latin(words.get("latin", []))
    weights = {script: _weight(script, some, latin[1]) for script, some in words.items()}
    if not weights:
        return None
    script = max(weights, key=lambda one: (weights[one], one))
    if script == "latin":
        return latin[0]
    if script == "cyrillic":
        return _cyrillic(words[script])
    if sum(map(len, words[script])) < 2:
        return None
    if script == "arabic":
        return _arabic("".join(words[script]))
    return _BY_SCRIPT.get(script, "ja" if script == "kana" else "zh")


def _weight(script: str, words: list[str], frequent: float) -> float:
    letters = _NO_SPACES.get(script)
    if letters:
        return sum(map(len, words)) / letters
    return (len(words) + frequent) / 2 if script == "latin" else float(len(words))


def _latin(words: list[str]) -> tuple[str | None, float]:
    """The language of words in Latin letters, and how many of them are frequent words of it."""
    scores: dict[str, float] = {}
    hits: dict[str, int] = {}
    for word in words:
        for code, weight in _WEIGHTS.get(word, {}).items():
            scores[code] = scores.get(code, 0.0) + weight
            hits[code] = hits.get(code, 0) + 1
        if len(word) > 5:
            for code, endings in _ENDINGS.items():
                if word.endswith(endings):
                    scores[code] = scores.get(code, 0.0) + 0.4
        if not word.isascii():
            for code, letters in _MARKED.items():
                if any(letter in letters for letter in word):
                    scores[code] = scores.get(code, 0.0) + (1.0 if code != "vi" else 1.5)
    if not scores:
        return None, 0.0
    best, *others = sorted(scores, key=lambda code: (-scores[code], code))
    clear = not others or scores[best] >= 1.2 * scores[others[0]]
    # Two words at least, and some share of all: a list of names is in no language.
    if len(words) < 2 or not clear or scores[best] < max(0.8, 0.08 * len(words)):
        return None, float(hits.get(best, 0))
    return best, float(hits.get(best, 0))


def _cyrillic(words: list[str]) -> str | None:
    if sum(map(len, words)) < 3:
        return None

    present = set().union(*words)

    def share(letters: str) -> float:
        # Most letters that are asked for do not occur at all: long texts of passages are read by the thousand.
        wanted = present.intersection(letters)
        return sum(not wanted.isdisjoint(word) for word in words) / len(words) if wanted else 0.0

    for code, letters in (("be", "ў"), ("sr", "ђћ"), ("mk", "ѓќѕ"), ("kk", "ұқғ"), ("uk", "їєґ")):
        if share(letters) > 0.08:
            return code
    for code, letters in (("sr", "љњџј"), ("tt", "җ"), ("ky", "ң"), ("mn", "өү"), ("kk", "ә"), ("tg", "ҳҷӣӯ")):
        if share(letters) > 0.08:
            return code
    if share("і") > 0.08:
        return "be" if share("ыэё") > 0.08 else "uk"
    bulgarian = sum(word in _BULGARIAN for word in words)
    russian = sum(word in _RUSSIAN for word in words)
    return "bg" if bulgarian > russian and not share("ыэё") else "ru"


def _arabic(letters: str) -> str:
    if any(one in "ٹڈڑںے" for one in letters):
        return "ur"
    return "fa" if any(one in "پچژگ" for one in letters) else "ar"
