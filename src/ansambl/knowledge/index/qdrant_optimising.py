"""Building the graph of a copy of an index: ``python -m ansambl.knowledge.index.qdrant_optimising FOLDER``.

A process of its own, because the library holds Python's lock all the while (6.8 s for 20,000 passages, measured with
0.9.0): in the index's process no search would be answered.
"""

from __future__ import annotations

import os
import sys

from ansambl.knowledge.index.child import die_with_parent

_NICE = 10
"""Searches go first."""


def main(folder: str) -> None:
    """Optimise the shard in `folder` until nothing is left to do."""
    die_with_parent()
    os.nice(_NICE)
    import qdrant_edge

    shard = qdrant_edge.EdgeShard.load(folder)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)
