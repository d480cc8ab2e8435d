import io

from rich.console import Console

from ansambl.cli.progress import StageBar
from ansambl.domain.text import text
from ansambl.engines.install.records import Stage

FETCHING = text("fetching packages")


def test_without_a_terminal_each_stage_is_told_once() -> None:
    out = io.StringIO()
    bar = StageBar(Console(file=out, force_terminal=False))
    for done in range(3):
        bar.show(Stage(FETCHING, done, 3, "packages"))
    bar.show(Stage(text("unpacking packages"), 0, 3, "packages"))
    bar.close()
    assert out.getvalue().splitlines() == ["fetching packages…", "unpacking packages…"]


def test_on_a_terminal_what_a_stage_counts_stands_beside_it() -> None:
    out = io.StringIO()
    bar = StageBar(Console(file=out, force_terminal=True, width=100))
    bar.show(Stage(FETCHING, 2, 7, "packages"))
    bar.show(Stage(text("fetching"), 1 << 20, 1 << 30, "bytes"))
    bar.show(Stage(text("trying the engine")))
    bar.close()
    shown = out.getvalue()
    assert "trying the engine" in shown
    bar.close()
    assert out.getvalue() == shown, "closing twice does nothing"
