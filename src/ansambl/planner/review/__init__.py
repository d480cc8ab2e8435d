"""Judging a choice that a user states: facts in, findings out."""

from ansambl.planner.review.facts import ReviewFacts, Stated
from ansambl.planner.review.judge import review_findings
from ansambl.planner.review.training import training_findings

__all__ = ["ReviewFacts", "Stated", "review_findings", "training_findings"]
