"""What works with what: pure judging of rows that the app hands over."""

from ansambl.planner.compatibility.judge import judge
from ansambl.planner.compatibility.spelling import find_engine, find_ui, plain_format

__all__ = ["find_engine", "find_ui", "judge", "plain_format"]
