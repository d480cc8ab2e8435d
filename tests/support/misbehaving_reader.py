"""The reading child with one more format, `.evil`, whose first word says what goes wrong."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansambl.knowledge.reading import child
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading
from ansambl.knowledge.reading.formats import registry


def segfault() -> None:
    ctypes.string_at(0)


def panic() -> None:
    # What a library in Rust raises: no Exception.
    raise BaseException("panicked at slice.rs")  # noqa: TRY002


def spin() -> None:
    while True:
        pass


def memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def talk() -> None:
    os.write(1, b"\0\0\0\5hello")


def grandchild() -> None:
    started = subprocess.Popen(("sleep", "600"))
    Path(os.environ["EVIL_NOTES"]).write_text(str(started.pid), encoding="ascii")
    time.sleep(600)


def mistake() -> None:
    # As if it stood in a format of ours.
    exec("not_defined", {"__name__": "ansambl.knowledge.reading.formats.evil"})  # noqa: S102


DEEDS: dict[str, Callable[[], None]] = {
    "segfault": segfault, "panic": panic, "exit": lambda: os._exit(3), "hang": lambda: time.sleep(600), "spin": spin,
    "memory": memory, "print": talk, "abort": lambda: os.kill(os.getpid(), signal.SIGABRT), "grandchild": grandchild,
    "mistake": mistake,
}  # fmt: skip


def read(content: Content, _: Reading) -> Iterator[Draft]:
    what = content.data().decode()
    DEEDS.get(what, lambda: None)()
    for number in range(10**6 if what == "endless" else 0):
        yield Draft(f"text number {number}")
    yield Draft(what)


if __name__ == "__main__":
    evil = Format("evil", read, frozenset((".evil",)), recognises=lambda content: content.suffix == ".evil")
    registry.FORMATS = (evil, *registry.FORMATS)
    sys.argv = sys.argv[:1]
    child.main()
