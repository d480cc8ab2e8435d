"""Bars of memory: their figures are there whatever the terminal's width."""

import pytest

from ansambl.cli.memory_bars import WIDTH, Bar, draw, print_memory
from ansambl.domain.device import DeviceKind
from ansambl.domain.footprint import DeviceFootprint, Range
from ansambl.domain.units import GIB, Bytes

DEVICE = DeviceFootprint(
    name="RTX 4090", kind=DeviceKind.GPU, index=0, capacity=Bytes(24 * GIB), usable=Bytes(23 * GIB),
    weights=Range.exactly(12 * GIB), kv_needed=Range.exactly(6 * GIB),
)  # fmt: skip


def test_a_bar_has_each_part_in_proportion():
    drawn = draw(Bar("RTX 4090", 24 * GIB, ((12 * GIB, 0), (6 * GIB, 1)), "", fits=True)).plain
    assert len(drawn) == WIDTH
    assert (drawn.count("█"), drawn.count("▓"), drawn.count("·")) == (WIDTH // 2, WIDTH // 4, WIDTH // 4)


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_figures_are_never_cut_off(capsys, monkeypatch, columns):
    monkeypatch.setattr("ansambl.cli.output._PIPE_WIDTH", columns)
    print_memory([DEVICE])
    out = capsys.readouterr().out
    assert "18.0 GiB of 23.0 GiB usable (up to 18.0 GiB)" in " ".join(out.split())
    assert "…" not in out
    assert all(len(line.rstrip()) <= columns for line in out.splitlines())


def test_what_is_over_is_cut_off():
    assert draw(Bar("small", GIB, ((3 * GIB, 0), (GIB, 1)), "", fits=False)).plain == "█" * WIDTH
