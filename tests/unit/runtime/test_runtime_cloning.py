"""What prompts have in common, in tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansambl.runtime.cloning import common_tokens

_TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=12)


@given(st.lists(_TOKENS, min_size=2, max_size=4))
def test_the_common_beginning_leaves_each_prompt_a_token_of_its_own(prompts):
    found = common_tokens(prompts)
    assert len({tuple(one[:found]) for one in prompts}) == 1
    assert all(len(one) > found for one in prompts)
    longer = found + 1
    assert any(len(one) <= longer for one in prompts) or len({tuple(one[:longer]) for one in prompts}) > 1


def test_a_prompt_that_is_the_beginning_of_another():
    assert common_tokens([[1, 2, 3], [1, 2, 3, 4]]) == 2
    assert common_tokens([[1, 2, 3], [1, 2, 3]]) == 2
    assert common_tokens([[1], [1, 2]]) == 0
