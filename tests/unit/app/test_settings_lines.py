"""The line of every key, through all the ways that TOML has to write one."""

from __future__ import annotations

import tomllib

from ansambl.app.configuration.settings_lines import key_lines, line_of, written_path

SOURCE = '''\
# a comment
title = "x"

[gateway]          # line 4
port = 1
[gateway.inner]
a.b.c = 2

[models."with.dot"]
words = [
  "one",   # a comment with ] and """
  "two",
]
text = """
[not.a.table]
port = 3
"""
raw = \'\'\'
key = "no"
\'\'\'
inline = { x = 1, y = { z = 2 } }

[[fruit]]
name = "apple"
[[fruit.variety]]
name = "red"
[[fruit.variety]]
name = "green"
[fruit.soil]
ph = 7
[[fruit]]
name = "pear"
'''


def test_every_way_to_write_a_key() -> None:
    tomllib.loads(SOURCE)
    lines = key_lines(SOURCE)
    assert lines["title",] == 2
    assert lines["gateway",] == 4
    assert lines["gateway", "port"] == 5
    assert lines["gateway", "inner"] == 6
    assert lines["gateway", "inner", "a", "b", "c"] == 7
    assert lines["models",] == 9
    assert lines["models", "with.dot", "words"] == 10
    assert lines["models", "with.dot", "words", 1] == 10
    assert lines["models", "with.dot", "text"] == 14
    assert lines["models", "with.dot", "raw"] == 18
    assert lines["models", "with.dot", "inline", "y", "z"] == 21
    assert lines["fruit",] == lines["fruit", 0] == 23
    assert lines["fruit", 0, "variety", 1, "name"] == 28
    assert lines["fruit", 0, "soil", "ph"] == 30
    assert lines["fruit", 1, "name"] == 32


def test_nothing_inside_a_multi_line_string_counts() -> None:
    lines = key_lines(SOURCE)
    assert ("not",) not in lines
    assert ("key",) not in lines


def test_the_paths_are_those_of_the_parsed_file() -> None:
    def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
        found = {path} if path else set()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in items:
            found |= paths(inner, (*path, name))
        return found

    assert set(key_lines(SOURCE)) == paths(tomllib.loads(SOURCE))


def test_an_unknown_place_falls_back_to_the_table_above() -> None:
    lines = key_lines(SOURCE)
    assert line_of(("gateway", "inner", "absent"), lines) == 6
    assert line_of(("absent",), lines) is None


def test_paths_are_written_as_in_toml() -> None:
    assert written_path(("engines", "llama.cpp-bundled", "threads")) == 'engines."llama.cpp-bundled".threads'
    assert written_path(("roles", "кодер", "aliases", 1)) == 'roles."кодер".aliases[1]'


def test_a_long_file_is_quick() -> None:
    source = "".join(f'[models.m{number}]\ncheckpoint = "x"\ncontext = 4096\n' for number in range(3000))
    assert key_lines(source)["models", "m2999", "context"] == 9000
