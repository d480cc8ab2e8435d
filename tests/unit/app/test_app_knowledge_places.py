"""Places that are named from afar: what lies in the roots may be read, and nothing else."""

from pathlib import Path

import pytest

from ansambl.app.knowledge.places import checked_path
from ansambl.domain.access import ForbiddenError
from ansambl.domain.errors import RequestError, UsageError
from ansambl.knowledge.reading.roots import resolved_roots


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in/a.txt", "out/b.txt", "in-not/c.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    (tmp_path / "in/link").symlink_to(tmp_path / "out")
    return tmp_path


@pytest.mark.parametrize("wanted", ["in/a.txt", "in", "in-not/../in/a.txt"])
def test_what_lies_in_the_roots_may_be_read(folder: Path, wanted: str):
    assert checked_path(f"{folder}/{wanted}", resolved_roots([folder / "in"])) == str((folder / wanted).resolve())


@pytest.mark.parametrize("wanted", ["in/../out/b.txt", "in/link/b.txt", "in-not/c.txt", "out", "nothing"])
def test_what_lies_outside_of_them_may_not(folder: Path, wanted: str):
    with pytest.raises(ForbiddenError, match="outside"):
        checked_path(f"{folder}/{wanted}", resolved_roots([folder / "in"]))
    with pytest.raises(ForbiddenError, match="outside"):
        checked_path(f"{folder}/in/a.txt", ())


@pytest.mark.parametrize("wanted", ["a.txt", "", "/a\0b"])
def test_a_place_is_an_absolute_path(wanted: str):
    for roots in ((), ("/",), None):
        with pytest.raises(UsageError, match="absolute"):
            checked_path(wanted, roots)


def test_the_owner_may_have_all_that_is_there_read(folder: Path):
    assert checked_path(f"{folder}/in/link/b.txt", None) == f"{folder}/in/link/b.txt"
    with pytest.raises(RequestError, match="nothing"):
        checked_path(f"{folder}/in/d.txt", None)
