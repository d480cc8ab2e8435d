"""Conversations that come back in the product: after a restart, after a swap, and not where they are not kept."""

from __future__ import annotations

import signal
import stat

import pytest

pytestmark = pytest.mark.engine

MODELS = """
[models.first]
checkpoint = "embedded"
context = 2048
parallel = 1

[models.second]
checkpoint = "embedded"
context = 1024
parallel = 1
"""
ONE_FITS = '[budget]\nram = "350MiB"\n'
"""Predicted are about 260 MiB for the first and 220 MiB for the second."""

TOLD = " ".join(f"Anna {number} likes thing {number * 13 % 97}." for number in range(45))
FIRST_TURN = [{"role": "user", "content": f"{TOLD} What does Anna 3 like?"}]


def next_turn(answer):
    words = answer["choices"][0]["message"]["content"]
    return [*FIRST_TURN, {"role": "assistant", "content": words}, {"role": "user", "content": "And the next one?"}]


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def asked(product, model, *messages):
    answer = product.chat(model, *messages)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_conversation_goes_on_after_a_restart(start, data_folder):
    product = start(MODELS)
    answer = asked(product, "first", *FIRST_TURN)
    known = answer["usage"]["total_tokens"]
    assert known > 400
    assert product.stop(signal.SIGTERM) == 0
    (file,) = (data_folder / "conversations").glob("*.state")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    product = start(MODELS)
    answer = asked(product, "first", *next_turn(answer))
    assert cached(answer) >= 0.95 * known
    # What was proven stays, and the longer conversation takes its place.
    assert product.stop() == 0
    (later,) = (data_folder / "conversations").glob("*.state")
    assert later.name != file.name


def test_a_conversation_goes_on_after_a_swap(start, data_folder):
    product = start(MODELS + ONE_FITS)
    answer = asked(product, "first", *FIRST_TURN)
    known = answer["usage"]["total_tokens"]
    asked(product, "second", "What is the capital of France?")
    assert product.instance("first")["state"] == "stopped"
    again = asked(product, "first", *next_turn(answer))
    assert cached(again) >= 0.95 * known
    assert list((data_folder / "conversations").glob("*.state"))


def test_a_changed_file_is_discarded_and_nothing_is_kept_where_that_is_switched_off(start, data_folder):
    folder = data_folder / "conversations"
    product = start(MODELS)
    answer = asked(product, "first", *FIRST_TURN)
    product.stop()
    (file,) = folder.glob("*.state")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    product = start(MODELS)
    answer = asked(product, "first", *next_turn(answer))
    assert cached(answer) < 64
    assert not file.exists()
    assert [one["kind"] for one in product.state()["events"]].count("conversation_corrupt") == 1
    product.stop()
    assert len(list(folder.glob("*.state"))) == 1
    product = start(MODELS + "[conversations]\npersist = false\n")
    assert not folder.exists()
    assert cached(asked(product, "first", *FIRST_TURN)) < 64
    product.stop()
    assert not folder.exists()
