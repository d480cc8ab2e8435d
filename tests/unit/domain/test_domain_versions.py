"""Versions are ordered as their publishers count. The judge of dotted ones is the reference implementation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from ansambl.domain.versions import version_key

numbers = st.integers(0, 300)
releases = st.lists(numbers, min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
pres = st.one_of(
    st.just(""),
    st.tuples(st.sampled_from(["a", "b", "rc", ".rc", "-alpha", "beta", "c", "_pre", "preview"]), numbers).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    ),
)
posts = st.one_of(st.just(""), numbers.map(lambda n: f".post{n}"), numbers.map(lambda n: f"-{n}"))
devs = st.one_of(st.just(""), numbers.map(lambda n: f".dev{n}"))
locals_ = st.sampled_from(["", "+gptoss", "+cu128.torch2.8"])
dotted = st.tuples(st.sampled_from(["", "v", "1!"]), releases, pres, posts, devs).map("".join)


@given(first=dotted, second=dotted)
def test_dotted_versions_are_ordered_as_packaging_orders_them(first: str, second: str):
    mine, theirs = version_key(first) < version_key(second), Version(first) < Version(second)
    assert mine == theirs
    assert (version_key(first) == version_key(second)) == (Version(first) == Version(second))


@given(version=dotted, local=locals_)
def test_who_built_it_does_not_matter(version: str, local: str):
    assert version_key(version + local) == version_key(version)


@given(first=st.integers(0, 10**9), second=st.integers(0, 10**9))
def test_builds_are_ordered_by_number_however_they_are_written(first: int, second: int):
    assert (version_key(f"b{first}", builds=True) < version_key(str(second), builds=True)) == (first < second)
    assert version_key(f"2026.10.{first}", builds=True) == version_key(f"B{first}", builds=True)


@given(words=st.text(max_size=80))
def test_anything_else_is_refused_and_nothing_hangs(words: str):
    for builds in (False, True):
        try:
            key = version_key(words, builds=builds)
        except ValueError:
            continue
        assert len(key) == 5


@pytest.mark.parametrize(("older", "newer"), [
    ("0.5.0rc0", "0.5.0"), ("0.9", "0.9.2"), ("0.9.2", "0.10.1"), ("0.10.1rc1", "0.10.1"), ("0.4.10", "0.4.10.post2"),
    ("0.4.10.post2", "0.5.0rc0"), ("0.10.1.dev3", "0.10.1rc1"),
])  # fmt: skip
def test_versions_that_engines_really_had(older: str, newer: str):
    assert version_key(older) < version_key(newer)


@pytest.mark.parametrize("words", ["", "b6096", "newest", "0.9.x", "1" * 30, "0.1.2-", "0..1", "9" * 19])
def test_no_dotted_version(words: str):
    with pytest.raises(ValueError, match="not a version"):
        version_key(words)


@pytest.mark.parametrize("words", ["0.9", "bb1", "b", "b6096rc1", "1.2.3.4"])
def test_no_build(words: str):
    with pytest.raises(ValueError, match="not a version"):
        version_key(words, builds=True)
