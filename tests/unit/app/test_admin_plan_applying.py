"""Putting a plan into effect in a running Ansambl: what it asks of the pulls."""

from __future__ import annotations

from ansambl.app.admin.plan_applying import PlanApplying
from ansambl.app.plan_change import Change, Fetching
from ansambl.domain.errors import UnavailableError
from ansambl.domain.names import folded
from ansambl.domain.text import text
from ansambl.domain.units import Bytes


class Desk:
    """Pulls that ask for a licence, as the real ones do, and then find no hub."""

    offline = False

    def __init__(self):
        self.asked = []

    def pull(self, wanted, *, engine=None, accepted=()):
        self.asked.append((wanted, engine, {folded(one) for one in accepted}))
        raise UnavailableError(text("there is no hub"), retry_after=None)


async def test_a_licence_that_was_agreed_to_is_accepted_by_its_whole_name(tmp_path):
    fetches = (
        Fetching("a", "A", "o/a:Q4_K_M", Bytes(9), "gemma", here=False, accept="gemma"),
        Fetching("b", "B", "o/b:Q4_K_M", Bytes(9), "apache-2.0", here=False),
    )
    change = Change(
        text("Plan"), fetches, Bytes(2**40), tmp_path, {}, (), (), (), tmp_path / "ansambl.toml", True, "", "", "", {}
    )
    desk = Desk()
    applying = PlanApplying(desk)

    async def reload():
        raise AssertionError("nothing was fetched")

    applying.reload = reload
    assert "(gemma)" in str(applying.refusal(change, frozenset()).message)
    applying.begin(change, None, frozenset({"gemma"}))
    await applying._task
    assert desk.asked == [("o/a:Q4_K_M", None, {"gemma"})]
    assert applying.document(lambda one: one).error == "there is no hub"
