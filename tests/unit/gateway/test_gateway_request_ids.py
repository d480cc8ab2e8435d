"""Ids of requests: a client's when it is sane, else short ones that sort in the order of their making."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansambl.gateway.observing.request_log import RequestIds, request_id, shown_path


def test_ids_are_short_unique_and_in_order() -> None:
    ids = RequestIds()
    made = [ids.make() for _ in range(5000)]
    assert len(set(made)) == 5000
    assert made == sorted(made)
    assert {len(one) for one in made} == {20}


@given(given_id=st.binary(max_size=200))
def test_whatever_a_client_sends_the_id_is_printable_and_bounded(given_id: bytes) -> None:
    found = request_id({"headers": [(b"x-request-id", given_id)]})
    assert 1 <= len(found) <= 128
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(" \"'<>\\,;\r\n")
    assert found == given_id.decode("latin-1") or found.startswith("req_")


def test_a_client_finds_its_own_id_again() -> None:
    for one in (b"a", b"7f1f-22", b"Root=1-67891233-abcdef012345678912345678", b"x" * 128):
        assert request_id({"headers": [(b"x-request-id", one)]}) == one.decode()
    assert request_id({"headers": []}).startswith("req_")


def test_a_path_is_shown_without_what_looks_like_a_secret() -> None:
    assert shown_path("/v1/" + "x" * 500) == "/v1/" + "x" * 196
    assert "Ab3d" not in shown_path("/v1/ansambl-" + "Ab3dE6gH9k" * 5)
