"""Chat templates rendered as engines render them, within bounds: a template is a program out of a downloaded file.

What engines give to a template: Jinja2's immutable sandbox with ``trim_blocks``, ``lstrip_blocks`` and loop controls,
a ``tojson`` that leaves letters as they are, ``raise_exception``, ``strftime_now`` and the tag ``generation``
(transformers, utils/chat_template_utils.py).

What protects against a hostile template:

* Jinja2's sandbox: no attributes with underscores, nothing that changes a list or a mapping. No file can be read.
* A source is at most `MAX_SOURCE` characters long.
* Nothing is computed while it is compiled, where no bound would hold.
* Every turn of a loop and every call of a macro is counted, as are the characters that are written and the work of
  filters, methods and operators; when a render has used up `MAX_WORK`, or the template its seconds, it ends.
* No value grows beyond `MAX_VALUE` characters and items, counted as often as they would be written (a list that holds
  itself twice, and so on, grows without a loop), and no number that is given to a call beyond `MAX_NUMBER`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import chain, islice
from types import GeneratorType
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError, TemplateRuntimeError, UndefinedError
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_environment
from jinja2.visitor import NodeTransformer

MAX_SOURCE = 64 * 1024
"""Characters; the longest of some hundred real templates has 20,000."""
MAX_VALUE = 1_000_000
"""Characters and items of one value."""
MAX_WORK = 8_000_000
"""Characters, items and steps of one render; a real template needs some thousands."""
MAX_NUMBER = 10_000
"""The largest number that a call, a filter or a range takes: a width, a count."""
SECONDS = 2.0
"""Time that all renders of one template may take together."""

_NUMBER_BITS = 512
_WIDE = re.compile(r"\d{4}|\*|\{[^{}]*\{")
_MISSING_FILTERS = ("urlize", "xmlattr", "random", "pprint")
_MEASURED = (str, bytes, list, tuple, dict)


class TemplateRefusedError(Exception):
    """The template cannot be compiled, raised an error, or went beyond its bounds; the message says which."""


class ChatTemplate:
    """A compiled chat template.

    `variables` are the names that it may read and does not always set before, `compared` has for some of them the
    values that it compares them with. `missed` gathers those that a render has asked for in vain. Threads may share
    it; one renders at a time.

    Raises:
        TemplateRefusedError: it is too long, or no template.
    """

    def __init__(self, source: str, *, seconds: float = SECONDS) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateRefusedError(f"the template has {len(source)} characters, more than {MAX_SOURCE}")
        self.missed: set[str] = set()
        self._environment = _Environment(self.missed)
        self._seconds = seconds
        self._lock = threading.Lock()
        try:
            tree = self._environment.parse(source)
            self.variables = frozenset(find_undeclared_variables(tree))
            self.compared = _compared(tree)
            code = self._environment.compile(_Counting().visit(tree))
            self._template = self._environment.template_class.from_code(
                self._environment, code, self._environment.make_globals(None)
            )
        except (TemplateError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise TemplateRefusedError(_one_line(error)) from None

    def render(self, values: Mapping[str, Any], *, now: dt.datetime, formats: list[str] | None = None) -> str:
        """The prompt that the template makes of `values`; ``strftime_now`` tells the time `now`.

        What ``strftime_now`` is asked for is added to `formats`.

        Raises:
            TemplateRefusedError: the template raised an error or went beyond its bounds.
        """

        def strftime_now(wanted: object) -> str:
            asked = str(wanted)
            if len(asked) > 64 or re.search(r"\d", asked):
                raise TemplateRefusedError("strange format of a date")
            if formats is not None:
                formats.append(asked)
            return now.strftime(asked)

        with self._lock:
            if self._seconds <= 0:
                raise TemplateRefusedError("the template works too long")
            began = time.monotonic()
            self._environment.allow(began + self._seconds)
            try:
                pieces: list[str] = []
                context = self._template.new_context({**values, "strftime_now": strftime_now})
                pieces.extend(self._template.root_render_func(context))
                return "".join(pieces)
            except TemplateRefusedError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a stranger's program raises
                # The template's own faults are of any kind: it adds a text to a number, or looks into nothing.
                raise TemplateRefusedError(_one_line(error)) from None
            finally:
                self._seconds -= time.monotonic() - began


def _compared(tree: nodes.Template) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in tree.find_all(nodes.Compare):
        names = list(one.expr.find_all(nodes.Name)) or ([one.expr] if isinstance(one.expr, nodes.Name) else [])
        for operand in one.ops:
            values = [operand.expr, *operand.expr.find_all(nodes.Const)]
            constants = [value.value for value in values if isinstance(value, nodes.Const)]
            for name in names:
                known = found.setdefault(name.name, [])
                known.extend(value for value in constants if value not in known)
    return found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Generation(Extension):
    """``{% generation %}`` marks answers for training; a prompt holds what stands inside."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, with the work counted and the values measured."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, missed: set[str]) -> None:
        super().__init__(
            undefined=_recording(missed), trim_blocks=True, lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
            # Nothing is folded at compile time: no bound would hold there.
            optimized=False, finalize=_written, cache_size=0,
        )  # fmt: skip
        self._left, self._end = 0, 0.0
        for name in _MISSING_FILTERS:
            self.filters.pop(name, None)
        for name, one in list(self.filters.items()):
            self.filters[name] = self._bounded(one)
        self.filters["tojson"] = self._to_json
        self.globals["range"] = _short_range
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = None
        self.globals.pop("lipsum", None)

    def allow(self, end: float) -> None:
        """Begin a render that may last until the moment `end` (of the monotonic clock)."""
        self._left, self._end = MAX_WORK, end

    def tick(self, work: int) -> str:
        """Count a step that costs `work`."""
        self._left -= work + 1
        if self._left < 0 or time.monotonic() > self._end:
            raise TemplateRefusedError("the template works too long")
        return ""

    def measured(self, value: Any) -> Any:
        """Let `value` through when it is not too large."""
        if isinstance(value, _MEASURED):
            self.tick(_size(value))
        return value

    def concat_bounded(self, *parts: Any) -> str:
        """The operator ``~``."""
        for one in parts:
            self.measured(one)
        return str(self.measured("".join(map(str, parts))))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator, after a look at how large its result will be."""
        self.tick(0)
        if operator == "+":
            self.tick(_short(left) + _short(right))
        elif operator == "%" and isinstance(left, str):
            if _WIDE.search(left):
                raise TemplateRefusedError("strange format")
            self.measured(right)
        elif operator in ("*", "**"):
            _check_product(operator, left, right)
        return self.measured(super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *arguments: Any, **named: Any) -> Any:
        """A call, after a look at what it is given."""
        given = [self._whole(one) for one in arguments]
        self._check_call(getattr(called, "__self__", None), getattr(called, "__name__", ""), given, named)
        return self.measured(super().call(context, called, *given, **named))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` with the widths that a template has use for."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None and _WIDE.search(value.__self__):
            raise TemplateRefusedError("strange format")
        return wrapped

    def _check_call(self, owner: Any, name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        self.tick(_short(owner))
        for one in chain(arguments, named.values()):
            if isinstance(one, int) and abs(one) > MAX_NUMBER:
                raise TemplateRefusedError("a number is too large")
        if isinstance(owner, str):
            if name == "replace" and len(arguments) > 1:
                self.tick((owner.count(str(arguments[0])) + 1) * len(str(arguments[1])))
            elif name == "join" and arguments:
                items = arguments[0] if isinstance(arguments[0], list | tuple) else ()
                self.tick(len(owner) * len(items) + sum(map(_short, items)))
            elif name == "expandtabs":
                self.tick(owner.count("\t") * MAX_NUMBER)

    def _bounded(self, work: Callable[..., Any]) -> Callable[..., Any]:
        passed = 1 if hasattr(work, "jinja_pass_arg") else 0

        @wraps(work)
        def bounded(*arguments: Any, **named: Any) -> Any:
            given = [self._whole(one) for one in arguments]
            own, others = given[passed : passed + 1], given[passed + 1 :]
            for one in chain(others, named.values()):
                if isinstance(one, int) and abs(one) > MAX_NUMBER:
                    raise TemplateRefusedError("a number is too large")
            value = own[0] if own else None
            self.tick(_short(value))
            self._check_filter(work.__name__, value, others, named)
            return self.measured(work(*given, **named))

        return bounded

    def _check_filter(self, name: str, value: Any, others: Sequence[Any], named: Mapping[str, Any]) -> None:
        given = [*others, *named.values()]
        longest = max(map(_short, given), default=0)
        if name == "do_replace":
            self.tick(_short(value) * (longest + 1))
        elif name in {"sync_do_join", "do_join"}:
            self.tick(longest * _short(value))
        elif name in {"do_indent", "do_wordwrap"}:
            wide = max((one for one in given if isinstance(one, int)), default=4) + longest
            self.tick(wide * (str(value).count("\n") + 1) if name == "do_indent" else longest * _short(value))
        elif name == "do_format" and _WIDE.search(str(value)):
            raise TemplateRefusedError("strange format")

    def _to_json(self, value: Any, indent: Any = None, separators: Any = None, **options: Any) -> str:
        self.measured(value)
        if indent is not None:
            # Every item stands on a line of its own, after the spaces of all that it is in.
            self.tick(_size(value) * max(int(indent), 0) * _depth(value))
        written = json.dumps(
            value, ensure_ascii=bool(options.get("ensure_ascii")), default=self._listed,
            indent=None if indent is None else int(indent), sort_keys=bool(options.get("sort_keys")),
            separators=tuple(separators) if separators else None,
        )  # fmt: skip
        return str(self.measured(written))

    def _listed(self, value: Any) -> list[Any]:
        if isinstance(value, GeneratorType):
            return list(self._whole(value))
        raise TemplateRefusedError(f"{type(value).__name__} cannot be written as JSON")

    def _whole(self, value: Any) -> Any:
        """What a filter yields piece by piece as a list, which can be measured."""
        if not isinstance(value, GeneratorType):
            return value
        found = [*islice(value, MAX_NUMBER + 1)]
        if len(found) > MAX_NUMBER:
            raise TemplateRefusedError("a list is too long")
        return self.measured(found)


class _Counting(NodeTransformer):
    """Puts a counter into every loop and macro, and measures what is built without one."""

    def _body(self, node: Any) -> Any:
        self.generic_visit(node)
        data = sum(len(one.data) for statement in node.body for one in _data(statement))
        step = nodes.ExprStmt(_own("tick", [nodes.Const(data)]))
        node.body.insert(0, step.set_lineno(node.lineno, override=True))
        return node

    visit_For = visit_Macro = visit_CallBlock = _body  # noqa: N815 - Jinja finds them by these names

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as above
        self.generic_visit(node)
        return _own("concat_bounded", list(node.nodes)).set_lineno(node.lineno, override=True)

    def _literal(self, node: Any) -> Any:
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load" or all(isinstance(one, nodes.Const) for one in node.items):
            return node
        return _own("measured", [node]).set_lineno(node.lineno, override=True)

    visit_List = visit_Tuple = visit_Dict = _literal  # noqa: N815 - as above


def _own(name: str, arguments: list[Any]) -> nodes.Call:
    # An attribute of the environment: a template cannot put something of its own in its place.
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _data(node: nodes.Node) -> Sequence[nodes.TemplateData]:
    return [node] if isinstance(node, nodes.TemplateData) else list(node.find_all(nodes.TemplateData))


@pass_environment
def _written(environment: _Environment, value: Any) -> Any:
    """What a template writes, counted. Being given the environment keeps it from being folded at compile time."""
    return environment.measured(value)


def _recording(missed: set[str]) -> type[Undefined]:
    class Missed(Undefined):
        __slots__ = ()

        def __init__(
            self, hint: str | None = None, obj: Any = missing, name: str | None = None,
            exc: type[TemplateRuntimeError] = UndefinedError,
        ) -> None:  # fmt: skip
            super().__init__(hint, obj, name, exc)
            if obj is missing and name is not None:
                missed.add(name)

    return Missed


def _short(value: Any) -> int:
    return len(value) if isinstance(value, _MEASURED) else 1


def _size(value: Any) -> int:
    """Characters and items of `value`, what is in it twice counted twice."""
    total, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, list | tuple):
            total += len(one)
            waiting.extend(one)
        elif isinstance(one, dict):
            total += len(one)
            waiting.extend(one.keys())
            waiting.extend(one.values())
        if total > MAX_VALUE:
            raise TemplateRefusedError("a value is too large")
    return total


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return 1 + max(map(_depth, inner), default=0)


def _check_product(operator: str, left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, _MEASURED) and _size(one) * (other if isinstance(other, int) else 1) > MAX_VALUE:
            raise TemplateRefusedError("a value is too large")
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * (abs(right) if operator == "**" else 1) + right.bit_length()
        if bits > _NUMBER_BITS:
            raise TemplateRefusedError("a number is too large")


def _short_range(*bounds: int) -> range:
    # Its ends are compared: the length of a huge range cannot be taken.
    if max(map(abs, bounds), default=0) > MAX_NUMBER:
        raise TemplateRefusedError("a range is too long")
    return range(*bounds)


def _refuse(message: object = "") -> None:
    shown = "" if isinstance(message, Undefined) else str(message)
    raise TemplateRefusedError(f"the template refuses: {shown[:150]}")
