"""Questions about an identifier that one passage holds and no model of vectors can know: words must find it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from support.labelled import Labelled, Question

COUNT = 50

_SHAPES: tuple[Callable[[int], str], ...] = (
    lambda one: f"ERR-{one % 90_000 + 10_000}",
    lambda one: f"0x8007{one % 65_536:04X}",
    lambda one: f"get_token_{one % 9_000 + 1_000}",
    lambda one: f"{one % 900 + 100}-{one % 77}-KX{one % 89}",
    lambda one: f"10.{one % 200}.{one % 190}.{one % 250}",
)
_ASKED = {
    "en": ("what does {} mean", "{}", "how do I get rid of {} when printing", "where is {} explained", "{} in a table"),
    "ru": ("что значит {}", "{}", "как избавиться от {} при печати", "где описан {}", "{} в таблице"),
}


def instead(known: Labelled) -> Labelled:
    """The set with an identifier at the end of `COUNT` of its passages, whose vectors stay; asked for are those alone.

    The same ones in the same passages in every run and language; every shape meets every wording.
    """
    count = min(COUNT, len(known.ids))
    texts, asked = list(known.texts), _ASKED[known.language]
    questions = []
    for number in range(count):
        seed = int.from_bytes(hashlib.sha256(f"reported {number}".encode()).digest()[:6], "big")
        name = _SHAPES[number % len(_SHAPES)](seed)
        place = number * len(known.ids) // count
        texts[place] = f"{texts[place]} {name}"
        wording = asked[(number + number // len(_SHAPES)) % len(asked)]
        questions.append(Question(wording.format(name), (known.ids[place],), "identifier"))
    return replace(known, texts=tuple(texts), questions=tuple(questions))
