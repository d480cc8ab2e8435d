"""Text of images by tesseract, where that program is installed; without it one line says what would add it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import cache

from ansambl.domain.text import Text, text
from ansambl.knowledge.reading.content import UnreadableError

_PATIENCE = 120.0
"""Seconds for one page."""

_PREFERRED = ("rus", "eng")


@cache
def languages() -> tuple[str, ...]:
    """The languages that the OCR program here can read, our favourites first; empty where there is none."""
    program = shutil.which("tesseract")
    if program is None:
        return ()
    try:
        said = subprocess.run((program, "--list-langs"), capture_output=True, timeout=20, check=True, text=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    there = [line.strip() for line in said.splitlines()[1:] if line.strip() not in {"", "osd"}]
    return tuple([one for one in _PREFERRED if one in there] or there[:1])


def how_to_add() -> Text:
    """What to do where there is no OCR program."""
    return text("reading text in images needs tesseract: apt-get install tesseract-ocr tesseract-ocr-rus")


def recognised(image: bytes, until: float | None = None) -> str:
    """The text of an image in a format that tesseract reads (PNG, JPEG, TIFF, PNM, WebP, BMP, GIF).

    `until` is on the monotonic clock: no longer than that.

    Raises:
        UnreadableError: there is no such program, it cannot read the image, or it takes too long.
    """
    if not languages():
        raise UnreadableError(how_to_add())
    patience = _PATIENCE if until is None else max(1.0, min(_PATIENCE, until - time.monotonic()))
    try:
        done = subprocess.run(
            ("tesseract", "stdin", "stdout", "-l", "+".join(languages())), input=image, capture_output=True,
            timeout=patience, check=True,
            # More threads than one make it slower, and this machine answers requests meanwhile.
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UnreadableError(text("recognising its text took too long; scan it with fewer dots")) from None
    except (OSError, subprocess.CalledProcessError) as error:
        said = (
            error.stderr.decode("utf-8", "replace") if isinstance(error, subprocess.CalledProcessError) else str(error)
        )
        raise UnreadableError(
            text("its text could not be recognised ({reason})", reason=" ".join(said.split())[:150])
        ) from error
    return done.stdout.decode("utf-8", "replace").replace("\f", "").strip()
