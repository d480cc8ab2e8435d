"""What goes wrong while an engine is installed, as errors of one line."""

from __future__ import annotations

import errno
from pathlib import Path

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes
from ansambl.engines.install.folders import free_bytes
from ansambl.engines.install.records import Build

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = ("no space left on device", "disk quota exceeded", "file too large")
_HASH_WORDS = ("do not match the hashes",)
_NETWORK_WORDS = (
    "connection", "temporary failure in name resolution", "name or service not known", "timed out", "network is",
    "max retries", "no address associated",
)  # fmt: skip
_NOT_THERE_WORDS = ("no matching distribution found",)
_SHOWN = 300


class InstallError(AnsamblError):
    """An engine could not be installed. What has come stays, and the next run goes on from it."""

    status = 503
    type = "service_unavailable_error"
    code = "engine_not_installed"


def explain_program(build: Build, doing: Text, words: str, folder: Path) -> AnsamblError:
    """The error for a program that failed, from what it said last."""
    low = words.lower()
    if any(one in low for one in _FULL_WORDS):
        return disk_full(build, folder)
    if any(one in low for one in _HASH_WORDS):
        return InstallError(
            text("{engine} was not installed: a package is not the one that was pinned, its hash differs ({words}); "
                 "the package source may be wrong or tampered with", engine=build.title, words=last_words(words))
        )  # fmt: skip
    if any(one in low for one in _NETWORK_WORDS):
        return UnavailableError(
            text("{engine} was not installed: the network failed ({words}); what has come stays, run it again",
                 engine=build.title, words=last_words(words))
        )  # fmt: skip
    if any(one in low for one in _NOT_THERE_WORDS):
        return InstallError(
            text("{engine} was not installed: the package source has not what is needed ({words}); check the network "
                 "and pip's index settings", engine=build.title, words=last_words(words))
        )  # fmt: skip
    return InstallError(
        text("{engine} was not installed: {doing} failed ({words}); run it again, it goes on from there",
             engine=build.title, doing=doing, words=last_words(words))
    )  # fmt: skip


def explain_os(build: Build, failure: OSError, folder: Path) -> AnsamblError:
    """The error for a file or folder that could not be written."""
    if failure.errno in _FULL:
        return disk_full(build, folder)
    return InstallError(
        text("{engine} cannot be installed in {folder} ({reason}); give yourself permission or choose another data "
             "folder with ANSAMBL_DATA", engine=build.title, folder=str(folder),
             reason=failure.strerror or str(failure))
    )  # fmt: skip


def disk_full(build: Build, folder: Path) -> AnsamblError:
    """The error for a disk without room."""
    return InstallError(
        text("{engine} needs {size} free on the disk of {folder}, which has {free}; free some space or choose another "
             "data folder with ANSAMBL_DATA", engine=build.title, size=format_bytes(build.needed), folder=str(folder),
             free=format_bytes(free_bytes(folder)))
    )  # fmt: skip


def last_words(words: str) -> str:
    """The line that says most: the last one that begins like an error, else the last one."""
    lines = [one.strip() for one in words.splitlines() if one.strip()]
    errors = [one for one in lines if one.lower().startswith(("error", "fatal", "cmake error", "oserror"))]
    chosen = (errors or lines or ["-"])[-1]
    return "".join(one if one.isprintable() else " " for one in chosen)[:_SHOWN]
