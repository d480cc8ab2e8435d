"""The by-products of a chat that an interface asks for, by the names that Open WebUI gives them."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What is asked for. All are answered by any chat model that is in memory, else by a built-in reply.

    ``QUERIES`` and ``IMAGE_PROMPT`` come before an answer and help to make it, yet they are here: their built-in reply
    is the person's own words, which is what Open WebUI itself goes on with when it gets none. Two kinds of Open WebUI's
    are not: ``moa_response_generation`` is an answer that a person reads, and what ``function_calling`` says decides
    which tools are used. Both are chats.
    """

    TITLE = "title_generation"
    TAGS = "tags_generation"
    FOLLOW_UPS = "follow_up_generation"
    QUERIES = "query_generation"
    IMAGE_PROMPT = "image_prompt_generation"
    AUTOCOMPLETE = "autocomplete_generation"
    EMOJI = "emoji_generation"
