"""Makes the console's style sheet of Pico from Pico's own: the same rules, without those that no page of ours can meet.

    python tools/trim_pico.py           write it anew, after a new version of Pico, or of one of the names below
    python tools/trim_pico.py --check   fail where it is not what this writes

Half of Pico is for what the console does not have: tooltips, dialogs, breadcrumbs, fields for dates. Left out is

* what needs a name of `NEVER`; ``tests/unit/console/test_console_pico.py`` finds a page that has one after all;
* a variable that ``site.css`` sets for every theme, or that no rule which is left reads;
* whatever is empty then.

Nothing is changed or put in another order. The licence stands at its head, as it stood.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = "2.1.1"
STATIC = ROOT / "src" / "ansambl" / "console" / "static"
SOURCE = ROOT / "tools" / "data" / f"pico-{VERSION}.min.css"
MADE = STATIC / "vendor" / f"pico-{VERSION}.trimmed.css"

NEVER = {
    "element": """
        abbr address area audio h5 h6 hgroup iframe ins kbd optgroup samp sub sup tfoot video
    """,
    "class": """
        container container-fluid contrast dropdown modal-is-closing modal-is-open modal-is-opening outline
        overflow-auto secondary striped
    """,
    "attribute": """
        aria-hidden=false aria-label=breadcrumb data-placement data-tooltip dir=rtl role=link role=search
        type=color type=datetime-local type=month type=reset type=time type=week
    """,
    "pseudo": ":host",
}
"""Names that no page of the console has; an attribute with its value, or whatever its value is."""

_TOKEN = re.compile(r'"[^"]*"|\'[^\']*\'|[{};]|[^{};"\']+')
_NAME = re.compile(
    r"\[(?P<attribute>[^\]]*)\]|\.(?P<class>[\w-]+)|(?P<pseudo>::?[\w-]+)|#[\w-]+|(?P<element>[a-z][a-z0-9]*)"
)
_NEVER = {kind: frozenset(names.split()) for kind, names in NEVER.items()}
_LIST = re.compile(r":(?P<kind>is|where|not|has)\(")
_READ = re.compile(r"var\((--[\w-]+)")
_SET = re.compile(r"(?:^|;)(--[\w-]+):")
_KEYFRAMES = "@keyframes"
_THEMES = ":root[data-theme=dark]"


@dataclass
class Rule:
    """A rule with its declarations, or a rule around others; `rules` is None for one with declarations."""

    head: str
    declarations: list[str]
    rules: list[Rule] | None = None

    def __str__(self) -> str:
        inside = ";".join(self.declarations) if self.rules is None else "".join(map(str, self.rules))
        return f"{self.head}{{{inside}}}"


def read(text: str) -> list[Rule]:
    """The rules of a style sheet without comments."""
    tokens = iter(_TOKEN.findall(text))
    return list(_rules(tokens))


def _rules(tokens: Iterator[str]) -> Iterator[Rule]:
    head = ""
    for one in tokens:
        if one == "}":
            return
        if one == ";":
            # A statement, as the set of characters.
            head = ""
        elif one == "{":
            head = head.strip()
            if head.startswith("@") and not head.startswith(("@font-face", "@page")):
                yield Rule(head, [], list(_rules(tokens)))
            else:
                yield Rule(head, list(_declarations(tokens)))
            head = ""
        else:
            head += one


def _declarations(tokens: Iterator[str]) -> Iterator[str]:
    found = ""
    for one in tokens:
        if one in (";", "}"):
            if found.strip():
                yield found
            found = ""
            if one == "}":
                return
        else:
            found += one


def parts(text: str) -> list[str]:
    """A list of selectors, divided at the commas that stand in no brackets."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return found


def met(selector: str) -> str:
    """What of a selector can be met on a page of ours; "" where nothing can."""
    made, at = "", 0
    while (opened := _LIST.search(selector, at)) is not None:
        before, end = selector[at : opened.start()], _closing(selector, opened.end())
        if _is_never(before):
            return ""
        inside = selector[opened.end() : end]
        if opened["kind"] != "not":
            left = ",".join(filter(None, map(met, parts(inside))))
            if not left:
                return ""
            # What stands in the others decides which rule wins, too.
            inside = left if opened["kind"] == "where" else inside
        made += f"{before}:{opened['kind']}({inside})"
        at = end + 1
    return "" if _is_never(selector[at:]) else made + selector[at:]


def _closing(text: str, at: int) -> int:
    depth = 1
    while depth:
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
    return at - 1


def _is_never(selector: str) -> bool:
    for one in _NAME.finditer(selector):
        kind = one.lastgroup or ""
        name = one[kind].replace('"', "") if kind else ""
        if {name, name.partition("=")[0]} & _NEVER.get(kind, frozenset()):
            return True
    return False


def _selected(rules: list[Rule]) -> Iterator[Rule]:
    for rule in rules:
        if rule.head.startswith(_KEYFRAMES):
            yield rule
        elif rule.rules is not None:
            if inside := list(_selected(rule.rules)):
                yield Rule(rule.head, [], inside)
        elif selector := ",".join(filter(None, map(met, parts(rule.head)))):
            yield Rule(selector, rule.declarations)


def _without(rules: list[Rule], variables: set[str], *, everywhere: bool) -> Iterator[Rule]:
    """The rules without what they say of `variables`: at the root, or everywhere."""
    for rule in rules:
        if rule.head.startswith(_KEYFRAMES):
            yield rule
        elif rule.rules is not None:
            if inside := list(_without(rule.rules, variables, everywhere=everywhere)):
                yield Rule(rule.head, [], inside)
        else:
            about = everywhere or all(_is_root(one) for one in parts(rule.head))
            left = [one for one in rule.declarations if not (about and one.partition(":")[0] in variables)]
            if left:
                yield Rule(rule.head, left)


def _is_root(selector: str) -> bool:
    return re.fullmatch(r"(?::root)?(?::not\(\[data-theme[^)]*\]\)|\[data-theme=\w+\])?", selector) is not None


def _all_declarations(rules: list[Rule]) -> Iterator[str]:
    for rule in rules:
        yield from rule.declarations
        yield from _all_declarations(rule.rules or [])


def set_by_us(site: str) -> set[str]:
    """The variables that ``site.css`` sets for each theme."""
    heads = (rule for rule in read(re.sub(r"/\*.*?\*/", "", site, flags=re.DOTALL)) if _THEMES in rule.head)
    found = {one.partition(":")[0].strip() for rule in heads for one in rule.declarations}
    if not found:
        message = f"site.css has no rule for {_THEMES}"
        raise ValueError(message)
    return found


def trimmed(source: str, own: str, site: str) -> str:
    """Pico for pages of ours. `own` is all styles and scripts of ours, which may read its variables."""
    licence = re.search(r"/\*!.*?\*/", source, re.DOTALL)
    if licence is None:
        message = "Pico has no licence at its head"
        raise ValueError(message)
    rules = list(_selected(read(source.replace(licence[0], ""))))
    rules = list(_without(rules, set_by_us(site), everywhere=False))
    while True:
        said = ";".join(_all_declarations([one for one in rules if not one.head.startswith(_KEYFRAMES)]))
        rules = [one for one in rules if not one.head.startswith(_KEYFRAMES) or one.head.split()[1] in said]
        said = ";".join(_all_declarations(rules))
        unread = set(_SET.findall(said)) - set(_READ.findall(said + own))
        if not unread:
            break
        rules = list(_without(rules, unread, everywhere=True))
    head = licence[0].replace(" */", " * Without what no page of Ansambl's console has, by tools/trim_pico.py\n */")
    return f"{head}{''.join(map(str, rules))}\n"


def make() -> str:
    """The style sheet as it is now to be."""
    ours = [one for one in sorted(STATIC.rglob("*")) if one.suffix in (".css", ".js") and one.parent.name != "vendor"]
    own = "".join(one.read_text(encoding="utf-8") for one in ours)
    return trimmed(SOURCE.read_text(encoding="utf-8"), own, (STATIC / "site.css").read_text(encoding="utf-8"))


def main() -> int:
    """Write, or compare."""
    made = make()
    if "--check" in sys.argv[1:]:
        if MADE.read_text(encoding="utf-8") == made:
            return 0
        print(f"{MADE.relative_to(ROOT)} is not what tools/trim_pico.py writes; run it", file=sys.stderr)
        return 1
    MADE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
