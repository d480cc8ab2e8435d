"""Any value in any field of any dialect is translated or refused in words; it never fails in another way."""

import copy
import json

import pytest

from ansambl.dialects import openai_chat, openai_completions
from ansambl.dialects.anthropic_messages import requests as messages
from ansambl.dialects.ollama import requests as ollama_requests
from ansambl.dialects.ollama import vectors
from ansambl.dialects.openai_responses import requests as responses
from ansambl.domain.errors import RequestError

ODD = (
    "null", "true", "-1", "1.5", "1e300", "123456789012345678901234567890", '""', '"x"', '"\\u0000"', "[]", "{}",
    "[1]", "[null]", "[[]]", "[{}]", '{"a": []}', '{"type": []}', '[{"type": {}}]', '{"name": []}', '{"effort": []}',
    '[{"type": "function", "function": {"name": []}}]', '[{"role": {}, "content": 1}]',
)  # fmt: skip
HELLO = [{"role": "user", "content": "hello"}]
DIALECTS = {
    "/api/chat": (
        lambda body: ollama_requests.parse_chat(body).chat.encode(),
        {"model": "m", "messages": HELLO},
        (
            "stream format options think tools logprobs top_logprobs keep_alive messages model messages.0.role"
            " messages.0.images messages.0.tool_calls messages.0.content options.num_predict options.stop options.seed"
            " options.temperature options.num_ctx"
        ),
    ),
    "/api/generate": (
        lambda body: ollama_requests.parse_generate(body).chat.encode(),
        {"model": "m", "prompt": "hello"},
        "stream format options think system template raw images suffix context keep_alive prompt",
    ),
    "/api/embed": (
        lambda body: vectors.parse_vectors(body, single=False).encode("there"),
        {"model": "m", "input": "hello"},
        "model input dimensions truncate options keep_alive",
    ),
    "/v1/completions": (
        lambda body: openai_completions.translate_request(openai_chat.parse_request(body)).chat.encode(),
        {"model": "m", "prompt": "hello"},
        "n best_of prompt suffix echo logprobs stream stream_options max_tokens stop logit_bias user",
    ),
    "/v1/messages": (
        lambda body: messages.parse_request(body).chat.encode(),
        {"model": "m", "max_tokens": 5, "messages": HELLO},
        (
            "system max_tokens tools tool_choice thinking output_config stop_sequences metadata stream temperature"
            " messages messages.0.role messages.0.content top_k service_tier container"
        ),
    ),
    "/v1/responses": (
        lambda body: responses.parse_request(body).chat.encode(),
        {"model": "m", "input": "hello"},
        (
            "input instructions max_output_tokens tools tool_choice text reasoning stream store include prompt"
            " previous_response_id conversation top_logprobs parallel_tool_calls background metadata stream_options"
        ),
    ),
}


def with_odd(body, path, odd):
    body = copy.deepcopy(body)
    place = body
    *steps, last = path.split(".")
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[last] = "@"
    return json.dumps(body).replace('"@"', odd).encode()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_odd_values_are_translated_or_refused(dialect):
    parse, body, paths = DIALECTS[dialect]
    tried = refused = 0
    for path in paths.split():
        for odd in ODD:
            tried += 1
            try:
                parse(with_odd(body, path, odd))
            except RequestError:
                refused += 1
    assert 0 < refused < tried
