"""The MCP server: streamable HTTP without sessions, one request and one answer. The library is loaded when it is asked.

The library's own check of hosts is not used, because `gateway.front.guard` has looked at every request before.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ansambl import __version__
from ansambl.domain.access import OWNER, Caller
from ansambl.domain.errors import AnsamblError, NotSupportedError, RequestError
from ansambl.domain.text import text
from ansambl.gateway.asgi import Receive, Scope, Send
from ansambl.gateway.knowledge.asked import ReadDocument, ReadPassage, Search, convert
from ansambl.gateway.knowledge.desk import KnowledgeDesk
from ansambl.gateway.knowledge.tools import INSTRUCTIONS, TOOLS, found_json, in_words, part_json, read_json

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

CALLER = "ansambl_caller"
"""Where a request's scope says who asks."""

_CLOSES = 5.0

Call = Callable[[Caller, dict[str, Any] | None], Awaitable[dict[str, Any]]]


class Tools:
    """What each tool does, by its name."""

    def __init__(self, desk: KnowledgeDesk) -> None:
        self._desk = desk
        self.calls: dict[str, Call] = {
            "search_knowledge": self._search,
            "list_collections": self._collections,
            "read_document": self._document,
            "read_passage": self._passage,
        }

    async def call(self, caller: Caller, name: str, arguments: dict[str, Any] | None) -> dict[str, Any]:
        """Do what a tool does.

        Raises:
            AnsamblError: there is no such tool, its arguments cannot be used, or it cannot be done now.
        """
        found = self.calls.get(name)
        if found is None:
            raise RequestError(
                text("There is no tool '{name}'; there are: {known}.", name=name[:100], known=", ".join(self.calls))
            )
        return await found(caller, arguments)

    async def _search(self, caller: Caller, arguments: dict[str, Any] | None) -> dict[str, Any]:
        return found_json(await self._desk.search(caller, convert(arguments, Search)))

    async def _collections(self, caller: Caller, arguments: dict[str, Any] | None) -> dict[str, Any]:  # noqa: ARG002 - it takes none
        listed = await self._desk.collections(caller)
        return {"collections": [{"name": name, "description": described} for name, described in listed]}

    async def _document(self, caller: Caller, arguments: dict[str, Any] | None) -> dict[str, Any]:
        return part_json(await self._desk.document(caller, convert(arguments, ReadDocument)))

    async def _passage(self, caller: Caller, arguments: dict[str, Any] | None) -> dict[str, Any]:
        return read_json(await self._desk.passage(caller, convert(arguments, ReadPassage)))


class ToolServer:
    """One ASGI application for ``/mcp``. It starts at the first request and ends with `close`."""

    def __init__(self, desk: KnowledgeDesk) -> None:
        self._tools = Tools(desk)
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._stop = asyncio.Event()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            NotSupportedError: the library is not installed.
        """
        manager = self._manager or await self._start()
        await manager.handle_request(scope, receive, send)

    async def _start(self) -> StreamableHTTPSessionManager:
        async with self._starting:
            if self._manager is not None:
                return self._manager
            if importlib.util.find_spec("mcp") is None:
                raise NotSupportedError(text("MCP tools need a library: pip install 'ansambl[knowledge]'"))
            # It takes half a second, which nobody else shall wait for.
            manager = await asyncio.to_thread(self._make)
            ready = asyncio.Event()
            self._running = asyncio.create_task(self._run(manager, ready), name="mcp")
            await ready.wait()
            self._manager = manager
            return manager

    async def _run(self, manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
        # Its group of tasks must be left by the task that entered it.
        async with manager.run():
            ready.set()
            await self._stop.wait()

    def _make(self) -> StreamableHTTPSessionManager:
        import mcp_types as types
        from mcp.server.lowlevel import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        # It tells of each of its own steps; what was asked stands in the log of requests.
        logging.getLogger("mcp").setLevel(logging.WARNING)
        listed = [
            types.Tool(
                name=one["name"], title=one["title"], description=one["description"], input_schema=one["input"],
                output_schema=one["output"],
                annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False, idempotent_hint=True),
            )
            for one in TOOLS
        ]  # fmt: skip

        async def on_list(context: Any, params: Any) -> types.ListToolsResult:  # noqa: ARG001 - the library's signature
            return types.ListToolsResult(tools=listed)

        async def on_call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            scope = context.request.scope if context.request is not None else {}
            try:
                answer = await self._tools.call(scope.get(CALLER, _NOBODY), params.name, params.arguments)
            except AnsamblError as error:
                return types.CallToolResult(content=[types.TextContent(type="text", text=str(error))], is_error=True)
            return types.CallToolResult(
                content=[types.TextContent(type="text", text=in_words(answer))], structured_content=answer
            )

        server: Server[Any] = Server(
            "ansambl", version=__version__, title="Ansambl", instructions=INSTRUCTIONS, on_list_tools=on_list,
            on_call_tool=on_call,
        )  # fmt: skip
        return StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    async def close(self) -> None:
        """End it; requests that it still answers end, too."""
        self._stop.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_CLOSES)


_NOBODY = Caller(OWNER.key, names=frozenset(), endpoints=frozenset())
"""Who may read nothing: a request that did not come through our door."""
