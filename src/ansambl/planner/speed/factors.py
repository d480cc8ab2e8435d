"""Written by tools/fit_speed.py from tests/data/planner/speed_cases.json; do not edit."""

from __future__ import annotations

from ansambl.planner.speed.roofline import Factors

PROVENANCE = "tools/fit_speed.py on 89 measurements of 9 sources"
"""Where the factors are from."""

_BANDWIDTH = {
    "llama.cpp gpu": 0.8467,
    "llama.cpp amd": 0.8467,
    "llama.cpp stacked": 0.5452,
    "llama.cpp unified": 0.9554,
    "llama.cpp ram": 0.7177,
    "vllm gpu": 0.8467,
    "vllm stacked": 0.8467,
}
_SECONDS = {
    "llama.cpp gpu": 7.576e-05,
    "llama.cpp stacked": 7.576e-05,
    "llama.cpp amd": 0.0002594,
    "llama.cpp unified": 0.0002283,
    "llama.cpp ram": 0,
    "vllm gpu": 7.953e-05,
    "vllm stacked": 7.953e-05,
}
_OPERATIONS = {
    "llama.cpp gpu": 0.8923,
    "llama.cpp wide": 0.2179,
    "vllm gpu": 0.8314,
    "vllm wide": 0.5587,
}

FACTORS = Factors(_BANDWIDTH, _SECONDS, _OPERATIONS, experts=0.5818)
"""The fitted factors."""

SPREAD = {
    "llama.cpp decode gpu": 0.2964,
    "llama.cpp decode amd": 0.2964,
    "llama.cpp decode stacked": 0.2964,
    "llama.cpp decode unified": 0.2964,
    "llama.cpp decode ram": 0.2964,
    "vllm decode gpu": 0.4268,
    "vllm decode stacked": 0.4268,
    "llama.cpp prefill gpu": 0.899,
    "llama.cpp prefill amd": 0.899,
    "llama.cpp prefill stacked": 0.899,
    "llama.cpp prefill unified": 0.899,
    "llama.cpp prefill ram": 0.899,
    "vllm prefill gpu": 0.899,
    "vllm prefill stacked": 0.899,
}
"""By ``"engine phase class"``, the natural logarithm of the factor to either side."""
