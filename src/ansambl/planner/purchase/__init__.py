"""Purchase: second machines put together from priced parts, ranked by what they add for the goal per dollar."""

from ansambl.planner.purchase.advice import LEAST_GAIN, NOTHING, advise
from ansambl.planner.purchase.search_machine import SEARCH_ONLY

__all__ = ["LEAST_GAIN", "NOTHING", "SEARCH_ONLY", "advise"]
