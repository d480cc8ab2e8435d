"""Languages as users name them, brought to the code of ISO 639-1."""

from __future__ import annotations

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
