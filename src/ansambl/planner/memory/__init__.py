"""How much memory a placement needs of each device, by each engine's own rules."""

from ansambl.planner.memory.forecast import (
    ENGINES,
    fewest_expert_layers_in_ram,
    forecast,
    largest_context,
    most_parallel,
)
from ansambl.planner.memory.inputs import MemoryInputs

__all__ = [
    "ENGINES",
    "MemoryInputs",
    "fewest_expert_layers_in_ram",
    "forecast",
    "largest_context",
    "most_parallel",
]
