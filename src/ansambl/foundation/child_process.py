"""Children of ours in Python: one starts in a session of its own, and speaks frames of bytes over pipes or a socket.

A child ends with us, because its input then ends. It runs what may crash, hang or fill the memory.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, BinaryIO

from ansambl.foundation.processes import signal_group

_LENGTH = struct.Struct("<I")
HEADER = _LENGTH.size
"""Bytes before a frame: its length, the lowest byte first."""


class FrameError(OSError):
    """A frame is longer than any that is sent: what comes are no frames."""


def command_of(module: str, *arguments: object) -> tuple[str, ...]:
    """The command that runs a module with this Python.

    With ``-P``, or a file in the folder where Ansambl was started could be taken for a library.
    """
    return (sys.executable, "-P", "-m", module, *map(str, arguments))


def start_child(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE, stderr: int = subprocess.DEVNULL, pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start it in a session of its own: Ctrl-C is ours to handle, and what it starts can be ended with it.

    `environment` is its whole one, ours when left out. `pass_fds` are the descriptors that it gets beside the streams.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(
        list(command), stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, pass_fds=pass_fds,
        env=None if environment is None else dict(environment),
    )  # fmt: skip


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a child of `start_child` with all that it started, if it has not ended; it is waited for elsewhere."""
    if process.poll() is None:
        signal_group(process.pid, signal.SIGKILL)


def private_output() -> BinaryIO:
    """In a child: its own way out. What libraries print goes to the standard error, and not between the frames."""
    ours = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(ours, "wb")


def with_length(content: bytes) -> bytes:
    """Content with its length before it."""
    return _LENGTH.pack(len(content)) + content


def length_of(header: bytes | bytearray) -> int:
    """The length that the first `HEADER` bytes of a frame tell."""
    (length,) = _LENGTH.unpack(header[:HEADER])
    return int(length)


def read_frame(stream: IO[bytes], most: int) -> bytes | None:
    """The content of the next frame; None at the end, also where that comes in the middle of a frame.

    The stream is buffered: one that gives less than it is asked for has ended.

    Raises:
        FrameError: it is longer than `most`.
        OSError: the stream broke.
    """
    header = stream.read(HEADER)
    if len(header) < HEADER:
        return None
    length = length_of(header)
    if length > most:
        message = f"a frame of {length} bytes, longer than any that is sent"
        raise FrameError(message)
    content = stream.read(length)
    return content if len(content) == length else None


def signal_name(code: int) -> str:
    """The name of the signal that ended a process with this negative return code."""
    return signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
