"""How much memory a placement needs of each device, by each engine's own rules."""

from ansambl.planner.memory.extras import Draft, Extras, Lora, Projector
from ansambl.planner.memory.forecast import (
    ENGINES,
    fewest_expert_layers_in_ram,
    forecast,
    largest_context,
    most_parallel,
)
from ansambl.planner.memory.inputs import MemoryInputs, UnknownSettingError
from ansambl.planner.memory.training import TrainingInputs, TrainingMethod, TrainingOptimizer, forecast_training

__all__ = [
    "ENGINES",
    "Draft",
    "Extras",
    "Lora",
    "MemoryInputs",
    "Projector",
    "TrainingInputs",
    "TrainingMethod",
    "TrainingOptimizer",
    "UnknownSettingError",
    "fewest_expert_layers_in_ram",
    "forecast",
    "forecast_training",
    "largest_context",
    "most_parallel",
]
