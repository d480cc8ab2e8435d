"""What works with what: pure judging of rows that the app hands over."""

from ansambl.planner.compatibility.judge import judge
from ansambl.planner.compatibility.spelling import find_engine, find_ui, plain_format
from ansambl.planner.compatibility.starting import StartJudgement, StartQuestion, judge_start

__all__ = ["StartJudgement", "StartQuestion", "find_engine", "find_ui", "judge", "judge_start", "plain_format"]
