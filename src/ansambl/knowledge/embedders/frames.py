"""Messages between Ansambl and the process of the bundled model: a length, then msgpack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import msgspec

from ansambl.foundation.child_process import with_length

LARGEST = 64 << 20
"""Bytes of one message. A batch of passages is thousands of times smaller."""

LONGEST_QUESTION, LONGEST_PASSAGE = 2_000, 8_000
"""Characters. A passage is at most 512 tokens; longer texts are read in windows, seconds each, for a blurred vector."""


class Ask(msgspec.Struct, frozen=True):
    """Texts to be made into vectors: questions or passages. `number` comes back with the answer."""

    number: int
    questions: bool
    texts: list[str]


class Answer(msgspec.Struct, frozen=True):
    """The vectors of `Ask.number`: rows of 32-bit floats, one behind the other. `seconds` is what it took.

    `problem` says what went wrong instead. The first answer has the number 0 and no vectors: the model is loaded.
    """

    number: int
    dimension: int = 0
    vectors: bytes = b""
    seconds: float = 0.0
    problem: str = ""


def asked(number: int, texts: Sequence[str], *, questions: bool) -> Ask:
    """A message with texts as the pipe and the model's C code can take them.

    Without zero bytes, at which a text would end there, and without halves of characters.
    """
    most = LONGEST_QUESTION if questions else LONGEST_PASSAGE
    sound = [one[:most].replace("\0", " ").encode("utf-8", "replace").decode("utf-8") for one in texts]
    return Ask(number, questions, sound)


def write_frame(pipe: IO[bytes], message: Ask | Answer) -> None:
    """Send one message.

    Raises:
        OSError: nobody reads any more.
    """
    pipe.write(with_length(msgspec.msgpack.encode(message)))
    pipe.flush()
