"""What stands between quotes in a sentence is what somebody wrote: no language writes it anew."""

from __future__ import annotations

import pytest

from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.domain.units import parse_bytes
from ansambl.foundation.locales import translator


@pytest.mark.parametrize("written", ["1.5 GiB", "llama 7 B", 0.5])
def test_what_somebody_wrote_is_repeated_to_the_letter(written):
    said = text("'{value}' is not an amount; write for example {example}", value=written, example='"2GiB"')
    assert str(written) in said.render(translator("ru"))


def test_a_mistyped_amount_is_found_again_in_the_sentence_about_it():
    with pytest.raises(UsageError) as found:
        parse_bytes("1.5 h")
    assert "1.5 h" in found.value.message.render(translator("ru"))


def test_a_sentence_between_quotes_is_translated_all_the_same():
    within = text("why it failed")
    said = text("it said '{why}'", why=within).render(lambda one: {"why it failed": "warum"}.get(one, one))
    assert said == "it said 'warum'"
