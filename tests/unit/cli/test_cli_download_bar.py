"""The bars of several downloads: one for all, one for each file that is on its way."""

import io
from contextlib import closing

from rich.console import Console

from ansambl.cli.progress import DownloadBar
from ansambl.foundation.locales import speak


def shown(*, terminal):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, color_system=None)
    with closing(DownloadBar(console)) as bar:
        bar.file("own/name/folder/model-00001-of-00002.safetensors", 10, 100)
        bar.show(10, 200)
        bar.file("own/name/[b]odd[/b].gguf", 5, 100)
        bar.show(15, 200)
        bar.file("own/name/[b]odd[/b].gguf", 100, 100)
        running = [] if bar._progress is None else [task.description for task in bar._progress.tasks]
    return output.getvalue(), running


def test_a_file_has_a_line_until_it_is_whole():
    output, running = shown(terminal=True)
    assert len(running) == 2
    assert running[0].endswith("model-00001-of-00002.safetensors")
    assert "\x1b[?25h" in output, "the cursor is back"


def test_where_there_is_no_terminal_nothing_is_shown():
    assert shown(terminal=False) == ("", [])


def test_amounts_are_written_in_the_language_of_the_command(monkeypatch):
    assert "15 B / 200 B" in shown(terminal=True)[0]
    monkeypatch.setattr(speak, "language", "ru")
    output = shown(terminal=True)[0].replace("\N{NO-BREAK SPACE}", " ")
    assert "15 Б / 200 Б" in output
    assert " B" not in output
