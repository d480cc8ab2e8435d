"""The index on a Qdrant server, for several machines: the same points as `qdrant_edge` writes.

Not verified on a real server: no package registry carries one. The suite runs on the local mode of the server's own
client (qdrant-client), which answers as the server's documentation says. Each space has a collection of its own, and a
small second one holds the revision that was reached. The server keeps no other writer away: one process may write.
The API key comes from the environment (``QDRANT_API_KEY``) or with the address, and no message shows it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ansambl.domain.errors import UnavailableError, UsageError
from ansambl.domain.knowledge import Filters
from ansambl.domain.text import Text, text
from ansambl.knowledge.embedding import Vectors
from ansambl.knowledge.index import qdrant_points as points
from ansambl.knowledge.index.checking import asked_terms, bounded, check_entries, check_vector, finds_nothing
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import IndexFailedError, missing
from ansambl.knowledge.index.spaces import space_mark

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

KEY_VARIABLE = "QDRANT_API_KEY"
_NAME = re.compile(r"[\w.-]{1,100}")
_PATIENCE = 30
"""Seconds for one answer of the server."""

_AT_ONCE = 256
"""Points in one request: about a megabyte."""

_EF, _STATE = 256, 0


class QdrantServerIndex:
    """See the module."""

    def __init__(self, place: IndexPlace, *, client: QdrantClient | None = None) -> None:
        """Connect, and make the collections where they are missing; `client` stands in for the one of the address.

        Raises:
            NotSupportedError: qdrant-client is not installed.
            UnavailableError: the server does not answer.
            UsageError: the address or the name cannot be used.
        """
        try:
            import qdrant_client
            from qdrant_client.http import exceptions
        except ImportError as error:
            raise missing("qdrant-client", "qdrant", error) from error
        if not _NAME.fullmatch(place.name):
            message = text(
                "the name of a collection of Qdrant has letters, digits, '_', '-' and '.' only, not '{name}'",
                name=place.name,
            )
            raise UsageError(message)
        self._models, self._exceptions = qdrant_client.models, exceptions
        self._space = place.space
        # The client's local mode compares everything, and warns of parameters that change nothing there.
        self._params = None if client is not None else self._models.SearchParams(hnsw_ef=_EF)
        self._shown, self._key, address = "this process", "", place.address
        if client is None:
            self._shown, self._key, address = _parts(place.address)
        self._name = f"{place.name}-{space_mark(place.space)}"
        self._notes = f"{self._name}-state"
        with self._failing():
            self._client = client or qdrant_client.QdrantClient(
                url=address, api_key=self._key or None, timeout=_PATIENCE, check_compatibility=False
            )
            self._make()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except self._exceptions.ResponseHandlingException as error:
            raise UnavailableError(self._trouble(error)) from error
        except (self._exceptions.ApiException, ValueError, RuntimeError, KeyError) as error:
            raise IndexFailedError(self._trouble(error)) from error

    def _trouble(self, error: BaseException) -> Text:
        lines = [one.strip() for one in str(error).splitlines() if one.strip()]
        reason = " ".join(lines)[:300] or type(error).__name__
        if self._key:
            reason = reason.replace(self._key, "***")
        return text("Qdrant at {address}: {reason}", address=self._shown, reason=reason)

    def _make(self) -> None:
        models, client = self._models, self._client
        if not client.collection_exists(self._name):
            dense = {}
            if self._space is not None:
                dense[points.DENSE] = models.VectorParams(size=self._space.dimension, distance=models.Distance.COSINE)
            client.create_collection(
                self._name,
                vectors_config=dense,
                sparse_vectors_config={points.TERMS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            )
            fields = {
                **dict.fromkeys(points.KEYWORDS, models.PayloadSchemaType.KEYWORD),
                "document": models.PayloadSchemaType.INTEGER, "time": models.PayloadSchemaType.FLOAT,
            }  # fmt: skip
            for name, kind in fields.items():
                client.create_payload_index(self._name, name, field_schema=kind)
        if not client.collection_exists(self._notes):
            client.create_collection(
                self._notes, vectors_config={"none": models.VectorParams(size=1, distance=models.Distance.DOT)}
            )

    # -- writing

    def put(self, entries: Sequence[Entry]) -> None:
        """Add or replace; found at once."""
        check_entries(entries, self._space)
        models = self._models
        made = []
        for one in {entry.id: entry for entry in entries}.values():
            indices, values = points.sparse(one.terms)
            vectors: dict[str, Any] = {points.TERMS: models.SparseVector(indices=indices, values=values)}
            if one.vector is not None:
                vectors[points.DENSE] = one.vector.tolist()
            made.append(models.PointStruct(id=one.id, vector=vectors, payload=points.payload(one)))
        with self._failing():
            for start in range(0, len(made), _AT_ONCE):
                self._client.upsert(self._name, made[start : start + _AT_ONCE], wait=True)

    def remove(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        wanted: list[Any] = [one for one in dict.fromkeys(ids) if 0 <= one < 2**63]
        if wanted:
            with self._failing():
                self._client.delete(self._name, self._models.PointIdsList(points=wanted), wait=True)

    def commit(self, applied: int) -> None:
        """Note the revision; what was written is in the server's log by then."""
        note = self._models.PointStruct(id=_STATE, vector={}, payload={"applied": applied})
        with self._failing():
            self._client.upsert(self._notes, [note], wait=True)

    def clear(self) -> None:
        """Empty, at revision 0."""
        with self._failing():
            self._client.delete_collection(self._notes)
            self._client.delete_collection(self._name)
            self._make()

    # -- searching

    def _filter(self, filters: Filters) -> models.Filter | None:
        models = self._models
        must: list[Any] = []
        for name, wanted in points.wanted_sets(filters):
            must.append(models.FieldCondition(key=name, match=models.MatchAny(any=wanted)))
        if filters.since is not None or filters.until is not None:
            within = models.Range(gte=filters.since, lt=filters.until)
            must.append(models.FieldCondition(key="time", range=within))
        return models.Filter(must=must) if must else None

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """The nearest by cosine."""
        check_vector(vector, self._space)
        limit = bounded(limit)
        if not limit or finds_nothing(filters) or not vector.any():
            return []
        return self._nearest(vector.tolist(), points.DENSE, filters, limit)

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """BM25, the rarity of terms being the server's."""
        asked, limit = asked_terms(terms), bounded(limit)
        if not asked or not limit or finds_nothing(filters):
            return []
        indices, values = points.sparse_query(asked)
        query = self._models.SparseVector(indices=indices, values=values)
        return self._nearest(query, points.TERMS, filters, limit)

    def _nearest(self, query: Any, using: str, filters: Filters, limit: int) -> list[Ranked]:
        with self._failing():
            found = self._client.query_points(
                self._name, query=query, using=using, query_filter=self._filter(filters), limit=limit,
                search_params=self._params, with_payload=False,
            ).points  # fmt: skip
        ranked = [Ranked(int(one.id), float(one.score)) for one in found]
        return sorted(ranked, key=lambda one: (-one.score, one.id))

    def state(self) -> IndexState:
        """What the server counts."""
        models = self._models
        with self._failing():
            entries = self._client.count(self._name, exact=True).count
            vectors = 0
            if self._space is not None:
                having = models.Filter(must=[models.HasVectorCondition(has_vector=points.DENSE)])
                vectors = self._client.count(self._name, count_filter=having, exact=True).count
            notes = self._client.retrieve(self._notes, [_STATE])
        applied = int((notes[0].payload or {}).get("applied", 0)) if notes else 0
        return IndexState(
            entries, vectors, applied, {"kind": "qdrant", "address": self._shown, "collection": self._name}
        )

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self._client.close()


def _parts(address: str) -> tuple[str, str, str]:
    """An address as it is shown, the API key, and the address to connect to."""
    try:
        parts = urlsplit(address)
        host, port, key = parts.hostname, parts.port, parts.password
    except ValueError:
        host, port, key = None, None, None
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not host:
        message = text("the address of the Qdrant server looks like {example}", example="http://host:6333")
        raise UsageError(message)
    place = f"[{host}]" if ":" in host else host
    shown = place + (f":{port}" if port else "")
    return shown, key or os.environ.get(KEY_VARIABLE, ""), urlunsplit((parts.scheme, shown, parts.path, "", ""))
