"""How the threads of an engine on the processor wait for each other: the environment of OpenMP's GNU library."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType({"OMP_WAIT_POLICY": "passive"})
"""Sleep while waiting.

Threads that spin for ever make generation 30 times slower on a busy machine (0.8 instead of 30 tokens/s with two other
processes on two cores). A short spin before the sleep (GOMP_SPINCOUNT=10000) doubles the speed of an idle machine (65
instead of 30 tokens/s) and was tried: beside two more engines on two cores it gave 2 to 6 tokens/s, and sleeping at
once 18 to 79 (llama.cpp 2026.10.11549, a model of 135M, 2026-11-22). Who has a machine for one engine sets the variable
in ``models.NAME.environment``.
"""
