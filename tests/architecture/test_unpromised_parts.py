"""The parts of uvicorn and aiohttp that nobody promised, and that our short ways use, are as these ways need them.

A new version that changes one of them is known here by name, before it is looked for in a stream that stands still.
What the parts do is tested on sockets: `test_gateway_wire`, `test_gateway_connections`, `test_gateway_disconnects`,
`test_upstream_connections`, `test_upstream_pouring`.
"""

import ast
import inspect
import textwrap
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection as AiohttpConnection
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

import ansambl
from ansambl.gateway.front import until_closed
from ansambl.gateway.front.connections import Connection
from ansambl.runtime.upstream_connections import Connector, EngineConnection, _Body

SOURCES = Path(ansambl.__file__).parent
UVICORN, AIOHTTP = f"uvicorn {uvicorn.__version__}", f"aiohttp {aiohttp.__version__}"


def parts_of(kind):
    """What a class and those above it have, and what they set on themselves."""
    found = set(dir(kind))
    for one in kind.__mro__:
        if one.__module__.partition(".")[0] in {"uvicorn", "aiohttp"}:
            tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
            found |= {
                node.attr
                for node in ast.walk(tree)
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
            }
    return found


@pytest.mark.parametrize(
    ("version", "kind", "needed", "where"),
    [
        (
            UVICORN,
            RequestResponseCycle,
            (
                "chunked_encoding disconnected expected_content_length flow keep_alive message_event more_body"
                " response_complete response_started scope transport waiting_for_100_continue"
            ),
            "gateway/wire.py, gateway/front/connections.py, gateway/front/until_closed.py",
        ),
        (UVICORN, FlowControl, "read_paused resume_reading write_paused", "gateway/wire.py"),
        (
            UVICORN,
            HttpToolsProtocol,
            "cycle flow headers loop parser pipeline scheme timeout_keep_alive transport url",
            "gateway/front/connections.py",
        ),
        (
            AIOHTTP,
            ResponseHandler,
            (
                "_drain_helper _loop _read_timeout _read_timeout_handle _reading_paused read set_response_params"
                " start_timeout"
            ),
            "runtime/upstream_connections.py",
        ),
        (
            AIOHTTP,
            aiohttp.StreamReader,
            "_protocol exception is_eof on_eof read_nowait readany",
            "runtime/upstream_connections.py",
        ),
        (AIOHTTP, aiohttp.TCPConnector, "_factory _loop connect", "runtime/upstream_connections.py"),
        (AIOHTTP, AiohttpConnection, "close protocol release transport", "runtime/upstream_connections.py"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_what_is_used_is_there(version, kind, needed, where):
    missing = set(needed.split()) - parts_of(kind)
    assert not missing, f"{kind.__name__} of {version} has no {sorted(missing)} any more; {where} needs them"


@pytest.mark.parametrize(
    ("version", "ours", "theirs", "names"),
    [
        (
            UVICORN,
            Connection,
            HttpToolsProtocol,
            (
                "connection_made connection_lost data_received on_headers_complete on_message_complete"
                " on_response_complete send_400_response _unsupported_upgrade_warning eof_received"
            ),
        ),
        (
            AIOHTTP,
            EngineConnection,
            ResponseHandler,
            "data_received connection_lost resume_reading _reschedule_timeout _on_read_timeout",
        ),
        (
            AIOHTTP,
            _Body,
            aiohttp.StreamReader,
            "feed_data begin_http_chunk_receiving end_http_chunk_receiving",
        ),
    ],
    ids=["Connection", "EngineConnection", "_Body"],
)
def test_what_is_replaced_is_still_called_with_the_same(version, ours, theirs, names):
    for name in names.split():
        assert name in vars(ours), f"{ours.__name__} no longer replaces {name}: take it out of this list"
        there = getattr(theirs, name, None)
        assert there is not None, f"{version} has no {theirs.__name__}.{name} any more: ours is never called"
        assert list(inspect.signature(vars(ours)[name]).parameters) == list(inspect.signature(there).parameters), (
            f"{version} calls {theirs.__name__}.{name} with other parameters"
        )


def test_a_reader_of_aiohttp_can_be_turned_into_ours():
    assert _Body.__slots__ == ()
    assert _Body.__basicsize__ == aiohttp.StreamReader.__basicsize__, f"{AIOHTTP} keeps a StreamReader otherwise"


def test_connections_are_made_by_the_factory_of_the_connector():
    source = "".join(inspect.getsource(one) for one in Connector.__mro__ if one.__module__.startswith("aiohttp"))
    assert source.count("self._factory") >= 2, f"{AIOHTTP} does not make its connections with TCPConnector._factory"


def test_an_answer_without_a_length_is_counted_by_nobody():
    """What `until_closed` stands on: uvicorn compares, subtracts, and asks for zero at the end."""
    source = inspect.getsource(RequestResponseCycle.send)
    for step in (
        "num_bytes > self.expected_content_length",
        "self.expected_content_length -= num_bytes",
        "self.expected_content_length != 0",
    ):
        assert step in source, f"{UVICORN} counts a body otherwise; {until_closed.__name__} needs another way"


def test_no_other_module_uses_the_inside_of_these_libraries():
    """Others ask their library in promised ways, or what they use is added to this file."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if any(one.startswith(("uvicorn.", "aiohttp.")) for one in names):
                found.add(path.relative_to(SOURCES).as_posix())
    assert found == {
        "gateway/wire.py",
        "gateway/front/connections.py",
        "runtime/upstream.py",
        "runtime/upstream_connections.py",
    }
