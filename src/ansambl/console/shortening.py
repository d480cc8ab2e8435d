"""Scripts and styles without what only people read: comments, indentation and needless space. Nothing is renamed.

Both are read token by token, so that a string, a template or a regular expression that looks like a comment stays as
it is. Lines stay lines where a statement may end there, so an error in a browser still names a line of few statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SPACE = r"(?P<space>\s+)"
_BLOCK = r"/\*[\s\S]*?\*/"
_STRING = r"""(?P<string>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*')"""
_JS = re.compile(rf"{_SPACE}|(?P<comment>//[^\n]*|{_BLOCK})|{_STRING}|(?P<word>[\w$#]+)|(?P<template>`)|(?P<sign>.)")
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?P<end>`|\$\{)")
_PATTERN = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
_CSS = re.compile(rf"{_SPACE}|(?P<comment>{_BLOCK})|{_STRING}|(?P<word>url\([^)\"']*\)|[^\s\"'{{}};:,/]+)|(?P<sign>.)")

_BEFORE_A_PATTERN = {"return", "typeof", "case", "in", "of", "do", "else", "await", "yield", "void", "delete", "new"}
"""Words after which a slash begins a regular expression; after others it divides."""
_OPEN_END = frozenset("{([,:?=<>&|*%^!~.")
"""After these no statement ends: a new line there means nothing. One after a semicolon stays, for those who debug."""
_OPEN_START = frozenset("}),;:?=<>&|%^.]")
"""Before these no statement begins. ``*`` and ``[`` may begin a member of a class, or an expression."""


class _Token(NamedTuple):
    kind: str
    text: str


def shorten_script(source: str) -> str:
    """An ECMAScript module, shorter."""
    made: list[str] = []
    last = _Token("sign", ";")
    space = ""
    for token in _script_tokens(source):
        if token.kind in ("space", "comment"):
            space = "\n" if "\n" in token.text or space == "\n" else " "
            continue
        if made and space and _needs(last, space, token):
            made.append(space)
        made.append(token.text)
        last, space = token, ""
    return "".join([*made, "\n"])


def _needs(last: _Token, space: str, token: _Token) -> bool:
    """Whether what stands between two tokens means something."""
    if space == "\n":
        ends = last.kind != "sign" or last.text not in _OPEN_END
        return ends and (token.kind != "sign" or token.text not in _OPEN_START)
    if last.kind == token.kind == "sign":
        return last.text == token.text and token.text in "+-"
    return last.kind in ("word", "pattern") and token.kind == "word"


def _script_tokens(source: str) -> Iterator[_Token]:
    last = _Token("sign", ";")
    at, depth = 0, 0
    held: list[int] = []
    while at < len(source):
        if (in_template := bool(held) and held[-1] == depth and source[at] == "}") or source[at] == "`":
            found = _TEMPLATE.match(source, at + 1)
            if found is None:
                raise ValueError(f"a template that begins at letter {at} has no end")
            if in_template:
                held.pop()
                depth -= 1
            if found["end"] == "${":
                depth += 1
                held.append(depth)
            token = _Token("template", source[at : found.end()])
        else:
            token = _script_token(source, at, last)
            depth += (token.text == "{") - (token.text == "}")
        at += len(token.text)
        if token.kind not in ("space", "comment"):
            last = token
        yield token


def _script_token(source: str, at: int, last: _Token) -> _Token:
    found = _JS.match(source, at)
    if found is None or found.lastgroup is None:
        raise ValueError(f"letter {at} belongs to no token")
    divides = last.text in (")", "]", "}") or (last.kind != "sign" and last.text not in _BEFORE_A_PATTERN)
    if found[0] == "/" and not divides and (pattern := _PATTERN.match(source, at)):
        return _Token("pattern", pattern[0])
    return _Token(found.lastgroup, found[0])


def shorten_styles(source: str) -> str:
    """A style sheet, shorter."""
    made: list[str] = []
    space = False
    for found in _CSS.finditer(source):
        if found.lastgroup in ("space", "comment"):
            space = True
            continue
        text = found[0]
        if text == "}" and made and made[-1] == ";":
            made.pop()
        # A space before a colon is between a selector and a pseudo-class of what is below it; one after it is never.
        if space and made and made[-1] not in ("{", "}", ";", ",", ":") and text not in ("{", "}", ";", ","):
            made.append(" ")
        made.append(text)
        space = False
    return "".join([*made, "\n"])
