"""All formats that documents are read in, one line each, and how a content's format is found."""

from __future__ import annotations

from ansambl.domain.text import text
from ansambl.knowledge.reading.charsets import looks_binary
from ansambl.knowledge.reading.content import Content, Format, UnreadableError
from ansambl.knowledge.reading.formats import (
    archives,
    code,
    csv_tables,
    data_files,
    docx,
    epub,
    html_pages,
    images,
    mail,
    markdown,
    notebook,
    old_office,
    pdf,
    plain,
    pptx,
    rtf,
    xlsx,
    xml_documents,
)

FORMATS: tuple[Format, ...] = (
    pdf.FORMAT,
    docx.FORMAT,
    pptx.FORMAT,
    xlsx.FORMAT,
    epub.FORMAT,
    xml_documents.OPEN_DOCUMENT,
    xml_documents.BOOK,
    archives.ZIP,
    archives.TAR,
    archives.PACKED,
    archives.OTHERS,
    old_office.FORMAT,
    images.FORMAT,
    rtf.FORMAT,
    mail.MESSAGE,
    mail.MAILBOX,
    html_pages.FORMAT,
    markdown.FORMAT,
    notebook.FORMAT,
    csv_tables.FORMAT,
    code.FORMAT,
    data_files.FORMAT,
    plain.FORMAT,
)
"""Those that are recognised by their bytes are asked in this order."""

_BY_SUFFIX = {suffix: one for one in FORMATS for suffix in one.suffixes}
_BY_MEDIA_TYPE = {media_type: one for one in FORMATS for media_type in one.media_types}


def format_of(content: Content) -> Format:
    """The format of a content: by its bytes, else by its suffix, its media type, or how its text begins.

    Raises:
        UnreadableError: none that is known.
    """
    if not content.size:
        raise UnreadableError(text("it is empty"))
    for one in FORMATS:
        if one.recognises(content):
            return one
    named = _BY_SUFFIX.get(content.suffix)
    if looks_binary(content.head):
        raise _binary(content, named)
    media_type = content.media_type.partition(";")[0].strip().lower()
    if named is None or named.binary or named is plain.FORMAT:
        # What is called a PDF and is text is not a PDF; many a page is saved under such a name.
        hinted = next((one for one in FORMATS if one.hints(content)), None)
        named = hinted or _BY_MEDIA_TYPE.get(media_type)
        if named is None or named.binary:
            named = plain.FORMAT
    return named


def _binary(content: Content, named: Format | None) -> UnreadableError:
    if named is not None and named.binary:
        return UnreadableError(
            text("it is called {suffix} but is damaged or something else; open it and save it again",
                 suffix=content.suffix)
        )  # fmt: skip
    if named is not None:
        return UnreadableError(text("it is called {suffix} but is binary, not a text", suffix=content.suffix))
    return UnreadableError(text("it is of a kind that is not read; save it as PDF, DOCX, Markdown or text"))


SUFFIXES = frozenset(_BY_SUFFIX)
"""All suffixes that a format knows."""
