"""Sentences that people read, before a language is chosen for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.domain.figures import in_language


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in English with named gaps; the English template is also the key of its translation.

    Deciding code returns texts, faces render them: so a reason can be shown in Russian in the console and in English
    in a log, and pure code needs no locale.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def render(self, translate: Callable[[str], str] | None = None) -> str:
        """Return the sentence and its figures as `translate` has them (English when it is left out).

        What stands between quotes in the English sentence is repeated to the letter: it is what somebody wrote.
        """
        template = translate(self.template) if translate else self.template
        values = {
            name: _filling(value, translate, quoted=f"'{{{name}}}'" in self.template)
            for name, value in self.values.items()
        }
        return template.format_map(values) if values else template

    def __str__(self) -> str:
        return self.render()


def text(template: str, /, **values: Any) -> Text:
    """Mark a sentence for translation (the collector in ``tools/locales.py`` looks for this name) and fill its gaps."""
    return Text(template, values)


def _filling(value: Any, translate: Callable[[str], str] | None, *, quoted: bool) -> Any:
    if isinstance(value, Text):
        return value.render(translate)
    return in_language(value, translate) if translate and not quoted else value
