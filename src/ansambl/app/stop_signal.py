"""What the process is told while it serves: to stop, to hurry, to read its configuration again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from ansambl.foundation.terminals import has_terminal, silence, terminal_streams


class StopSignal:
    """What the process was told by signals or the admin API.

    `requested` is set by SIGINT, SIGTERM or the admin API; `urgent` after the second one: do not wait for answers.
    SIGHUP asks to stop when the terminal that Ansambl was started in was closed, and to read the configuration again
    (`reload`) otherwise: when the terminal is still there, when there never was one, and under nohup.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.urgent = asyncio.Event()
        self.reload = asyncio.Event()
        self._ends_with_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._shown_on = terminal_streams()

    def set(self) -> None:
        """Ask to stop, or to hurry when that was asked already."""
        if self.requested.is_set():
            self.urgent.set()
        self.requested.set()

    def hang_up(self) -> None:
        """What SIGHUP asks for."""
        if self._ends_with_terminal and not has_terminal():
            # The last words have nowhere to go, and saying them must not break the stop off.
            silence(self._shown_on)
            self.set()
        else:
            self.reload.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Listen to the process's signals while the context lasts."""
        loop = asyncio.get_running_loop()
        actions = {signal.SIGINT: self.set, signal.SIGTERM: self.set, signal.SIGHUP: self.hang_up}
        before = {number: signal.getsignal(number) for number in actions}
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number in actions:
                loop.remove_signal_handler(number)
                if before[number] is signal.SIG_IGN:
                    signal.signal(number, signal.SIG_IGN)
