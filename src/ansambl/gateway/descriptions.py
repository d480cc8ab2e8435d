"""What each route of the gateway takes and gives, for its OpenAPI document. A route without a line fails a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TAGS = [
    {"name": "Chat", "description": "Roles, ensembles and models, in three dialects."},
    {"name": "Engines", "description": "What engines do beside the chat, handed on untouched."},
    {"name": "Knowledge", "description": "Documents and past conversations, searched and read without a model."},
    {"name": "Lists", "description": "What can be asked for, from memory."},
    {"name": "Ollama", "description": "For clients that know nothing else."},
    {"name": "llama.cpp", "description": "What clients of llama.cpp's router expect."},
    {"name": "Health", "description": "Whether it runs, and how."},
]

_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Described:
    """One route. `takes`, `gives` and `errors` name schemas; `streams` is the other type that it may answer with.

    `fails` are the statuses of errors beyond those of every request with a body; `more` other answers by status, of
    which the `empty` ones have no body.
    """

    summary: str
    tag: str
    takes: str | None = None
    gives: str | None = None
    answer: str = "The answer."
    streams: str | None = None
    errors: str = "Error"
    fails: tuple[int, ...] = ()
    takes_type: str = "application/json"
    body_required: bool = True
    example: Mapping[str, Any] | None = None
    more: Mapping[int, str] = field(default_factory=dict)
    empty: tuple[int, ...] = ()


def _asked(summary: str, takes: str, gives: str, **more: Any) -> Described:
    return Described(summary, "Engines", takes, gives, **more)


def _ollama(summary: str, takes: str | None, gives: str | None, **more: Any) -> Described:
    return Described(summary, "Ollama", takes, gives, errors="OllamaError", **more)


def _not_here(summary: str) -> Described:
    return _ollama(summary, None, None, fails=(501,))


_HI = [{"role": "user", "content": "Reverse a list in Python."}]

DESCRIPTIONS: Mapping[str, Described] = {
    "/v1/chat/completions": Described(
        "OpenAI's chat completions", "Chat", "ChatRequest", "ChatCompletion", streams=_STREAM,
        example={"model": "coder", "messages": _HI},
    ),
    "/v1/messages": Described(
        "Anthropic's messages", "Chat", "MessagesRequest", "Message", streams=_STREAM, errors="AnthropicError",
        example={"model": "coder", "max_tokens": 200, "messages": _HI},
    ),
    "/v1/messages/count_tokens": Described(
        "The tokens of a prompt, by the engine that would read it", "Chat", "MessagesRequest", "TokenCount",
        errors="AnthropicError", example={"model": "coder", "messages": _HI},
    ),
    "/v1/responses/input_tokens": Described(
        "The tokens of a prompt, by the engine that would read it", "Chat", "ResponsesRequest", "TokenCount",
        example={"model": "coder", "input": "Reverse a list in Python."},
    ),
    "/v1/responses": Described(
        "OpenAI's responses", "Chat", "ResponsesRequest", "ResponsesAnswer", streams=_STREAM,
        example={"model": "coder", "input": "Reverse a list in Python."},
    ),
    "/v1/models": Described("Roles, ensembles and models", "Lists", gives="List"),
    "/health": Described("Whether Ansambl runs", "Health", gives="Health"),
    "/ready": Described("Whether a model answers", "Health", gives="Ready", more={503: "Ready"}),
    "/metrics": Described("Prometheus metrics", "Health", streams="text/plain"),
    "/openapi.json": Described("This description", "Health", gives="Anything"),
    "/models": Described("The same list as llama.cpp's router gives it", "llama.cpp", gives="List"),
    "/models/load": Described("Have a model loaded", "llama.cpp", "NamedModel", "Success"),
    "/models/unload": Described("Have a model unloaded", "llama.cpp", "NamedModel", "Success"),
    "/models/sse": Described("What becomes of models, as events", "llama.cpp", streams=_STREAM),
    "/props": Described("What kind of server this is", "llama.cpp", gives="Anything"),
    "/api/chat": _ollama("Ollama's chat", "OllamaChat", "OllamaAnswer", streams="application/x-ndjson"),
    "/api/generate": _ollama("Ollama's completions", "OllamaGenerate", "OllamaAnswer", streams="application/x-ndjson"),
    "/api/embed": _ollama("Ollama's embeddings", "OllamaEmbed", "Anything"),
    "/api/embeddings": _ollama("Ollama's embeddings, one at a time", "OllamaEmbeddings", "Anything"),
    "/api/tags": _ollama("Ollama's list of models", None, "OllamaModels"),
    "/api/ps": _ollama("Ollama's list of models in memory", None, "OllamaModels"),
    "/api/show": _ollama("What is known of a model", "OllamaShow", "Anything"),
    "/api/version": _ollama("The version of Ollama that this stands for", None, "OllamaVersion"),
    "/api/pull": _not_here("Models are fetched with: ansambl models pull"),
    "/api/push": _not_here("There is no place to push to"),
    "/api/create": _not_here("Models are described in the configuration"),
    "/api/copy": _not_here("Models are described in the configuration"),
    "/api/delete": _not_here("Models are removed with: ansambl models remove"),
    "/api/blobs": _not_here("Files are fetched with: ansambl models pull"),
    "/v1/completions": _asked(
        "OpenAI's completions", "CompletionRequest", "Anything", streams=_STREAM,
        example={"model": "big", "prompt": "Once upon a time"},
    ),
    "/v1/embeddings": _asked(
        "OpenAI's embeddings", "EmbeddingsRequest", "Anything", example={"model": "embedder", "input": "a river"}
    ),
    **{
        path: _asked(
            "Documents by how well they answer a question", "RerankRequest", "Anything",
            example={"model": "reranker", "query": "a river", "documents": ["water", "stone"]},
        )
        for path in ("/v1/rerank", "/rerank", "/v2/rerank", "/v1/reranking")
    },
    "/v1/audio/transcriptions": _asked(
        "Speech as text", "AudioForm", "Anything", takes_type="multipart/form-data", streams="text/plain"
    ),
    "/v1/audio/translations": _asked(
        "Speech as English text", "AudioForm", "Anything", takes_type="multipart/form-data", streams="text/plain"
    ),
    "/v1/audio/speech": _asked("Text as speech", "SpeechRequest", "Anything", streams="audio/*"),
    "/v1/images/generations": _asked("Images from a text", "ImageRequest", "Anything", streams=_STREAM),
    "/v1/images/edits": _asked(
        "Images changed by a text", "ImageForm", "Anything", takes_type="multipart/form-data", streams=_STREAM
    ),
    "/v1/images/variations": _asked("Images like an image", "ImageForm", "Anything", takes_type="multipart/form-data"),
    "/v1/knowledge/search": Described(
        "Passages of documents and past conversations, best first", "Knowledge", "KnowledgeSearch", "KnowledgeFound",
        example={"query": "How long is the notice period?", "limit": 5},
    ),
    "/v1/knowledge/document": Described(
        "Some text of a document that a search named", "Knowledge", "KnowledgeDocumentAsked", "KnowledgeText",
        fails=(404,), example={"id": 1, "length": 2000},
    ),
    "/v1/knowledge/passage": Described(
        "A passage that a search named, with what stands around it", "Knowledge", "KnowledgePassageAsked",
        "KnowledgePassages", fails=(404,), example={"id": "1.0", "around": 1},
    ),
    "/mcp": Described(
        "Tools of knowledge, by the Model Context Protocol", "Knowledge", "McpRequest", "Anything",
        errors="Anything", fails=(406,), empty=(202,), example={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
    ),
    "/v1/moderations": _asked("Is a text harmful?", "ModerationRequest", "Anything"),
}  # fmt: skip
"""By path; the method is the route's."""

ADDITIONAL: Mapping[str, tuple[str, Described]] = {
    "/v1/models/{model}": ("get", Described("One role, ensemble or model", "Lists", gives="Model", fails=(404,))),
}
"""Paths that the table of routes does not hold, because a name is a part of them; with their methods."""

_TEXT: dict[str, Any] = {"type": "string"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "description": "A role, an ensemble, a model or an alias."}
_COUNT: dict[str, Any] = {"type": ["integer", "null"]}
_ENGINES: dict[str, Any] = {"description": "The engine reads it, and says what is wrong with it."}
_FLAG: dict[str, Any] = {"type": ["boolean", "null"]}


def _object(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": True}
    if required:
        found["required"] = list(required)
    return found


def _list(items: Any, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


_MESSAGES = _list(
    _object(
        ("role", "content"),
        role={"enum": ["user", "assistant"]},
        content={"anyOf": [_TEXT, _list(_object(("type", "text"), type={"const": "text"}, text=_TEXT))]},
    ),
    1,
)
_CHAT_MESSAGES = _list(
    _object(("role",), role=_TEXT, content={"type": ["string", "array", "null"]}),
    1,
)
_ONE_OR_MORE = {"anyOf": [_TEXT, _list(_TEXT, 1)]}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}

SCHEMAS: dict[str, Any] = {
    "Error": _object(
        ("error",),
        error=_object(("message", "type"), message=_TEXT, type=_TEXT, param={}, code={"type": ["string", "null"]}),
    ),
    "AnthropicError": _object(
        ("type", "error"), type={"const": "error"}, error=_object(("type", "message"), type=_TEXT, message=_TEXT)
    ),
    "OllamaError": _object(("error",), error=_TEXT),
    "Anything": {"description": "As the dialect's own documents say."},
    "ChatRequest": _object(
        ("model", "messages"), model=_NAME, messages=_CHAT_MESSAGES, stream=_ENGINES, max_tokens=_ENGINES,
        temperature=_ENGINES, top_p=_ENGINES,
        ansambl={
            **_object(layout={"enum": ["shared-prefix", "trailing-system", "classic", None]}),
            "type": ["object", "null"],
        },
    ),
    "ChatCompletion": _object(
        ("object", "choices"), id=_TEXT, object=_TEXT, created={"type": "integer"}, model=_TEXT,
        choices=_list(_object(("index",), index={"type": "integer"}, message=_object())), usage={},
    ),
    "MessagesRequest": _object(
        ("model", "messages"), model=_NAME, messages=_MESSAGES, max_tokens=_COUNT, stream=_FLAG,
        system={"type": ["string", "null"]}, temperature=_ENGINES,
    ),
    "Message": _object(
        ("type", "role", "content"), id=_TEXT, type={"const": "message"}, role=_TEXT, content=_list(_object()),
        stop_reason={"type": ["string", "null"]}, usage=_object(),
    ),
    "TokenCount": _object(("input_tokens",), input_tokens={"type": "integer", "minimum": 0}),
    "ResponsesRequest": _object(
        ("model", "input"), model=_NAME, input=_TEXT, instructions={"type": ["string", "null"]}, stream=_FLAG,
        max_output_tokens=_COUNT, temperature=_ENGINES,
    ),
    "ResponsesAnswer": _object(
        ("object", "status", "output"), id=_TEXT, object=_TEXT, status=_TEXT, output=_list(_object())
    ),
    "Model": _object(("id", "object"), id=_TEXT, object={"const": "model"}, created={"type": "integer"}),
    "List": _object(("data",), data=_list({"$ref": "#/components/schemas/Model"})),
    "Health": _object(("status",), status=_TEXT),
    "Ready": _object(("ready", "instances"), ready={"type": "boolean"}, instances=_object()),
    "NamedModel": _object(("model",), model=_NAME),
    "Success": _object(("success",), success={"type": "boolean"}),
    "CompletionRequest": _object(("model", "prompt"), model=_NAME, prompt=_TEXT, stream=_ENGINES, max_tokens=_ENGINES),
    "EmbeddingsRequest": _object(("model", "input"), model=_NAME, input=_ONE_OR_MORE),
    "RerankRequest": _object(("model", "query", "documents"), model=_NAME, query=_TEXT, documents=_list(_TEXT, 1)),
    "AudioForm": _object(("model", "file"), model=_NAME, file=_FILE),
    "SpeechRequest": _object(("model", "input"), model=_NAME, input=_TEXT, voice=_TEXT),
    "ImageRequest": _object(("model", "prompt"), model=_NAME, prompt=_TEXT),
    "ImageForm": _object(("model", "image"), model=_NAME, image=_FILE, prompt=_TEXT),
    "ModerationRequest": _object(("model", "input"), model=_NAME, input=_ONE_OR_MORE),
    "KnowledgeSearch": {
        **_object(
            ("query",), query={"type": "string", "pattern": r"\S", "maxLength": 4000},
            collections={"type": ["array", "null"], "items": _TEXT},
            limit={"type": "integer", "minimum": 1, "maximum": 50}, language={"type": ["string", "null"]},
            since={"type": ["number", "null"], "minimum": -1e11, "maximum": 1e11},
            until={"type": ["number", "null"], "minimum": -1e11, "maximum": 1e11},
            words_only={"type": "boolean"},
        ),
        "additionalProperties": False,
    },
    "KnowledgeFound": _object(
        ("object", "data"), object={"const": "list"}, by_meaning={"type": "boolean"},
        without_vectors={"type": "integer"},
        data=_list(_object(("id", "citation", "text"), id=_TEXT, citation=_TEXT, text=_TEXT)),
    ),
    "KnowledgeDocumentAsked": {
        **_object(
            ("id",), id={"type": "integer"}, start={"type": "integer", "minimum": 0, "maximum": 2**53},
            length={"type": "integer", "minimum": 1, "maximum": 50_000},
        ),
        "additionalProperties": False,
    },
    "KnowledgeText": _object(
        ("object", "document_id", "text", "start", "next", "characters"), object={"const": "document"},
        document_id={"type": "integer"}, text=_TEXT, start={"type": "integer"}, next=_COUNT,
        characters={"type": "integer"},
    ),
    "KnowledgePassageAsked": {
        **_object(
            ("id",), id={"type": "string", "pattern": r"^\d{1,15}\.\d{1,15}$"},
            around={"type": "integer", "minimum": 0, "maximum": 5},
        ),
        "additionalProperties": False,
    },
    "KnowledgePassages": _object(
        ("object", "data"), object={"const": "list"},
        data=_list(
            _object(
                ("id", "citation", "text", "asked"), id=_TEXT, citation=_TEXT, text=_TEXT, asked={"type": "boolean"}
            )
        ),
    ),
    "McpRequest": _object(
        ("jsonrpc", "method"), jsonrpc={"const": "2.0"}, method=_TEXT,
        id={"description": "A number or a text; without one it is a notification."},
    ),
    "OllamaChat": _object(
        ("model", "messages"), model=_NAME, stream=_FLAG, options=_object(),
        messages=_list(_object(("role", "content"), role={"enum": ["system", "user", "assistant"]}, content=_TEXT), 1),
    ),
    "OllamaGenerate": _object(("model", "prompt"), model=_NAME, prompt=_TEXT, stream=_FLAG, options=_object()),
    "OllamaAnswer": _object(("model", "done"), model=_TEXT, done={"type": "boolean"}),
    "OllamaEmbed": _object(("model", "input"), model=_NAME, input=_ONE_OR_MORE),
    "OllamaEmbeddings": _object(("model", "prompt"), model=_NAME, prompt=_TEXT),
    "OllamaModels": _object(("models",), models=_list(_object(("name",), name=_TEXT))),
    "OllamaShow": _object(("model",), model=_NAME),
    "OllamaVersion": _object(("version",), version=_TEXT),
}  # fmt: skip
