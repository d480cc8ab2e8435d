"""Word documents: by mammoth to HTML, which knows headings, lists, tables and footnotes, and from there to Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, missing, too_much_text
from ansambl.knowledge.reading.markup import page_of
from ansambl.knowledge.reading.office import has_members, properties_of
from ansambl.knowledge.reading.zip_files import checked_zip

_ARROW = re.compile(r"[ ]?↑$", re.MULTILINE)
_STYLES = """
p[style-name='Заголовок 1'] => h1:fresh
p[style-name='Заголовок 2'] => h2:fresh
p[style-name='Заголовок 3'] => h3:fresh
p[style-name='Заголовок 4'] => h4:fresh
p[style-name='Название'] => h1:fresh
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => h2:fresh
"""


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One document. Images are left out but for their descriptions."""
    try:
        import mammoth
    except ImportError:
        raise missing("mammoth") from None
    with checked_zip(content, reading.limits) as archive:
        archive.check_xml()
        properties = properties_of(archive)
    with content.open() as stream:
        made = mammoth.convert_to_html(
            stream, style_map=_STYLES, convert_image=mammoth.images.img_element(lambda _: {"src": ""})
        )
    # mammoth puts an arrow back to the text behind each footnote.
    made_text = _ARROW.sub("", page_of(made.value).text)
    if len(made_text) > reading.limits.max_text:
        raise too_much_text(reading.limits.max_text)
    yield Draft(
        made_text, title=properties.title, time=properties.time,
        authors=(properties.author,) if properties.author else (),
    )  # fmt: skip


FORMAT = Format(
    "docx", read, frozenset((".docx", ".docm", ".dotx")), binary=True,
    recognises=lambda content: has_members(content, "word/document.xml"),
)  # fmt: skip
