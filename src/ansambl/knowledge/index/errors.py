"""What may go wrong with an index, in one line each. All of them can be sent from a child process to its parent."""

from __future__ import annotations

from ansambl.domain.errors import AnsamblError, NotSupportedError, RequestError, UnavailableError
from ansambl.domain.text import Text, text


class IndexDamagedError(AnsamblError):
    """The files of an index cannot be used. They were set aside; opening again gives an empty index."""

    code = "index_damaged"


class IndexInUseError(UnavailableError):
    """Another process has opened the same index."""

    code = "index_in_use"


class IndexGoneError(UnavailableError):
    """The process or the server of the index went away: what was not committed may be lost, so it must catch up.

    It is raised once for each call that was in flight, and for the next write if writes without a commit were lost.
    """

    code = "index_gone"


class IndexFailedError(AnsamblError):
    """The index could not do it, for a reason of its own."""

    code = "index_failed"


class IndexWithoutRoomError(IndexFailedError):
    """The disk of the index is full; when there is room again, another start may do it."""

    status = 503
    type = "service_unavailable_error"
    code = "disk_full"


class EntryRefusedError(RequestError):
    """An entry or a query that no index can take."""

    code = "entry_refused"


KINDS: dict[str, type[AnsamblError]] = {
    one.__name__: one
    for one in (
        AnsamblError, EntryRefusedError, IndexDamagedError, IndexFailedError, IndexGoneError, IndexInUseError,
        NotSupportedError, RequestError, UnavailableError,
    )
}  # fmt: skip
"""Errors by their names, as they travel between processes."""


def missing(library: str, extra: str, cause: ImportError | None = None) -> NotSupportedError:
    """The error for a library that is not installed, naming the command that brings it."""
    template = text(
        "this index needs the library '{library}', which cannot be imported ({cause}): "
        "pip install 'ansambl[{extra}]'",
        library=library, cause=cause or "not installed", extra=extra,
    )  # fmt: skip
    return NotSupportedError(template)


def gone(reason: Text) -> IndexGoneError:
    """The error of a call whose process or server went away."""
    return IndexGoneError(text("the index went away and is started again: {reason}", reason=reason), retry_after=1)
