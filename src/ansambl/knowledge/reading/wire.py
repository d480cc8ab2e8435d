"""What Ansambl and its reading child say to each other: msgpack frames over pipes, never pickle."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ansambl.domain.knowledge import Material
from ansambl.foundation.child_process import with_length
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.passages.limits import DEFAULT, PassageLimits
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS, ReadingLimits
from ansambl.knowledge.reading.options import DEFAULT_OPTIONS, ReadingOptions


@dataclass(frozen=True, slots=True)
class Job:
    """Read this. `path` is as the file system has it, in bytes; `seconds` is how long it may compute.

    With `chats`, it is an export of conversations, whose dates have the day first, or not, or it is to be found out.
    With `material`, nothing is read: that is to be divided.
    """

    path: bytes
    place: str
    seconds: float
    chats: bool = False
    day_first: bool | None = None
    material: Material | None = None
    passages: PassageLimits = DEFAULT
    limits: ReadingLimits = DEFAULT_LIMITS
    options: ReadingOptions = DEFAULT_OPTIONS


@dataclass(frozen=True, slots=True)
class Answer:
    """One record of a job, or its end where all are empty.

    With `spent`, the child is of no more use and nothing more comes: `refused` says why, or memory ran out. `mistake`
    is what the log is told of an error of ours: its kind, and places of the code.
    """

    prepared: Prepared | None = None
    refused: Refused | None = None
    spent: bool = False
    mistake: tuple[str, ...] = ()


_jobs = msgspec.msgpack.Decoder(Job)
_answers = msgspec.msgpack.Decoder(Answer)
_encoder = msgspec.msgpack.Encoder()


def frame(record: Job | Answer) -> bytes:
    """A record with its length before it."""
    return with_length(_encoder.encode(record))


def job(body: bytes) -> Job:
    """The job in the body of a frame."""
    return _jobs.decode(body)


def answer(body: bytes | bytearray) -> Answer:
    """The answer in the body of a frame.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _answers.decode(body)
