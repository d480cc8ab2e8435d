"""The client's request as the calls of an ensemble need it. Pure.

Tools and response format stand at the head of a prompt, so they stay in every call, and the same
``tool_choice = "none"`` keeps all of them from calling a tool: an ensemble talks, it does not act.
"""

from __future__ import annotations

from ansambl.dialects.openai_chat import LIMIT_FIELDS, ChatRequest
from ansambl.domain.errors import RequestError
from ansambl.domain.text import text

_DROPPED = ("n", "max_completion_tokens", "logprobs", "top_logprobs", "parallel_tool_calls")


def check_request(request: ChatRequest) -> None:
    """Refuse what an engine would refuse of a role's request, and what an ensemble cannot do.

    Raises:
        RequestError: it asks for more than one answer, or a field has a value that means nothing.
    """
    count = request.value("n")
    if count is not None and count != 1:
        raise RequestError(
            text("An ensemble gives one answer; leave out 'n' or set it to 1."), param="n", code="unsupported_value"
        )
    if not isinstance(request.value("stream"), bool | None):
        raise RequestError(text("The field 'stream' must be true or false."), param="stream")
    for name in LIMIT_FIELDS:
        limit = request.value(name)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise RequestError(text("The field '{name}' must be a whole number from 1 on.", name=name), param=name)


def common_request(request: ChatRequest) -> ChatRequest:
    """What all calls of an ensemble have in common: a stream with usage, one answer, no tool call."""
    changes = {name: None for name in _DROPPED if name in request.fields}
    has_tools = request.value("tools") is not None
    return request.changed(
        {
            **changes,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Engines refuse the field when there are no tools.
            "tool_choice": "none" if has_tools else None,
        }
    )


def client_limit(request: ChatRequest) -> int | None:
    """The client's own limit of an answer, in tokens; it bounds every call of an ensemble."""
    limits = [request.value(name) for name in LIMIT_FIELDS]
    return min((one for one in limits if isinstance(one, int) and one > 0), default=None)
