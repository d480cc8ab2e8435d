"""Collects every sentence that people read, keeps its translations, and compiles them.

Sentences are the literals in ``text("…")`` and ``speak("…")``, and what shipped roles are for. After changing one:

    python tools/locales.py             collect and compile
    python tools/locales.py --missing   list what has no translation yet
    python tools/locales.py --check     fail when a file is stale or a translation is missing or has other gaps
"""

from __future__ import annotations

import argparse
import ast
import io
import string
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment
from jinja2.ext import extract_from_ast

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "ansambl"
FOLDER = SOURCE / "locales"
ROLES = SOURCE / "roles" / "data" / "roles.toml"
LANGUAGES = ("ru",)
MARKERS = {"text", "speak"}


class ReproducibleCatalog(Catalog):
    """A catalog whose header has no dates, names or versions of tools, so that equal sentences give equal files."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        """The header lines."""
        return [
            ("Project-Id-Version", "ansambl"),
            ("Language", str(self.locale_identifier or "en")),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
        ]


def literals(node: ast.expr) -> Iterator[str]:
    """The sentences that an argument can be: one literal, or the literals of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def collect(folder: Path = SOURCE) -> dict[str, list[str]]:
    """Every marked sentence with the files that it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS and node.args:
                for sentence in literals(node.args[0]):
                    places = found.setdefault(sentence, [])
                    if name not in places:
                        places.append(name)
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        for sentence in template_sentences(path):
            places = found.setdefault(sentence, [])
            if name not in places:
                places.append(name)
    for sentence in shipped_descriptions():
        found.setdefault(sentence, []).append(ROLES.relative_to(ROOT).as_posix())
    return {sentence: places for sentence, places in found.items() if has_words(sentence)}


def template_sentences(path: Path) -> Iterator[str]:
    """What a template says: the literals of its ``speak("…")``.

    Raises:
        SystemExit: it says something that is no literal, and so could not be translated.
    """
    parsed = Environment(autoescape=True).parse(path.read_text(encoding="utf-8"))
    for line, _, found in extract_from_ast(parsed, ("speak",)):
        if not isinstance(found, str):
            raise SystemExit(f"{path.name}:{line}: speak takes one literal sentence")
        yield found


def shipped_descriptions() -> Iterator[str]:
    """What the shipped roles and ensembles are for: data, and read by people all the same."""
    tables = tomllib.loads(ROLES.read_text(encoding="utf-8"))
    for table in (tables["roles"], tables["ensembles"]):
        yield from (one["description"] for one in table.values())


def has_words(sentence: str) -> bool:
    """Whether anything is left to translate beside the gaps."""
    try:
        return any(any(one.isalpha() for one in plain) for plain, _, _, _ in string.Formatter().parse(sentence))
    except ValueError:
        return True


def gaps(sentence: str) -> set[str]:
    """The names of the gaps in a sentence; a sentence that is no template has none."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}
    except ValueError:
        return set()


def make_catalog(sentences: dict[str, list[str]], language: str | None, translations: dict[str, str]) -> Catalog:
    """A catalog of all sentences with the translations that are known."""
    catalog = ReproducibleCatalog(locale=language, fuzzy=False)
    catalog.header_comment = "# Sentences of Ansambl, collected by tools/locales.py."
    for sentence in sorted(sentences):
        places = [(place, 0) for place in sentences[sentence]]
        flags: tuple[str, ...] = ("python-brace-format",) if gaps(sentence) else ()
        catalog.add(sentence, translations.get(sentence, ""), locations=places, flags=flags)
        # Babel marks what looks like a template of the % operator; ours never are.
        catalog.get(sentence).flags.discard("python-format")
    return catalog


def as_po(catalog: Catalog) -> bytes:
    """The text form of a catalog."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=110, include_lineno=False)
    return buffer.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    """The compiled form of a catalog."""
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def read_translations(path: Path) -> dict[str, str]:
    """What was translated so far."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        known: Any = read_po(file)
        return {str(one.id): str(one.string) for one in known if one.id and one.string}


def main() -> int:
    """Collect, compile, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is stale or missing")
    parser.add_argument("--missing", action="store_true", help="print the sentences without a translation")
    chosen = parser.parse_args()
    sentences = collect()
    wanted: dict[Path, bytes] = {FOLDER / "ansambl.pot": as_po(make_catalog(sentences, None, {}))}
    problems: list[str] = []
    for language in LANGUAGES:
        file = FOLDER / language / "LC_MESSAGES" / "ansambl.po"
        translations = read_translations(file)
        catalog = make_catalog(sentences, language, translations)
        wanted[file] = as_po(catalog)
        wanted[file.with_suffix(".mo")] = as_mo(catalog)
        missing = [one for one in sorted(sentences) if one not in translations]
        if chosen.missing:
            print("\n".join(f"{language}: {one!r}" for one in missing))
        problems += [f"{language}: no translation of {one!r}" for one in missing]
        problems += [
            f"{language}: other gaps in the translation of {one!r}: {translations[one]!r}"
            for one in sorted(sentences)
            if one in translations and gaps(one) != gaps(translations[one])
        ]
    if chosen.check:
        stale = [path for path, content in wanted.items() if not path.exists() or path.read_bytes() != content]
        problems += [f"{path.relative_to(ROOT)} is stale; run: make locales" for path in stale]
        print("\n".join(problems))
        return 1 if problems else 0
    if not chosen.missing:
        for path, content in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        print(f"{len(sentences)} sentences; {len(problems)} to translate or mend (tools/locales.py --missing)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
