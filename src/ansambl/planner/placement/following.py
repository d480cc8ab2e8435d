"""Roles that go where another one goes: they cost the program nothing, and a long list of roles stays quick to plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ansambl.domain.planning import PlanOption
from ansambl.planner.placement.inputs import PlanInputs


def without_followers(inputs: PlanInputs) -> PlanInputs:
    """The question about the leading roles alone; each weighs what it and its followers weigh together."""
    weights = {role.name: role.weight for role in inputs.roles if role.follows is None}
    for role in inputs.roles:
        if role.follows is not None:
            weights[role.follows] += role.weight
    return replace(
        inputs, roles=tuple(replace(one, weight=weights[one.name]) for one in inputs.roles if one.follows is None)
    )


def with_followers(option: PlanOption, followers: Mapping[str, str]) -> PlanOption:
    """The option with every follower where its leader is. `followers` maps a role to the one that it follows.

    A follower has its leader's head material, so it shares the leader's prefix.
    """
    roles = dict(option.roles)
    groups = [list(group) for group in option.prefix_groups]
    for follower, leader in followers.items():
        if leader not in roles:
            continue
        roles[follower] = roles[leader]
        group = next((one for one in groups if leader in one), None)
        if group is None:
            groups.append([leader, follower])
        else:
            group.append(follower)
    return replace(option, roles=roles, prefix_groups=tuple(tuple(group) for group in groups))
