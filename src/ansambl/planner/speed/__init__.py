"""How fast a placement answers: a roofline with factors fitted to measurements."""

from ansambl.planner.speed.forecast import ENGINES, decode_after, forecast
from ansambl.planner.speed.inputs import Part, SpeedInputs, spread_over, with_experts_in_ram

__all__ = ["ENGINES", "Part", "SpeedInputs", "decode_after", "forecast", "spread_over", "with_experts_in_ram"]
