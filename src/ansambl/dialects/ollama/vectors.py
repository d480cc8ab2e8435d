"""Vectors of texts, as ``POST /api/embed`` and the older ``POST /api/embeddings`` ask for them and get them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ansambl.dialects import openai_chat
from ansambl.dialects.ollama.answers import Moments, nanoseconds
from ansambl.dialects.openai_chat.reading import UNREADABLE
from ansambl.dialects.translation import a_list, a_string, wrong
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text

_Answer = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class AskedVectors:
    """A request for vectors. `model` is the name as the client wrote it; `single` is the older path, with one text."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    single: bool = False

    def encode(self, there: str) -> bytes:
        """The request for an engine, in OpenAI's dialect; `there` is the name that the model has there."""
        fields: dict[str, Any] = {"model": there, "input": list(self.texts), "encoding_format": "float"}
        if self.dimensions is not None:
            fields["dimensions"] = self.dimensions
        return msgspec.json.encode(fields)

    def answer(self, body: bytes, moments: Moments) -> bytes:
        """The answer, made of the engine's in OpenAI's dialect.

        Raises:
            EngineError: that is no answer with as many vectors as there are texts.
        """
        try:
            found = _Answer.decode(body)
            vectors = {int(one.get("index", place)): one["embedding"] for place, one in enumerate(found["data"])}
            listed = [vectors[place] for place in range(len(self.texts))]
        except (*UNREADABLE, LookupError, TypeError, ValueError, AttributeError):
            raise EngineError(
                text("The model '{model}' did not answer with {count} vectors.", model=self.model,
                     count=len(self.texts)),
                code="engine_garbage",
            ) from None  # fmt: skip
        usage = openai_chat.read_usage(found.get("usage"))
        return msgspec.json.encode(self.result(listed, moments, usage.prompt_tokens if usage is not None else None))

    def result(self, vectors: list[Any], moments: Moments, tokens: int | None = None) -> dict[str, Any]:
        """The answer with these vectors; none where there was no text, which only loads the model."""
        if self.single:
            return {"embedding": vectors[0] if vectors else []}
        found = {
            "model": self.model,
            "embeddings": vectors,
            "total_duration": nanoseconds(moments.elapsed),
            "load_duration": nanoseconds(moments.queued),
        }
        return found if tokens is None else {**found, "prompt_eval_count": tokens}


def parse_vectors(body: bytes, *, single: bool) -> AskedVectors:
    """Read a request for vectors; `single` is that of the older path.

    Raises:
        RequestError: it is none; names the field.
    """
    request = openai_chat.parse_request(body)
    model = a_string(request.value("model") or request.value("name"), "model", empty=False)
    if single:
        prompt = a_string(request.value("prompt") or "", "prompt")
        return AskedVectors(model, (prompt,) if prompt else (), single=True)
    found = request.value("input")
    listed = [found] if isinstance(found, str) else a_list([] if found is None else found, "input")
    texts = [a_string(one, f"input[{place}]") for place, one in enumerate(listed)]
    dimensions = request.value("dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int) or dimensions < 1):
        raise wrong("dimensions", text("it is a whole number from 1 on"))
    return AskedVectors(model, tuple(one for one in texts if one) if len(texts) == 1 else tuple(texts), dimensions)
