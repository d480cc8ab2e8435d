"""What works with what: pure judging of rows that the app hands over."""

from ansambl.planner.compatibility.judge import judge
from ansambl.planner.compatibility.spelling import engine_names, find_engine, find_ui, plain_format, ui_names

__all__ = ["engine_names", "find_engine", "find_ui", "judge", "plain_format", "ui_names"]
