"""What an option of a plan says of its roles."""

from ansambl.domain.planning import PlanOption
from ansambl.domain.text import text


def test_roles_with_company_and_no_shared_prefix_are_named():
    option = PlanOption(
        "one", text("One"), (), {"coder": "a", "brief": "a", "planner": "a", "lonely": "b"},
        prefix_groups=(("coder", "brief"),),
    )  # fmt: skip
    assert option.prefilling_roles == ("planner",)


def test_roles_alone_on_their_placements_have_nothing_to_share():
    assert PlanOption("one", text("One"), (), {"coder": "a", "brief": "b"}).prefilling_roles == ()
