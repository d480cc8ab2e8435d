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
    "llama.cpp decode": 0.2964,
    "vllm decode": 0.6122,
    "llama.cpp prefill": 0.899,
    "vllm prefill": 0.899,
}
"""By ``"engine phase"``, the natural logarithm of the factor that the range reaches to either side."""
