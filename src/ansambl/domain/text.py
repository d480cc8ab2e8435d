"""Sentences that people read, before a language is chosen for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in English with named gaps; the English template is also the key of its translation.

    Deciding code returns texts, faces render them: so a reason can be shown in Russian in the console and in English
    in a log, and pure code needs no locale.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def render(self, translate: Callable[[str], str] | None = None) -> str:
        """Return the sentence, translated by `translate` (English when it is left out)."""
        template = translate(self.template) if translate else self.template
        values = {
            name: value.render(translate) if isinstance(value, Text) else value for name, value in self.values.items()
        }
        return template.format_map(values) if values else template

    def __str__(self) -> str:
        return self.render()


def text(template: str, /, **values: Any) -> Text:
    """Mark a sentence for translation (the collector in ``tools/locales.py`` looks for this name) and fill its gaps."""
    return Text(template, values)
