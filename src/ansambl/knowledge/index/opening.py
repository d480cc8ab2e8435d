"""Indexes by name. A new kind is a line here, and the contract suite takes it up."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.index.errors import IndexDamagedError
from ansambl.knowledge.index.own_process import OwnProcess

log = get_logger(__name__)

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class IndexKind:
    """`maker` is ``"module:class"``. `needs` is the module that must be there, `own_process` whether it gets one."""

    maker: str
    needs: str = ""
    own_process: bool = False


INDEX_KINDS: dict[str, IndexKind] = {
    "exact": IndexKind("ansambl.knowledge.index.exact:ExactIndex", own_process=True),
    "qdrant-edge": IndexKind("ansambl.knowledge.index.qdrant_edge:QdrantEdgeIndex", "qdrant_edge", own_process=True),
    "postgresql": IndexKind("ansambl.knowledge.index.postgresql:PostgresqlIndex", "psycopg"),
    "qdrant": IndexKind("ansambl.knowledge.index.qdrant_server:QdrantServerIndex", "qdrant_client"),
}


def chosen_kind(kind: str) -> str:
    """The kind that is meant: for ``"auto"`` qdrant-edge where it is installed, else exact.

    Raises:
        UsageError: there is no such kind.
    """
    if kind == AUTO:
        return "qdrant-edge" if importlib.util.find_spec("qdrant_edge") else "exact"
    if kind not in INDEX_KINDS:
        message = text(
            "there is no index of the kind '{kind}'; known are {known}",
            kind=kind,
            known=", ".join((AUTO, *INDEX_KINDS)),
        )
        raise UsageError(message)
    return kind


def open_index(kind: str, place: IndexPlace, *, own_process: bool | None = None) -> Index:
    """Open the index of a kind, in a process of its own where that kind gets one (or as `own_process` says).

    An index whose files are damaged is set aside and begins empty, at revision 0: whoever opens it brings it up from
    the store, as always where ``state().applied`` is behind.

    Raises:
        UsageError: there is no such kind.
        NotSupportedError: its library is not installed.
        IndexInUseError: another process has it.
        UnavailableError: its server does not answer.
    """
    known = INDEX_KINDS[chosen_kind(kind)]
    apart = known.own_process if own_process is None else own_process
    try:
        return _made(known, place, apart=apart)
    except IndexDamagedError as error:
        log.warning("index_damaged", folder=place.folder, reason=str(error))
        return _made(known, place, apart=apart)


def _made(kind: IndexKind, place: IndexPlace, *, apart: bool) -> Index:
    if apart:
        return OwnProcess(kind.maker, place)
    module, _, name = kind.maker.partition(":")
    made: Index = getattr(importlib.import_module(module), name)(place)
    return made
