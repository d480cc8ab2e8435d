"""Requests that name the tool to call, for engines that take no name."""

from __future__ import annotations

from dataclasses import replace

from ansambl.dialects.openai_chat import with_chosen_tools_alone
from ansambl.gateway.passing import Call
from ansambl.runtime.abilities import serving
from ansambl.runtime.coordinator import Coordinator


async def with_tools_understood(coordinator: Coordinator, call: Call) -> Call:
    """A call whose choice of a tool its engine understands.

    llama.cpp takes a name for "auto" and lets the model answer as it likes; LM Studio refuses one. Both understand a
    request that offers no other tool.

    Raises:
        RequestError: it names a tool that is not there.
    """
    prepared = call.prepared
    choice = prepared.request.fields.get("tool_choice")
    if choice is None or not bytes(choice).startswith(b"{"):
        return call
    if (await serving(coordinator, prepared.model)).names_tools:
        return call
    return replace(call, prepared=replace(prepared, request=with_chosen_tools_alone(prepared.request)))
