"""Words of Russian and English that say nothing about what a question is about, in small letters, ``ё`` as ``е``."""

from __future__ import annotations

_WORDS = (
    "a an and are as at be been but by can could did do does for from had has have he her his how i if in into is "
    "it its me my no not of on or our she should so than that the their them then there these they this those to "
    "us was we were what when where which who whom why will with would you your about tell please "
    "а без более бы был была были было быть в вам вас весь во вот все всего всех вы где да для до его ее если есть "
    "еще же за здесь и из или им их к как какая какие какой каков когда кого который которая которые которое кто "
    "ли либо лишь между меня мне мной мы на над надо наш не него нее ней нет ни них но ну о об однако он она они "
    "оно от очень перед по под после при про с сам со так также такой там те тем то того тоже той только том тот "
    "ту ты у уже хотя чего чей чем что чтобы чье чья эта эти это этого этой этом этот я мой моя мои твой свой себя "
    "можно нужно пожалуйста расскажи скажи объясни зачем почему сколько"
)
STOP_WORDS = frozenset(_WORDS.split())
"""Single words, without signs."""
