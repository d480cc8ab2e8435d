"""Taking the port, and being told to stop."""

import asyncio
import os
import signal
import socket

import pytest

from ansambl.app import stop_signal
from ansambl.app.listening import PortTakenError, bind
from ansambl.app.stop_signal import StopSignal


def test_a_port_is_taken_once_and_says_by_whom():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert not first.get_inheritable()
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        with pytest.raises(PortTakenError) as raised:
            bind("127.0.0.1", port)
        assert str(port) in str(raised.value)
        assert str(os.getpid()) in str(raised.value)
        assert "\n" not in str(raised.value)
    with bind("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


def test_an_address_that_is_not_ours():
    with pytest.raises(PortTakenError) as raised:
        bind("192.0.2.1", 8484)
    assert "192.0.2.1" in str(raised.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_second_signal_hurries(number):
    stop = StopSignal()
    before = signal.getsignal(number)
    with stop.on_signals():
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.requested.wait(), 5)
        assert not stop.urgent.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.urgent.wait(), 5)
    assert signal.getsignal(number) in {before, signal.SIG_DFL, signal.default_int_handler}


@pytest.mark.parametrize(
    ("at_start", "later", "ignored", "stops"),
    [(True, False, False, True), (True, True, False, False), (False, False, False, False), (True, False, True, False)],
    ids=["the terminal was closed", "the terminal is still there", "there never was one", "under nohup"],
)
async def test_a_hangup_stops_when_the_terminal_was_closed_and_reloads_otherwise(
    monkeypatch, at_start, later, ignored, stops
):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    silenced = []
    monkeypatch.setattr(stop_signal, "silence", silenced.append)
    try:
        monkeypatch.setattr(stop_signal, "has_terminal", lambda: at_start)
        stop = StopSignal()
        monkeypatch.setattr(stop_signal, "has_terminal", lambda: later)
        with stop.on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.wait_for((stop.requested if stops else stop.reload).wait(), 5)
        assert (stop.requested.is_set(), stop.reload.is_set()) == (stops, not stops)
        assert bool(silenced) is stops
        # Under nohup the process ignores it again afterwards.
        assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) is ignored
    finally:
        signal.signal(signal.SIGHUP, before)
