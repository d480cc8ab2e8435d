"""Which collections a key reads: those of the roles that it may use, and no others."""

from __future__ import annotations

from ansambl.domain.access import ANSWERING, COUNTED, EVERYTHING, OWNER, Caller, Endpoint
from ansambl.domain.role import Ensemble, Pattern, Role
from ansambl.roles.collection_rights import allowed, readable
from ansambl.roles.records import RoleCatalog

CATALOG = RoleCatalog(
    roles={
        "lawyer": Role("lawyer", "", collections=("contracts", "laws")),
        "doctor": Role("doctor", "", collections=("patients",)),
        "judge": Role("judge", "", collections=("verdicts",)),
        "coder": Role("coder", ""),
    },
    ensembles={
        "court": Ensemble("court", Pattern.COUNCIL, ("lawyer",), conductor="judge"),
        "building": Ensemble("building", Pattern.ROUTE, ("court", "coder")),
    },
    models={},
)


def test_the_owner_and_a_key_without_names_read_everything() -> None:
    assert readable(OWNER, CATALOG) is None
    assert readable(Caller("k"), CATALOG) is None
    assert allowed(Caller("k"), CATALOG, None) is None
    assert allowed(Caller("k"), CATALOG, ["b", "a", "b"]) == ("b", "a")


def test_a_key_with_names_reads_what_its_roles_read() -> None:
    assert readable(Caller("k", names=frozenset({"lawyer"})), CATALOG) == {"contracts", "laws"}
    assert readable(Caller("k", names=frozenset({"lawyer", "doctor"})), CATALOG) == {"contracts", "laws", "patients"}


def test_a_key_reads_what_the_members_of_its_ensembles_read_however_deep() -> None:
    assert readable(Caller("k", names=frozenset({"building"})), CATALOG) == {"contracts", "laws", "verdicts"}


def test_a_key_for_a_model_or_for_nothing_reads_nothing() -> None:
    for names in ({"embedded"}, {"coder"}, set()):
        caller = Caller("k", names=frozenset(names))
        assert readable(caller, CATALOG) == frozenset()
        assert allowed(caller, CATALOG, None) == ()
        assert allowed(caller, CATALOG, ["patients"]) == ()


def test_what_may_not_be_read_is_left_out_of_what_is_asked_for() -> None:
    caller = Caller("k", names=frozenset({"lawyer"}))
    assert allowed(caller, CATALOG, ["patients", "laws", "nothing"]) == ("laws",)
    assert allowed(caller, CATALOG, None) == ("contracts", "laws")


def test_a_caller_finds_what_is_for_everybody_and_its_own() -> None:
    assert Caller("k1").document_owners == ("", "k1")
    assert OWNER.document_owners == ("", "local")


def test_knowledge_must_be_allowed_to_a_key_and_counts_against_its_limits() -> None:
    assert Endpoint.KNOWLEDGE not in ANSWERING
    assert Endpoint.KNOWLEDGE in COUNTED
    assert Endpoint.KNOWLEDGE in EVERYTHING
