"""Which way through a tree of messages is the conversation, and that nothing said is lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.past_conversation import Speaker, Turn
from ansambl.knowledge.importing.trees import Node, branches_of


def node(name, parent, time=None, *, hidden=False):
    return Node(parent, () if hidden else (Turn(Speaker.USER, name, time, id=name),), time)


def names(turns):
    return [one.id for one in turns]


def test_the_way_to_the_current_node_is_the_conversation_and_the_others_are_branches():
    nodes = {"r": node("r", None, hidden=True), "a": node("a", "r"), "b": node("b", "a"), "c": node("c", "a"),
             "d": node("d", "b")}  # fmt: skip
    turns, branches = branches_of(nodes, "c")
    assert names(turns) == ["a", "c"]
    assert [(one.after, names(one.turns)) for one in branches] == [("a", ["b", "d"])]


def test_without_a_current_node_the_newest_leaf_ends_it():
    nodes = {"a": node("a", None, 1.0), "b": node("b", "a", 9.0), "c": node("c", "a", 5.0)}
    assert names(branches_of(nodes, None)[0]) == ["a", "b"]
    assert names(branches_of(nodes, "gone")[0]) == ["a", "b"]


def test_a_branch_of_a_branch_names_what_it_follows():
    nodes = {"a": node("a", None), "x": node("x", "a"), "y": node("y", "x"), "z": node("z", "x"), "m": node("m", "a")}
    _, branches = branches_of(nodes, "m")
    assert [(one.after, names(one.turns)) for one in branches] == [("a", ["x", "z"]), ("x", ["y"])]


def test_circles_and_a_depth_of_many_thousands_end():
    circle = {"a": node("a", "c"), "b": node("b", "a"), "c": node("c", "b")}
    turns, branches = branches_of(circle, "b")
    assert sorted(names(turns) + [name for one in branches for name in names(one.turns)]) == ["a", "b", "c"]
    deep = {str(number): node(str(number), str(number - 1) if number else None) for number in range(5_000)}
    assert len(branches_of(deep, None)[0]) == 5_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 12), st.booleans()), max_size=12), st.integers(0, 14))
def test_every_visible_turn_stands_exactly_once_whatever_the_tree(parents, current):
    nodes = {
        str(number): node(str(number), str(parent), hidden=hidden) for number, (parent, hidden) in enumerate(parents)
    }
    turns, branches = branches_of(nodes, str(current))
    said = names(turns) + [name for one in branches for name in names(one.turns)]
    assert sorted(said) == sorted(name for name, one in nodes.items() if one.turns)
    known = {"", *said}
    assert all(one.after in known for one in branches)
