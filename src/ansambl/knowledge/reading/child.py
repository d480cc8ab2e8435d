"""The child process that reads: takes jobs from its standard input, answers with prepared documents, ends with it.

Started by `confined` as ``python -P -m ansambl.knowledge.reading.child``. Libraries may crash or fill the memory here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ansambl.foundation.child_process import private_output, read_frame
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.passages.preparing import prepared
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading import wire
from ansambl.knowledge.reading.limits import MIB, ReadingLimits
from ansambl.knowledge.reading.pinning import opened
from ansambl.knowledge.reading.read import digested
from ansambl.knowledge.reading.unexpected import Unexpected, refusal

_FILE_SIZE = 256 * MIB
"""Bytes of a file that the child may write: pages for an OCR program, what a library keeps beside it."""

_LARGEST_JOB = 512 * MIB
"""Bytes of a job. The largest ones bring a conversation."""

_NICENESS = 10
"""So that whoever waits for an answer goes first."""

_GRACE = 5.0
"""Seconds of processor time beyond those of a job: the parent's clock should be the one that ends it, in words."""


def main() -> None:
    """Serve jobs until the standard input ends."""
    answers = private_output()
    jobs: queue.Queue[wire.Job] = queue.Queue()
    threading.Thread(target=_hear, args=(sys.stdin.buffer, jobs), daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _FILE_SIZE)
    while True:
        job = jobs.get()
        confine(job.limits, job.seconds)
        try:
            for record in _records(job):
                answers.write(wire.frame(record))
                answers.flush()
        except BaseException as error:  # noqa: BLE001 - a panic of a library in Rust is no Exception
            answer = wire.Answer() if isinstance(error, MemoryError) else _refused(refusal(job.place, error))
            answers.write(wire.frame(replace(answer, spent=True)))
            answers.flush()
            # What is left of the memory, or of the library, is anybody's guess.
            os._exit(0)
        answers.write(wire.frame(wire.Answer()))
        answers.flush()


def confine(limits: ReadingLimits, seconds: float) -> None:
    """Set the system's limits for one job: memory, and processor time from now on."""
    # Address space is not limited: libraries reserve much and use little. The parent watches what is really used.
    _lower(resource.RLIMIT_DATA, limits.memory)
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + seconds + _GRACE) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (until if hard < 0 else min(until, hard), hard))


def _lower(what: int, value: int) -> None:
    hard = resource.getrlimit(what)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (value if hard < 0 else min(value, hard), hard))


def _hear(pipe: BinaryIO, jobs: queue.Queue[wire.Job]) -> None:
    """Take in jobs; where the parent is gone, be gone with all that was started from here, whatever is being read."""
    with contextlib.suppress(Exception):
        while (body := read_frame(pipe, _LARGEST_JOB)) is not None:
            jobs.put(wire.job(body))
    if os.getsid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _records(job: wire.Job) -> Iterator[wire.Answer]:
    if job.material is not None:
        digest = hashlib.sha256(job.material.text.encode()).hexdigest()
        found: Iterator[Prepared | Refused] = iter((prepared(job.material, digest, limits=job.passages),))
    else:
        path = Path(os.fsdecode(job.path))
        found = _chats(path, job) if job.chats else _documents(path, job)
    for one in found:
        yield _refused(one) if isinstance(one, Refused) else wire.Answer(prepared=one)


def _refused(one: Refused) -> wire.Answer:
    mistake = (one.error, *one.at) if isinstance(one, Unexpected) else ()
    return wire.Answer(refused=Refused(one.place, one.reason, note=one.note), mistake=mistake)


def _documents(path: Path, job: wire.Job) -> Iterator[Prepared | Refused]:
    for one in digested(path, job.place, job.limits, job.options):
        yield one if isinstance(one, Refused) else prepared(one.material, one.digest, limits=job.passages)


def _chats(path: Path, job: wire.Job) -> Iterator[Prepared | Refused]:
    from ansambl.knowledge.importing import exports, kept
    from ansambl.knowledge.importing.material import material_of

    for one in exports.conversations(path, day_first=job.day_first, opener=partial(opened, roots=job.options.roots)):
        if isinstance(one, Refused):
            yield one
        else:
            yield prepared(material_of(one), kept.digest(one), one, job.passages)


if __name__ == "__main__":
    main()
