"""What the start made is left out of later collections; in a process of its own, since it holds for all of one."""

import subprocess
import sys

PROGRAM = """
import gc
from ansambl.foundation import collector

class Node:
    pass

before, kept = gc.get_threshold(), [Node() for _ in range(1000)]
collector.settle()
assert gc.get_freeze_count() >= 1000, gc.get_freeze_count()
assert gc.get_threshold()[0] > before[0]
# What comes later and holds itself is still found.
one, two = Node(), Node()
one.other, two.other = two, one
del one, two
assert gc.collect() >= 2
"""


def test_what_exists_is_left_alone_and_what_comes_is_collected():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
