"""No secret survives in what is written down: registered values however they are escaped, others by their shape."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.foundation import redaction
from ansambl.foundation.logging import begin_request, configure, get_logger
from ansambl.foundation.redaction import (
    MASK,
    SHORTEST,
    forget_secret,
    redact,
    redacted,
    redacted_field,
    register_secret,
    registered_secrets,
)

API_KEY = "ansambl-" + "Ab3dE6gH9k" * 5
# Whatever a person may choose as the key of a server of theirs; no single letter over and over, which is in everything.
SECRETS = st.text(
    st.one_of(st.characters(min_codepoint=33, max_codepoint=126), st.sampled_from("\n\t äß中🙂\\\"'")),
    min_size=SHORTEST, max_size=30,
).filter(lambda one: len(set(one)) > 5 and one.strip() == one and one != MASK)  # fmt: skip
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


@pytest.fixture(autouse=True)
def _empty_register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever other tests of this run have registered, and for ever."""
    monkeypatch.setattr(redaction, "_REGISTER", redaction._Register())


def escapes(words: str) -> list[str]:
    """The same words as the usual writers write them."""
    return [
        words, json.dumps(words), json.dumps(words, ensure_ascii=False), json.dumps(json.dumps(words)), repr(words),
        repr(words.encode()), ascii(words), quote(words), quote(words, safe=""), quote_plus(words), str([words]),
        str({"x": words}),
    ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(secret=SECRETS, before=WORDS, after=WORDS)
def test_a_registered_secret_survives_in_no_escape(secret: str, before: str, after: str) -> None:
    register_secret(secret)
    try:
        for plain, masked in zip(escapes(secret), map(redact, escapes(f"{before}{secret}{after}")), strict=True):
            assert secret not in masked
            core = plain.strip("\"'[]{}")
            assert len(core) < SHORTEST or core not in masked
    finally:
        forget_secret(secret)
    assert redact(f"{before} plain {after}").count("plain") >= 1


NESTED = st.recursive(
    st.one_of(WORDS, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(secret=SECRETS, nested=NESTED, seed=st.integers(0, 2**16))
def test_a_registered_secret_survives_at_no_depth(secret: str, nested: object, seed: int) -> None:
    register_secret(secret)
    try:
        planted = plant(nested, secret, random.Random(seed))  # noqa: S311 - places, no secrets
        found = redacted({"field": planted, secret: 1, "raw": secret.encode(), "error": ValueError(f"bad {secret}")})
        assert secret not in json.dumps(found, ensure_ascii=False, default=str)
        assert all(secret not in one for one in texts(found))
    finally:
        forget_secret(secret)


def plant(value: object, secret: str, chance: random.Random) -> object:
    """Put a secret into every text of a value, somewhere."""
    if isinstance(value, str):
        at = chance.randint(0, len(value))
        return value[:at] + secret + value[at:]
    if isinstance(value, dict):
        return {name: plant(one, secret, chance) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plant(one, secret, chance) for one in value)
    return value


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)


@pytest.mark.parametrize(
    "words",
    [
        f"x {API_KEY}.", f"a\\n{API_KEY}", f'"{API_KEY}"', f"key{API_KEY}",
        "Authorization: Bearer Ab3dE6gH9kAb3", "authorization=Bearer%20Ab3dE6gH9kAb3", "Basic QWIzZEU2Z0g5a0=",
        "sk-Ab3dE6gH9kAb3dE6gH9k", "\\nsk-proj-Ab3dE6gH9kAb3dE6gH9k", "hf_Ab3dE6gH9kAb3dE6gH9k",
        "https://user:Ab3dE6gH9k@host/v1", "GET /v1/models?key=Ab3dE6gH9k&x=1", "--api-key Ab3dE6gH9k --port 1",
        "api_key=Ab3dE6gH9k", "'api_key': ['Ab3dE6gH9k', 'x']", '{"apiKey": "Ab3dE6gH9k"}', "x-api-key: Ab3dE6gH9k",
        "password='Ab3dE6gH9k'", "HF_TOKEN=Ab3dE6gH9k", "set-cookie: Ab3dE6gH9k", '{\\"api_key\\": \\"Ab3dE6gH9k\\"}',
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(words: str) -> None:
    masked = redact(words)
    assert MASK in masked
    assert "dE6gH9k" not in masked


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens=5 prompt_tokens=17 key_id=k2345678 name=coder", "ansambl-requests-of-the-week",
        "task-list of today",
        "the key of models.big is wrong; set models.big.key", "api_key=None", "http://127.0.0.1:8484/v1/models",
        "event=instance_ready model=big seconds=0.8", "mail to me@example.org", "sk-short", "Bearer of news",
    ],
)  # fmt: skip
def test_plain_words_stay(words: str) -> None:
    assert redact(words) == words


def test_a_field_that_is_named_like_a_secret_is_masked_whole() -> None:
    assert redacted_field("api_key", "abc") == MASK
    assert redacted_field("token", ["abc"]) == MASK
    assert redacted_field("key_id", "k2345678") == "k2345678"
    assert redacted_field("tokens", 5) == 5
    assert redacted({"deep": [{"Authorization": "abc"}]}) == {"deep": [{"Authorization": MASK}]}


def test_what_is_short_is_no_secret_and_what_is_forgotten_is_none() -> None:
    register_secret("short")
    assert redact("short") == "short"
    register_secret("a longer one")
    register_secret("a longer one")
    forget_secret("a longer one")
    assert redact("a longer one") == MASK
    forget_secret("a longer one")
    assert redact("a longer one") == "a longer one"


def test_the_register_is_bounded() -> None:
    for number in range(redaction.MOST + 10):
        register_secret(f"secret number {number:05d}")
    assert len(registered_secrets()) == redaction.MOST
    assert redact(f"secret number {redaction.MOST + 9:05d}") == MASK


def test_what_lasts_is_masked_however_many_runs_come_after_it() -> None:
    register_secret("the token of Ansambl", lasting=True)
    try:
        for number in range(redaction.MOST + 10):
            register_secret(f"secret number {number:05d}")
        assert redact("the token of Ansambl") == MASK
        assert len(registered_secrets()) == redaction.MOST + 1
    finally:
        forget_secret("the token of Ansambl")
    assert redact("the token of Ansambl") == "the token of Ansambl"


def fail(words: str) -> None:
    raise ValueError(words)


def test_no_line_of_the_log_holds_one_whoever_writes_it(tmp_path: Path) -> None:
    secret = 'my "own" key\nof two lines'
    register_secret(secret)
    root = logging.getLogger()
    handlers, level, configured = list(root.handlers), root.level, structlog.get_config()
    root.handlers = []
    try:
        file = tmp_path / "ansambl.log"
        configure(file)
        log = get_logger("x")
        running = begin_request("req_1")
        try:
            fail(f"cannot use {secret} or {API_KEY}")
        except ValueError:
            log.exception("broken", deep={"headers": [secret]}, raw=secret.encode(), api_key="abc", token_count=3)
            logging.getLogger("aiohttp.client").exception("%s failed", {"Authorization": f"Bearer {API_KEY}"})
        running.over = True
        log.info("later")
        content = file.read_text(encoding="utf-8")
    finally:
        for one in root.handlers:
            one.close()
        root.handlers, root.level = handlers, level
        structlog.configure(**configured)
    assert content.count("Traceback") == 2
    assert all(part not in content for part in ("own", "of two lines", API_KEY, "abc"))
    assert "token_count=3" in content
    assert "event=broken" in content.splitlines()[0]
    assert "request=req_1" in content.splitlines()[0]
    assert "request=" not in content.splitlines()[-1]
