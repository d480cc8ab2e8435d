"""Telling program code from what a person wrote around it."""

from __future__ import annotations

import re

_FENCED = r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)"
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_CODE = re.compile(
    _FENCED
    + r"|`[^`\n]{1,300}`"
    + r"|<[/!]?[A-Za-z][^<>\n]{0,300}>"  # a tag
    + r"|(?:https?|ftp|file)://\S+|\bwww\.\S+"
    + r"|[\w.+-]{1,64}@[\w-]{1,64}\.\w[\w.-]{0,64}"  # an address of e-mail
    + r"|(?<!\S)[~.]{0,2}/[\w./-]+"  # a path
    + r"|\b\w+(?:(?:\.|::|->|_)\w+)+"  # a dotted name or one with underscores
    + r"|\b[A-Za-z_]\w*\([^()\n]{0,200}\)"  # a call
    + r"|\b[A-Za-z]*[a-z][A-Z]\w*"  # camelCase
    + r"|(?<!\w)\w*\d\w*",  # looked for at the beginning of a word alone, else a long one takes seconds
    re.DOTALL,
)
_STATEMENT = re.compile(
    r"(?:def|class|import|from|return|elif|async def|public|private|static|void|const|let|var|func|fn|SELECT"
    r"|INSERT|UPDATE|DELETE|sudo|pip|git|docker|npm)\s.*[(){}\[\];=*]|\$ \S|>>> |#include|#!/"
    r"|Traceback \(most recent call last\)|\s*at \S{1,200}\(\S{1,500}:\d+\)"
)
_CALL = re.compile(r"\b[A-Za-z_][\w.]*\([^()\n]{0,200}\)")
_SYMBOLS = frozenset("{}[];=<>_$|\\")


def without_code(text: str) -> str:
    """`text` without code, quoted code, tags, addresses, paths and identifiers; what is left out becomes a space."""
    return "\n".join(line for line in _CODE.sub(" ", text).splitlines() if not _looks_like_code(line.strip()))


def holds_code(text: str) -> bool:
    """Whether a text holds program code: a fenced block, a statement or a trace on a line, or two lines like code."""
    if _FENCE.search(text):
        return True
    like = 0
    for line in map(str.strip, text.splitlines()):
        if _is_statement(line):
            return True
        like = like + 1 if _looks_like_code(line) or _CALL.fullmatch(line.rstrip(";")) else 0
        if like == 2:
            return True
    return False


def _is_statement(line: str) -> bool:
    ends = line.endswith(("{", "}")) or (line.endswith(";") and any(one in line for one in "=()[]"))
    return ends or _STATEMENT.match(line) is not None


def _looks_like_code(line: str) -> bool:
    symbols = sum(one in _SYMBOLS for one in line)
    return (symbols >= 2 and symbols * 12 >= len(line)) or _is_statement(line)
