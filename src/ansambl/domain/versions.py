"""Versions of engines, compared the way their publishers count: ``0.10.1rc1``, ``1.2.post1``, or builds (``b6096``)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

_DOTTED = re.compile(
    r"v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>alpha|beta|preview|pre|a|b|c|rc)[-_.]?(?P<pre_number>\d*))?"
    r"(?:(?:[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>\d*))|-(?P<bare_post>\d+))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>\d*))?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?"
)
_BUILD = re.compile(r"(?:b|\d+\.\d+\.)?(?P<build>\d+)")
_STAGES = {"alpha": 0, "a": 0, "beta": 1, "b": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_LONGEST, _MOST_DIGITS = 60, 18
_NONE, _LAST = -1, 3

VersionKey: TypeAlias = tuple[int, tuple[int, ...], tuple[int, int], int, int]
"""What two versions of one engine are compared by; its parts are for comparison only."""


@lru_cache(maxsize=4096)
def version_key(version: str, *, builds: bool = False) -> VersionKey:
    """The place of `version` among the versions of its engine: a later one has the greater key.

    The order is that of PEP 440: development releases and candidates come before their release, a post-release after
    it, missing parts count as 0, and what follows a ``+`` (who built it) does not matter.

    Args:
        version: as the engine prints it; a leading ``v`` and letter case do not matter.
        builds: the engine counts builds: ``b6096``, ``6096``, or a date with the build (``2026.10.11549``).

    Raises:
        ValueError: it is no version of this kind.
    """
    words = version.strip().lower()
    match = (_BUILD if builds else _DOTTED).fullmatch(words) if len(words) <= _LONGEST else None
    if match is None or any(len(digits) > _MOST_DIGITS for digits in re.findall(r"\d+", words)):
        message = f"not a version: {version[:_LONGEST]}"
        raise ValueError(message)
    if builds:
        return 0, (int(match["build"]),), (_LAST, 0), _NONE, _LAST
    release = [int(part) for part in match["release"].split(".")]
    while release and not release[-1]:
        release.pop()
    has_post = match["post"] is not None or match["bare_post"] is not None
    post = int(match["post_number"] or match["bare_post"] or 0) if has_post else _NONE
    if match["pre"] is not None:
        pre = _STAGES[match["pre"]], int(match["pre_number"] or 0)
    else:
        # A development release of the release itself comes before all of its candidates.
        pre = (_NONE if match["dev"] is not None and not has_post else _LAST), 0
    dev = int(match["dev_number"] or 0) if match["dev"] is not None else 10**_MOST_DIGITS
    return int(match["epoch"] or 0), tuple(release), pre, post, dev
