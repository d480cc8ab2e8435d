"""Verdicts: what a run can show, also that something is not worth it."""

from dataclasses import replace

import pytest

from ansambl.domain.role import Layout
from ansambl.evaluation.document import summary_document
from ansambl.evaluation.grading import State
from ansambl.evaluation.records import Contestant, ContestantKind, Cost, Outcome, Settings
from ansambl.evaluation.summary import Judgement, comparisons_of, summarise
from ansambl.evaluation.task_file import TaskSet

PLAIN = Contestant("m", ContestantKind.MODEL, shown="plain")
COUNCIL = Contestant("council", ContestantKind.ENSEMBLE)
CHEAP, DEAR = Cost(100, 20, 40, 1.0), Cost(300, 60, 40, 3.0)


def outcomes(label, rights, cost, **fields):
    kept = {"kind": "number", "language": "en", **fields}
    return [
        Outcome(f"t{index}", label, 0, state=State.RIGHT if right else State.WRONG, cost=cost, **kept)
        for index, right in enumerate(rights)
    ]


def compare(plain, council, ours=DEAR, theirs=CHEAP):
    found = summarise((PLAIN, COUNCIL), [*outcomes("plain", plain, theirs), *outcomes("council", council, ours)])
    (comparison,) = found.comparisons
    return comparison


def test_a_shown_gain_is_told_with_its_price():
    found = compare([0] * 30 + [1] * 30, [1] * 55 + [0] * 5)
    assert found.judgement is Judgement.BETTER
    assert str(found.verdict).startswith("better than plain by 41.7 points (+")
    # (300 - 40 + 60) / (100 - 40 + 20) tokens, 3.0 / 1.0 seconds.
    assert str(found.verdict).endswith("for 4.0 times the tokens and 3.0 times the time")
    assert (found.tokens_ratio, found.generated_ratio, found.seconds_ratio) == (4.0, 3.0, 3.0)


def test_a_dearer_loss_is_not_worth_it():
    found = compare([1] * 40 + [0] * 20, [0] * 50 + [1] * 10)
    assert found.judgement is Judgement.NOT_WORTH_IT
    assert str(found.verdict).startswith("not worth it: worse than plain by 50 points")


def test_a_cheaper_loss_is_a_choice():
    assert compare([1] * 40 + [0] * 20, [0] * 50 + [1] * 10, CHEAP, DEAR).judgement is Judgement.WORSE_BUT_CHEAPER


def test_many_tasks_without_a_gain_show_that_it_is_not_worth_it():
    found = compare([1, 0] * 300, [1, 0] * 300)
    assert found.judgement is Judgement.NOT_WORTH_IT
    assert "no difference to plain could be shown, it is at most" in str(found.verdict)
    assert compare([1, 0] * 300, [1, 0] * 300, CHEAP, DEAR).judgement is Judgement.AS_GOOD
    assert compare([1, 0] * 300, [1, 0] * 300, CHEAP, CHEAP).judgement is Judgement.AS_GOOD


def test_few_tasks_tell_nothing_and_say_how_many_would():
    found = compare([1, 0, 1, 0, 0], [1, 1, 1, 0, 0])
    assert found.judgement is Judgement.CANNOT_TELL
    assert "5 tasks are too few, about " in str(found.verdict)
    assert found.difference.needed > 100


def test_no_common_task_compares_nothing():
    found = summarise((PLAIN, COUNCIL), outcomes("plain", [1], CHEAP))
    assert "no task that both" in str(found.comparisons[0].verdict)
    assert found.standings[1].right.value is None


def test_errors_and_what_was_not_run_are_never_wrong_answers():
    rows = outcomes("plain", [1, 1, 1, 1], CHEAP)
    rows[0] = replace(rows[0], state=State.ERROR, reason="broke", cost=Cost())
    rows[1] = replace(rows[1], state=State.NOT_RUN, reason="no bwrap")
    (standing,) = summarise((PLAIN,), rows).standings
    assert (standing.right.value, standing.right.tasks) == (1.0, 2)
    assert (standing.errors, standing.not_run, standing.answers) == (1, 1, 3)
    assert dict(standing.reasons) == {"broke": 1, "no bwrap": 1}


def test_costs_are_compared_on_what_both_answered():
    rows = [*outcomes("plain", [1, 1], CHEAP), *outcomes("council", [1, 1], DEAR)]
    rows[2] = replace(rows[2], state=State.ERROR, cost=Cost())
    (found,) = summarise((PLAIN, COUNCIL), rows).comparisons
    assert found.seconds_ratio == 3.0


def test_refusals_of_harmless_questions_count_apart_by_language():
    rows = [
        *outcomes("plain", [1], CHEAP),
        Outcome("h1", "plain", 0, "harmless", "en", State.WRONG, refusal="I can't help", cost=CHEAP),
        Outcome("h2", "plain", 0, "harmless", "en", State.RIGHT, cost=CHEAP),
        Outcome("h3", "plain", 0, "harmless", "ru", State.RIGHT, cost=CHEAP),
    ]
    (standing,) = summarise((PLAIN,), rows).standings
    assert {one: share.value for one, share in standing.refused.items()} == {"en": 0.5, "ru": 0.0}
    assert standing.right.value == 1.0


def test_each_name_s_layouts_are_compared_with_each_other():
    shared, classic = (Contestant("coder", ContestantKind.ROLE, one) for one in (Layout.SHARED_PREFIX, Layout.CLASSIC))
    assert comparisons_of((PLAIN, shared, classic)) == [
        ("coder@shared-prefix", "plain"), ("coder@classic", "plain"), ("coder@shared-prefix", "coder@classic"),
    ]  # fmt: skip
    assert comparisons_of((shared, classic)) == [("coder@shared-prefix", "coder@classic")]


@pytest.mark.parametrize("rights", [[], [1, 0]])
def test_the_document_is_plain_json(rights):
    import json

    found = summarise((PLAIN, COUNCIL), outcomes("plain", rights, CHEAP))
    document = summary_document(found, TaskSet("x", (), "d"), Settings(), str)
    assert json.loads(json.dumps(document)) == document
    assert document["comparisons"][0]["judgement"] == "cannot-tell"
