"""Frames of bytes, and children of ours that are started for them."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.foundation.child_process import (
    FrameError,
    command_of,
    kill,
    length_of,
    read_frame,
    signal_name,
    start_child,
    with_length,
)


@given(contents=st.lists(st.binary(max_size=100), max_size=5), cut=st.integers(1, 3))
@settings(max_examples=50)
def test_frames_come_out_as_they_went_in_and_end_where_they_are_cut_off(contents: list[bytes], cut: int) -> None:
    """Whole ones come in order; what was cut off in its length or its content is an end."""
    sent = b"".join(map(with_length, contents))
    whole = io.BytesIO(sent)
    assert [read_frame(whole, 100) for _ in contents] == contents
    assert read_frame(whole, 100) is None
    assert read_frame(io.BytesIO(with_length(b"abc")[:-cut]), 100) is None
    assert read_frame(io.BytesIO(with_length(b"abc")[:cut]), 100) is None


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    """Whatever its length claims, nothing of that size is made."""
    claimed = b"\xff\xff\xff\xff"
    assert length_of(claimed) == 2**32 - 1
    with pytest.raises(FrameError, match="longer"):
        read_frame(io.BytesIO(claimed + b"abc"), 1 << 20)
    assert read_frame(io.BytesIO(with_length(b"abc")), 3) == b"abc"
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(with_length(b"abcd")), 3)


def test_a_child_takes_no_library_from_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a library's name in the folder where Ansambl was started must not run."""
    (tmp_path / "this.py").write_text("import sys; sys.exit(7)")
    monkeypatch.chdir(tmp_path)
    child = start_child(command_of("this"))
    said, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    assert b"Zen" in said


def test_a_child_leads_a_session_and_is_killed_with_what_it_started() -> None:
    """Its own child goes, too; who has ended already is left alone."""
    child = start_child(["sh", "-c", "sleep 60 & echo $!; wait"])
    with child:
        assert child.stdout is not None
        inner = int(child.stdout.readline())
        assert os.getsid(inner) == child.pid
        kill(child)
        # It ends when nobody is left who could write into the pipe.
        assert child.stdout.read() == b""
    assert signal_name(child.returncode) == "SIGKILL"
    kill(child)


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    """As the system may know more of them than Python does."""
    assert signal_name(-int(signal.SIGSEGV)) == "SIGSEGV"
    assert signal_name(-200) == "200"
