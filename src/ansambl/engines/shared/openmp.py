"""How the threads of an engine on the processor wait for each other: the environment of OpenMP's GNU library."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType({"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "300"})
"""Sleep while waiting, after a spin of some ten microseconds.

Threads that spin for ever make generation 30 times slower on a busy machine (0.8 instead of 30 tokens/s with two other
processes on two cores). Threads that sleep at once halve the speed of an idle one, because a token has hundreds of
meetings and each wakes a thread: 34 tokens/s; with a spin of 100 turns 44, of 300 turns 72, of 10,000 turns 84. Beside
a second engine at work on the same two cores no spin gives 73 tokens/s to each, 100 turns 67, 300 turns 51, 1,000 turns
29, and 10,000 turns beside two engines as few as 2 to 6. So 300: twice as quick alone, a third slower in company
(llama.cpp 2026.10.11549, a model of 135M, 2026-11-22). Other OpenMP libraries ignore the second variable, and
``models.NAME.environment`` replaces both.
"""
