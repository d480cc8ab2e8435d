"""Source code: read as it is, with the language that its suffix or its first line names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansambl.domain.knowledge import Form
from ansambl.knowledge.reading.charsets import text_of
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading

_BY_LANGUAGE = {
    "python": "py pyi pyx pyw", "javascript": "js mjs cjs jsx", "typescript": "ts tsx mts cts", "c": "c h",
    "cpp": "cc cpp cxx hpp hh hxx ino cu cuh", "csharp": "cs", "java": "java", "kotlin": "kt kts",
    "scala": "scala sc", "go": "go", "rust": "rs", "ruby": "rb rake gemspec",
    "php": "php", "swift": "swift", "objectivec": "m mm",
    "shell": "sh bash zsh fish ksh", "powershell": "ps1 psm1", "batch": "bat cmd", "perl": "pl pm", "lua": "lua",
    "r": "r", "julia": "jl", "haskell": "hs", "ocaml": "ml mli", "fsharp": "fs fsx", "elixir": "ex exs",
    "erlang": "erl hrl", "clojure": "clj cljs cljc edn", "lisp": "lisp el cl scm rkt", "dart": "dart", "zig": "zig",
    "nim": "nim", "d": "d", "verilog": "v sv svh", "vhdl": "vhd vhdl",
    "fortran": "f f90 f95 f03", "pascal": "pas pp dpr",
    "ada": "adb ads", "assembly": "asm s", "sql": "sql", "graphql": "graphql gql", "protobuf": "proto",
    "css": "css scss sass less", "vue": "vue", "svelte": "svelte", "terraform": "tf hcl", "nix": "nix",
    "cmake": "cmake", "make": "mk", "diff": "diff patch", "groovy": "groovy gradle", "1c": "bsl os",
    "jinja": "j2 jinja", "awk": "awk", "tcl": "tcl", "vim": "vim", "solidity": "sol", "glsl": "glsl wgsl hlsl",
}  # fmt: skip
LANGUAGES = {f".{suffix}": language for language, all_of in _BY_LANGUAGE.items() for suffix in all_of.split()}
"""The programming language of each suffix."""

_INTERPRETER = re.compile(rb"\A#!\s*\S*?/?(?:env\s+(?:-S\s+)?)?(?:\S*/)?([a-z]+)[\d.]*(?:\s|$)")
_BY_INTERPRETER = {
    "sh": "shell", "bash": "shell", "zsh": "shell", "dash": "shell", "python": "python", "node": "javascript",
    "ruby": "ruby", "perl": "perl", "php": "php", "lua": "lua", "awk": "awk", "make": "make",
}  # fmt: skip


def _language(content: Content) -> str:
    if content.suffix in LANGUAGES:
        return LANGUAGES[content.suffix]
    found = _INTERPRETER.match(content.head[:200])
    return _BY_INTERPRETER.get(found[1].decode(), "") if found else ""


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """The code as it is."""
    found = text_of(content, reading.limits)
    language = _language(content)
    yield Draft(found.text, form=Form.CODE, facts={"language": language} if language else {})


FORMAT = Format("code", read, frozenset(LANGUAGES), hints=lambda content: bool(_language(content)))
