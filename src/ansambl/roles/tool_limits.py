"""Which of the client's tools a role may see: decided here, in code, and never by words in a prompt. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call")
"""The request fields that speak of tools; the last two are their older spelling."""


def limit_tools(fields: Mapping[str, Any], allowed: Collection[str] | None) -> dict[str, Any]:
    """What to change in a request so that only the `allowed` tools are in it; None in a value removes the field.

    Where no tool is left, nothing that speaks of tools is. A choice that names a tool which is not allowed falls back
    to the engine's own choice among those that are. `allowed` None allows all.
    """
    if allowed is None:
        return {}
    kept = {name: _kept(fields.get(name), allowed) for name in ("tools", "functions")}
    if not any(kept.values()):
        return {name: None for name in TOOL_FIELDS if fields.get(name) is not None}
    changes: dict[str, Any] = {}
    for name, choice in (("tools", "tool_choice"), ("functions", "function_call")):
        if fields.get(name) is not None and kept[name] != fields[name]:
            changes[name] = kept[name] or None
        chosen = fields.get(choice)
        if chosen is not None and (not kept[name] or (isinstance(chosen, dict) and not _names(chosen) <= set(allowed))):
            changes[choice] = None
    return changes


def _kept(tools: Any, allowed: Collection[str]) -> list[Any]:
    return [one for one in tools if _name(one) in allowed] if isinstance(tools, list) else []


def _name(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return None
    own = tool.get(tool["type"]) if isinstance(tool.get("type"), str) else None
    # A tool that has no name (a built-in search) is known by its type.
    named = own.get("name") if isinstance(own, dict) else tool.get("name", tool.get("type"))
    return named if isinstance(named, str) else None


def _names(choice: dict[str, Any]) -> set[Any]:
    """The tools that a choice names: one, or several of which the engine may take any."""
    several = choice.get("allowed_tools")
    if isinstance(several, dict) and isinstance(several.get("tools"), list):
        return {_name(one) for one in several["tools"]}
    return {_name(choice)}
