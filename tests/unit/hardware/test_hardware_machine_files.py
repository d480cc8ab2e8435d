"""Machine files as a fuzzer wrote them: inputs that once got through in a way that they should not."""

import pytest

from ansambl.domain.errors import UsageError
from ansambl.hardware.catalog import parse_toml
from ansambl.hardware.machine_files import read_machine


@pytest.mark.parametrize("memory", ["127\x96B", "1\u202eGiB", "\ufeff"])
def test_what_a_message_quotes_is_printable(memory):
    table = parse_toml(f'[ram]\nmemory = "{memory}"\n'.encode(), "mine.toml")
    with pytest.raises(UsageError, match=r"mine\.toml: ram\.memory cannot be") as refusal:
        read_machine("mine.toml", "mine", table, {})
    assert str(refusal.value).isprintable()


def test_a_key_that_is_no_word_is_quoted_printably():
    table = parse_toml(b'"a\\u0085b" = 1\n', "mine.toml")
    with pytest.raises(UsageError, match="there is no key") as refusal:
        read_machine("mine.toml", "mine", table, {})
    assert str(refusal.value).isprintable()
