"""``python -m ansambl`` is the same program as ``ansambl``."""

from ansambl.cli.main import run

if __name__ == "__main__":
    run()
