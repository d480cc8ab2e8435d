"""``ansambl up`` that the admin API does not stop, and whose event streams end at once. Everything else is real.

Run as a program, with the arguments of ``ansambl``; the stops are counted in the file that ``TAME_STOPS`` names.
"""

from __future__ import annotations

import os
from pathlib import Path

from ansambl.api.leaving import EventStream
from ansambl.app.controls import ProductControls
from ansambl.cli.main import run


def _note(_controls: ProductControls) -> None:
    with Path(os.environ["TAME_STOPS"]).open("a", encoding="utf-8") as file:
        file.write("stop\n")


if __name__ == "__main__":
    # Whoever makes requests up reads each answer to its end.
    EventStream.longest = 0.05
    ProductControls.request_stop = _note
    run()
