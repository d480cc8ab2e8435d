"""Placement: which checkpoints run where, with which engine, together or by turns, and which role runs on which."""

from ansambl.planner.placement.inputs import PlanInputs, RoleNeed, Wants
from ansambl.planner.placement.options import solve
from ansambl.planner.placement.rules import WorthRules

__all__ = ["PlanInputs", "RoleNeed", "Wants", "WorthRules", "solve"]
