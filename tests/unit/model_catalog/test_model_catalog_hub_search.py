"""What a hub's search answers, honest and not."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.model_catalog.hub_search import MOST, search_repositories


class Answers:
    """A connection that answers everything alike."""

    def __init__(self, content):
        self._content = content
        self.asked = []

    def whole(self, url, _limit):
        self.asked.append(url)
        return self._content


def row(name, *tags, **more):
    return {"id": name, "tags": list(tags), **more}


def test_only_weights_of_language_models_are_taken():
    web = Answers(json.dumps([
        row("a/one-GGUF", "gguf", downloads=9), row("a/adapter", "safetensors", "lora"), row("a/words"),
        row("a/picture", "safetensors", "text-to-image"), row("../../etc", "gguf"), row("a/b/c", "gguf"),
        row("a/two", "Safetensors", likes=None), row("a/three", "mlx"),
    ]).encode())  # fmt: skip
    found = search_repositories(web, "x", 2)
    assert [(one.repo, one.downloads) for one in found] == [("a/one-GGUF", 9), ("a/two", None)]


def test_the_words_are_all_that_is_sent():
    web = Answers(b"[]")
    assert search_repositories(web, "qwen3 & coder?x=1", 1000) == ()
    (asked,) = web.asked
    assert parse_qs(urlsplit(asked).query)["search"] == ["qwen3 & coder?x=1"]
    assert int(parse_qs(urlsplit(asked).query)["limit"][0]) == MOST * 3


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 90_000, b'[{"id": 3}]', b'[{"id": "a/b", "downloads": -1}]', b"\xff"]
)
def test_an_answer_that_is_not_the_hubs_is_one_line(content):
    with pytest.raises(CheckpointError, match="HF_ENDPOINT") as failed:
        search_repositories(Answers(content), "x", 3)
    assert "\n" not in failed.value.message.render()


@pytest.mark.parametrize("words", ["", "  ", "...", "a\x1b", "x" * 201])
def test_nothing_is_asked_without_words(words):
    web = Answers(b"[]")
    with pytest.raises(UsageError, match="nothing to search for"):
        search_repositories(web, words, 3)
    assert web.asked == []
