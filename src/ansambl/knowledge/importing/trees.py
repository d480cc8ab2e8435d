"""Messages that hang in a tree, as several chats keep them: the branch that was seen last, and the other ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.past_conversation import Branch, Turn


@dataclass(frozen=True, slots=True)
class Node:
    """One place of the tree: what it hangs on, what was said there (nothing for hidden ones), and when."""

    parent: str | None
    turns: tuple[Turn, ...] = ()
    time: float | None = None


def branches_of(nodes: Mapping[str, Node], current: str | None) -> tuple[tuple[Turn, ...], tuple[Branch, ...]]:
    """The turns from the beginning to the node `current`, and every other way as a branch, in the order of `nodes`.

    Without a usable `current` the newest leaf counts as the end. Parents that do not exist and circles of parents are
    taken for beginnings. Walks in loops only: a conversation of many thousand turns is a tree as deep as that.
    """
    parents = _parents(nodes)
    children: dict[str | None, list[str]] = {}
    for name, parent in parents.items():
        children.setdefault(parent, []).append(name)
    if current is None or current not in nodes:
        current = _newest_leaf(nodes, children)
    main: list[str] = []
    at: str | None = current
    while at is not None:
        main.append(at)
        at = parents[at]
    main.reverse()
    taken = set(main)
    turns = tuple(turn for name in main for turn in nodes[name].turns)
    # What follows each node that has been walked: the id of the last visible turn up to it.
    last: dict[str | None, str] = {None: ""}
    _note_last(main, nodes, parents, last)
    branches: list[tuple[int, Branch]] = []
    order = {name: number for number, name in enumerate(nodes)}
    starts = [one for parent in (None, *main) for one in children.get(parent, ()) if one not in taken]
    starts.reverse()
    while starts:
        chain = [starts.pop()]
        while following := children.get(chain[-1]):
            # The last child is the newest answer; the others are ways of their own.
            starts += following[:-1]
            chain.append(following[-1])
        _note_last(chain, nodes, parents, last)
        said = tuple(turn for name in chain for turn in nodes[name].turns)
        if said:
            branches.append((order[chain[0]], Branch(last[parents[chain[0]]], said)))
    branches.sort(key=lambda one: one[0])
    return turns, tuple(branch for _, branch in branches)


def _parents(nodes: Mapping[str, Node]) -> dict[str, str | None]:
    """Each node's parent, None for those that begin: with none, with one that is not there, and one of each circle."""
    parents = {
        name: node.parent if node.parent in nodes and node.parent != name else None for name, node in nodes.items()
    }
    settled: set[str] = set()
    for name in parents:
        path: list[str] = []
        here: set[str] = set()
        at: str | None = name
        while at is not None and at not in settled:
            if at in here:
                parents[at] = None
                break
            path.append(at)
            here.add(at)
            at = parents[at]
        settled.update(path)
    return parents


def _newest_leaf(nodes: Mapping[str, Node], children: Mapping[str | None, list[str]]) -> str | None:
    best: tuple[float, int] | None = None
    found = None
    for number, (name, node) in enumerate(nodes.items()):
        if name not in children:
            rank = (node.time if node.time is not None else -1.0, number)
            if best is None or rank > best:
                best, found = rank, name
    return found


def _note_last(
    chain: list[str], nodes: Mapping[str, Node], parents: Mapping[str, str | None], last: dict[str | None, str]
) -> None:
    for name in chain:
        said = nodes[name].turns
        last[name] = said[-1].id if said else last[parents[name]]
