"""The boxes that Nexus puts into a message for files and artifacts, and the names of what they stand for."""

from __future__ import annotations

import re

_BOX = re.compile(r"^(?:>\s?)*\[!nexus_(attachment|artifact)\][+-]?\s*(?:\*\*(.+?)\*\*)?\s*(.*)$", re.IGNORECASE)
_SIZE = r"(?:\s*\([\w./+-]+\))?(?:\s*-\s*[\d.,]+ \w+)?\s*$"
_NOTE = re.compile(r"^(?:>\s?)*\[!note\][+-]?\s*📎\s*\*\*(?:Missing )?Attachment:\*\*\s*(.+?)" + _SIZE)
_OLD = re.compile(r"^\*\*📎 (?:Missing )?Attachment:\*\*\s*(.+?)" + _SIZE)
_ONLY_LINK = re.compile(r"^(?:>\s?)*(?:🎨\s*)?!?\[\[[^\[\]]*\]\]\s*$")
_ABSENT = re.compile(r"^(?:>\s?)*(?:\*\*Status:\*\*\s*)?⚠️.{0,80}?(?:\[[^\]]*\]\([^)\s]*\))?\.?\s*$")
_EMBED = re.compile(r"!\[\[([^\[\]|]+)(?:\|[^\[\]]*)?\]\]")
_LONGEST = 2000
_QUOTED = re.compile(r"^(?:>\s?)+")


def without_callouts(text: str) -> tuple[str, tuple[str, ...]]:
    """`text` with each box as one short line, and the names of the files in it and of pictures that it shows.

    What stands in a box beside the link to the file (a transcript, its text) stays.
    """
    if "[!" not in text and "📎" not in text and "![[" not in text:
        return text, ()
    names: dict[str, None] = {}
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        box = _BOX.match(line) if len(line) <= _LONGEST else None
        old = None if box or len(line) > _LONGEST else (_NOTE.match(line) or _OLD.match(line))
        if box or old:
            kind = box[1].casefold() if box else "attachment"
            name = ((box[2] or box[3]) if box else old[1] if old else "").strip()
            if kind == "artifact" and box and box[2] and box[3].strip():
                name = f"{name} {box[3].strip()}"
            names.setdefault(name)
            lines.append(f"[{kind}: {name}]")
            inside = True
        elif inside and (_ONLY_LINK.match(line) or _ABSENT.match(line)):
            continue
        elif inside and not line.strip():
            inside = False
            lines.append(line)
        elif inside and not _QUOTED.sub("", line).strip():
            continue
        else:
            lines.append(line)
    joined = "\n".join(lines)
    for found in _EMBED.findall(joined):
        names.setdefault(found.rpartition("/")[2].strip())
    return joined, tuple(one for one in names if one)
