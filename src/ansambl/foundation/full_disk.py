"""Whether something failed because a disk has no room left: the system and SQLite each say it in their own way."""

from __future__ import annotations

import errno
import sqlite3

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full_disk(error: BaseException) -> bool:
    """Whether `error`, or what it came from, is a disk or a quota without room."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _NO_ROOM:
            return True
        # Not every error of SQLite has a code: those of this module itself have none.
        if isinstance(found, sqlite3.Error) and getattr(found, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        found = found.__cause__ or found.__context__
    return False
