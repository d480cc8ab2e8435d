"""OpenAI's chat completions: requests, answers, streams and errors as bytes and records."""

from ansambl.dialects.openai_chat.answers import (
    Answer,
    Delta,
    Usage,
    read_answer,
    read_event,
    read_timings,
    read_usage,
    stream_data,
)
from ansambl.dialects.openai_chat.errors import engine_error_object, engine_status, error_object
from ansambl.dialects.openai_chat.gathering import END_MARK, read_stream, stream_ended
from ansambl.dialects.openai_chat.requests import (
    LIMIT_FIELDS,
    ChatRequest,
    Message,
    parse_chat,
    parse_request,
    with_chosen_tools_alone,
)
from ansambl.dialects.openai_chat.writing import DONE_EVENT, Envelope, chunk, completion, event, usage_chunk

__all__ = [
    "DONE_EVENT",
    "END_MARK",
    "LIMIT_FIELDS",
    "Answer",
    "ChatRequest",
    "Delta",
    "Envelope",
    "Message",
    "Usage",
    "chunk",
    "completion",
    "engine_error_object",
    "engine_status",
    "error_object",
    "event",
    "parse_chat",
    "parse_request",
    "read_answer",
    "read_event",
    "read_stream",
    "read_timings",
    "read_usage",
    "stream_data",
    "stream_ended",
    "usage_chunk",
    "with_chosen_tools_alone",
]
