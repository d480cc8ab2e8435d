"""An ingest in a process of its own, to be killed: ``python knowledge_ingest.py FOLDER DOCUMENTS CHATS INDEX``.

It takes in a folder and an export with one model of vectors, then embeds anew with another one, and says ``done``. Run
again it comes to the same end wherever it was stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from knowledge_stage import HashedWords, opened

from ansambl.knowledge.index.opening import open_index


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(folder: Path, documents: str, chats: str, index: str) -> None:
    """Take everything in."""
    old, new = HashedWords("old"), HashedWords("new", 16)
    apart = index != "exact"
    _say("begins")
    first = opened(folder, embedder=old, opener=lambda place: open_index(index, place, own_process=apart))
    first.add(documents, "house")
    first.import_chats(chats, "past")
    first.close()
    second = opened(
        folder, embedder=new, embedder_of=lambda _space: old,
        opener=lambda place: open_index(index, place, own_process=apart),
    )  # fmt: skip
    second.embed()
    second.settled(30.0)
    second.close()
    _say("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
