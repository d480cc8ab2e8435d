"""What is sent of scripts and styles means what was written: the same tokens, as another reader of them finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pygments.lexers.css import CssLexer
from pygments.lexers.javascript import JavascriptLexer
from pygments.token import Comment, Whitespace

import ansambl.console
from ansambl.console.shortening import shorten_script, shorten_styles

STATIC = Path(ansambl.console.__file__).parent / "static"
OWN = sorted(one for one in STATIC.rglob("*") if "vendor" not in one.parts and one.suffix in (".js", ".css"))


def tokens(lexer, source):
    found = lexer.get_tokens(source)
    return [
        (kind, text.strip()) for kind, text in found if kind not in Comment and kind not in Whitespace and text.strip()
    ]


def letters(source):
    """Those of a style sheet, without space and semicolons: browsers compare the rules in ``tests/browser``."""
    return "".join(text for _, text in tokens(CssLexer(), source) if text != ";").replace(" ", "")


@pytest.mark.parametrize("path", [one for one in OWN if one.suffix == ".js"], ids=lambda one: one.name)
def test_a_script_keeps_its_tokens(path):
    source = path.read_text(encoding="utf-8")
    short = shorten_script(source)
    assert tokens(JavascriptLexer(), short) == tokens(JavascriptLexer(), source)
    assert len(short) < len(source)
    assert shorten_script(short) == short


@pytest.mark.parametrize(
    "path", [one for one in OWN if one.suffix == ".css"], ids=lambda one: f"{one.parent.name}-{one.name}"
)
def test_a_style_sheet_keeps_its_tokens(path):
    source = path.read_text(encoding="utf-8")
    short = shorten_styles(source)
    assert letters(short) == letters(source)
    assert shorten_styles(short) == short


@pytest.mark.parametrize(
    ("source", "short"),
    [
        ('// b\nconst a = "/* no */ // comment"; // one\nc()', 'const a="/* no */ // comment";\nc()'),
        ("const a = 'it\\'s // here'", "const a='it\\'s // here'"),
        ("const a = `  two  \n  // lines ${ b + `/* ${ {x: 1}.x } */` } c  `",
         "const a=`  two  \n  // lines ${b+`/* ${{x:1}.x} */`} c  `"),
        ("x = y / 2 // half\n/ z", "x=y/2\n/z"),
        ("if (/[/*]\\/[^/]/.test(a)) return / \\/\\/ '/g", "if(/[/*]\\/[^/]/.test(a))return/ \\/\\/ '/g"),
        ("return /* why\n*/ 1", "return\n1"),
        ("a\n(b)\n[c]", "a\n(b)\n[c]"),
        ("a = b + +c - -d + -e", "a=b+ +c- -d+-e"),
        ("a++\n++b", "a++\n++b"),
        ("class A {\n  #x = 1\n  *go() { }\n  async y() { }\n}", "class A{#x=1\n*go(){}\nasync y(){}}"),
        ("for (const x of [1]) { await x; }", "for(const x of[1]){await x;}"),
        ("let a = 1,\n  b = a\n    ? 2\n    : 3;", "let a=1,b=a?2:3;"),
        ("const { a = 1, ...b } = c ?? {}", "const{a=1,...b}=c??{}"),
    ],
)  # fmt: skip
def test_scripts_are_read_token_by_token(source, short):
    assert shorten_script(source) == f"{short}\n"


@pytest.mark.parametrize(
    ("source", "short"),
    [
        ('a::before { content: "/* ; } */  x"; }', 'a::before{content:"/* ; } */  x"}'),
        ("a :hover, b:not(.c) > d { margin: 0 auto; }", "a :hover,b:not(.c) > d{margin:0 auto}"),
        ("/* why */\n@media (min-width: 40em) and (hover) {\n  a { b: calc(1px + 2px); }\n}",
         "@media (min-width:40em) and (hover){a{b:calc(1px + 2px)}}"),
        ("a { background: url(data:image/svg+xml;utf8,x) }", "a{background:url(data:image/svg+xml;utf8,x)}"),
        ("a { grid-area: 1 / 2 / 3; --x: 1px }", "a{grid-area:1 / 2 / 3;--x:1px}"),
    ],
)  # fmt: skip
def test_styles_are_read_token_by_token(source, short):
    assert shorten_styles(source) == f"{short}\n"


@pytest.mark.parametrize("source", ["const a = `no end", "`${ `a` } "])
def test_a_template_without_an_end_is_an_error(source):
    with pytest.raises(ValueError, match="has no end"):
        shorten_script(source)
