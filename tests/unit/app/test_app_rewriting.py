"""Writing a plan into a configuration that a person wrote: nothing of theirs may be lost."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.app.configuration.rewriting import BEGIN, END, Rewrite, rewritten, toml_value
from ansambl.domain.errors import ConfigurationError

WRITTEN = '''# Mine.
[gateway]
port = 9000  # the usual one

# The old model, of which I wrote down why.
[models.old]
checkpoint = "old.gguf"
arguments = [
  "--flash-attn",  # faster
]
[models.old.settings]
n = 1

[models.far]
address = "http://127.0.0.1:1/v1"

[roles.coder]
# Speaks little.
model = "old"
instruction = """
[models.trap]
not a table"""
'''


NEW = {"n": {"checkpoint": "z"}}


def lines_of(source: str) -> set[str]:
    return {line.lstrip("# ").strip() for line in source.splitlines() if line.strip()}


def test_comments_and_other_tables_stay_and_what_is_replaced_becomes_a_comment() -> None:
    wanted = Rewrite(
        {"new": {"checkpoint": "o/n:Q4_K_M", "context": 4096, "warm": True}, "small": {"checkpoint": "o/s:Q8_0"}},
        ("old",), {("roles", "coder", "model"): "small", ("roles", "brief", "model"): "small"},
    )  # fmt: skip
    made = rewritten(WRITTEN, wanted)
    assert lines_of(WRITTEN) <= lines_of(made)
    found = tomllib.loads(made)
    assert list(found["models"]) == ["new", "small", "far"]
    assert found["models"]["new"] == {"checkpoint": "o/n:Q4_K_M", "context": 4096, "warm": True}
    assert found["roles"]["coder"] == {"model": "small", "instruction": "[models.trap]\nnot a table"}
    assert found["roles"]["brief"] == {"model": "small"}
    assert found["gateway"] == {"port": 9000}


def test_the_next_plan_takes_out_what_the_last_one_wrote_and_nothing_else() -> None:
    first = rewritten(WRITTEN, Rewrite({"a": {"checkpoint": "x"}}, ("old",), {("roles", "coder", "model"): None}))
    second = rewritten(first, Rewrite({"b": {"checkpoint": "y"}}, ("a",)))
    third = rewritten(second, Rewrite({"a": {"checkpoint": "x"}}, ("b",)))
    assert third == first
    assert second.count(BEGIN) == second.count(END) == 1
    assert 'checkpoint = "x"' not in second


def test_what_a_person_wrote_between_the_marks_stays() -> None:
    first = rewritten("", Rewrite({"a": {"checkpoint": "x"}}))
    edited = first.replace(END, f'[models.mine]\ncheckpoint = "m"  # mine\n{END}')
    made = rewritten(edited, Rewrite({"b": {"checkpoint": "y"}}, ("a",)))
    assert tomllib.loads(made)["models"] == {"b": {"checkpoint": "y"}, "mine": {"checkpoint": "m"}}
    assert "# mine" in made


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        # One of two inline tables cannot go by whole lines.
        ('models = { a = { checkpoint = "x" }, b = { address = "http://h" } }\n', Rewrite(NEW, ("a",))),
        # A role that is written at the top has no table to put a key into.
        ('roles.coder.instruction = "x"\n', Rewrite(NEW, (), {("roles", "coder", "model"): "n"})),
        # The first model is the default, and nothing can stand before keys at the top.
        ('models.far.address = "http://h"\n', Rewrite(NEW)),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_be_edited_safely_is_refused(source: str, wanted: Rewrite) -> None:
    with pytest.raises(ConfigurationError, match="without touching the rest"):
        rewritten(source, wanted)


def test_a_whole_inline_table_of_models_can_go() -> None:
    made = rewritten('models = { a = { checkpoint = "x" } }\n', Rewrite({"n": {"checkpoint": "z"}}, ("a",)))
    assert tomllib.loads(made)["models"] == {"n": {"checkpoint": "z"}}
    assert '# models = { a = { checkpoint = "x" } }' in made


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8)
VALUES = st.one_of(st.text(max_size=12), st.integers(-9, 9), st.booleans(), st.lists(st.integers(0, 9), max_size=3))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_every_value_reads_back_as_it_was(table: dict[str, object]) -> None:
    assert tomllib.loads(f"x = {toml_value(table)}") == {"x": table}


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c d", "é"]), st.text(max_size=5), min_size=1, max_size=4),
    st.sets(st.sampled_from(["a", "b", "c d", "é"])),
)
def test_whatever_goes_out_of_use_the_rest_means_what_it_meant(models: dict[str, str], replaced: set[str]) -> None:
    source = "[other]\nx = 1\n" + "".join(
        f'\n["models".{toml_value(n)}]\ncheckpoint = {toml_value(c)}\n' for n, c in models.items()
    )
    made = tomllib.loads(rewritten(source, Rewrite({"new": {"checkpoint": "z"}}, replaced)))
    kept = {name: {"checkpoint": one} for name, one in models.items() if name not in replaced}
    assert made == {"other": {"x": 1}, "models": {"new": {"checkpoint": "z"}, **kept}}


STATEMENTS = st.sampled_from([
    "# >>> a mark", "# [models.a]", "", 'x = "#"  # """', "y = [\n  1, # ]\n  [2],\n]",
    'z = """\n[models.a]\n"" \\""""', "w = '''\n# \"\"\"\n'''", """v = { a = '}', "#" = [ ] }""",
    'u."a.b" = 1979-05-27', 't = """"q""""  # it\'s', "s = ''",
])  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(STATEMENTS, unique=True, max_size=6),
    st.dictionaries(st.sampled_from(["a", "b c", 'd"]']), st.lists(STATEMENTS, unique=True, max_size=4), max_size=3),
    st.sets(st.sampled_from(["a", "b c", 'd"]'])),
)
def test_no_line_is_lost_and_all_but_what_goes_out_of_use_is_the_same_to_the_byte(
    other: list[str], models: dict[str, list[str]], replaced: set[str]
) -> None:
    tables = [f"[ models . {toml_value(name)} ] # {{" + "".join(f"\n{one}" for one in inner)
              for name, inner in models.items()]  # fmt: skip
    source = "\n".join(["[gateway]", *other, *tables]) + "\n"
    made = rewritten(source, Rewrite({"new": {"checkpoint": 'z"\n[x]'}}, replaced))
    before, after = tomllib.loads(source), tomllib.loads(made)
    kept = {name: one for name, one in before.get("models", {}).items() if name not in replaced}
    assert after["models"] == {"new": {"checkpoint": 'z"\n[x]'}, **kept}
    assert after.get("gateway") == before["gateway"]
    left = iter(made.split("\n"))
    for line in source.split("\n"):
        assert any(one in (line, f"# {line}") for one in left), line
