"""How the threads of an engine on the processor wait for each other: the environment of OpenMP's GNU library."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"})
"""Sleep while waiting, but not at once.

Threads that spin for ever make generation 30 times slower on a busy machine (0.8 instead of 30 tokens/s with two other
processes on two cores). Threads that sleep at once cost an idle machine half of its speed: a token has hundreds of
meetings, and each wakes a thread (29.9 tokens/s). Some ten microseconds of spinning first give 65.3 tokens/s when
idle, as endless spinning does, and what sleeping at once gives when busy (llama.cpp 2026.10.11549, a model of 135M, two
cores, 2026-11-22). Other OpenMP libraries ignore the second variable.
"""
