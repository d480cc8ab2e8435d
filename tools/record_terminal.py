"""Writes ``docs/assets/terminal.svg``: a terminal recording of a real run of the product on the embedded model.

Ansambl is started on a data folder of its own, the commands below are run in a pseudo-terminal, and what they print is
drawn with the moments at which it was printed (long waits shortened). Nothing in it is written by hand.

    make recording
"""

from __future__ import annotations

import contextlib
import html
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "assets" / "terminal.svg"
COLUMNS = 100
COMMANDS = (
    ("ansambl", "ask", "coder", "Write a Python function that adds two numbers."),
    ("ansambl", "ask", "brief", "What is the capital of France?"),
    ("ansambl", "ask", "council", "Which planet is the largest one?"),
    ("ansambl", "status"),
)
LONGEST_WAIT, TYPING, HOLD = 0.8, 0.9, 6.0
SAME_MOMENT = 0.2
CHARACTER, LINE, MARGIN = 8.43, 19, 18
_ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07")
_STYLES = {"1": "b", "2": "d", "33": "y", "32": "g", "36": "c", "31": "r"}


@dataclass
class Piece:
    """Characters that appeared together: where, when (seconds of the film), and how."""

    line: int
    column: int
    moment: float
    content: str
    style: str


@dataclass
class Film:
    """What the terminal showed so far."""

    pieces: list[Piece] = field(default_factory=list)
    line: int = 0
    column: int = 0
    moment: float = 0.5
    style: str = ""

    def write(self, content: str) -> None:
        """Take output at the film's present moment."""
        position = 0
        for match in _ESCAPE.finditer(content):
            self._characters(content[position : match.start()])
            if match[2] == "m":
                codes = (match[1] or "0").split(";")
                self.style = " ".join(_STYLES[code] for code in codes if code in _STYLES)
            position = match.end()
        self._characters(content[position:])

    def _characters(self, content: str) -> None:
        for part in re.split(r"(\r?\n)", content):
            if part.endswith("\n"):
                self.line, self.column = self.line + 1, 0
                continue
            rest = part.replace("\r", "")
            while rest:
                now, rest = rest[: COLUMNS - self.column], rest[COLUMNS - self.column :]
                self._piece(now)
                self.column += len(now)
                if rest:
                    self.line, self.column = self.line + 1, 0

    def _piece(self, content: str) -> None:
        """Add what appeared; what follows at once in the same style is the same piece."""
        last = self.pieces[-1] if self.pieces else None
        here = (self.line, self.column, self.style)
        joins = last is not None and (last.line, last.column + len(last.content), last.style) == here
        if last is not None and joins and self.moment - last.moment < SAME_MOMENT:
            last.content += content
            return
        self.pieces.append(Piece(self.line, self.column, self.moment, content, self.style))


def record(film: Film, shown: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Run one command in a pseudo-terminal and film it."""
    film.style = "p"
    film.write("$ ")
    film.moment += TYPING
    film.style = "b"
    film.write(f"{shown}\n")
    film.style = ""
    child, descriptor = pty.fork()
    if child == 0:
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - our own program, no shell
    last = time.monotonic()
    while True:
        ready, _, _ = select.select([descriptor], [], [], 120)
        try:
            content = os.read(descriptor, 65536) if ready else b""
        except OSError:
            content = b""
        if not content:
            break
        now = time.monotonic()
        film.moment += min(now - last, LONGEST_WAIT)
        last = now
        film.write(content.decode("utf-8", "replace"))
    os.close(descriptor)
    os.waitpid(child, 0)
    film.write("\n" if film.column == 0 else "\n\n")
    film.moment += TYPING


def render(film: Film) -> str:
    """Draw the film as an SVG that plays by itself; without animation (print, reduced motion) it shows the end."""
    total = film.moment + HOLD
    rows = film.line + 1
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, rows * LINE + 2 * MARGIN + 24
    moments = sorted({round(one.moment, 1) for one in film.pieces})
    rules = []
    for number, moment in enumerate(moments):
        share = 100 * moment / total
        rules.append(f"@keyframes m{number}{{0%,{share:.2f}%{{opacity:0}}{share + 0.01:.2f}%,100%{{opacity:1}}}}")
        rules.append(f".m{number}{{animation:m{number} {total:.1f}s linear infinite}}")
    index = {moment: number for number, moment in enumerate(moments)}
    words = [
        f'<text class="m{index[round(one.moment, 1)]} {one.style}" x="{MARGIN + one.column * CHARACTER:.1f}" '
        f'y="{MARGIN + 24 + (one.line + 1) * LINE - 5}" textLength="{len(one.content) * CHARACTER:.1f}">'
        f"{html.escape(one.content)}</text>"
        for one in film.pieces
    ]
    style = (
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d7dae0;white-space:pre}"
        ".b{font-weight:700}.d{fill:#8b93a1}.p{fill:#7fc88f}.y{fill:#e5c07b}.g{fill:#98c379}.c{fill:#56b6c2}"
        ".r{fill:#e06c75}@media (prefers-reduced-motion:reduce){text{animation:none!important}}" + "".join(rules)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img" '
        f'aria-label="A terminal: ansambl ask with three names, and ansambl status"><style>{style}</style>'
        f'<rect width="100%" height="100%" rx="10" fill="#16181d"/>'
        '<circle cx="22" cy="18" r="5" fill="#e06c75"/><circle cx="40" cy="18" r="5" fill="#e5c07b"/>'
        '<circle cx="58" cy="18" r="5" fill="#98c379"/>' + "".join(words) + "</svg>\n"
    )


def main() -> None:
    """Start the product, film the commands, write the file."""
    program = str(Path(sys.executable).parent / "ansambl")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"ANSAMBL_DATA": folder, "ANSAMBL_LANG": "en", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
        environment = {**os.environ, **settings}
        with subprocess.Popen([program, "up"], env=environment, stdout=subprocess.PIPE, text=True) as up:
            try:
                for line in up.stdout or ():
                    if "Ctrl-C" in line:
                        break
                film = Film()
                for command in COMMANDS:
                    shown = " ".join(f'"{one}"' if " " in one else one for one in command)
                    record(film, shown, [program, *command[1:]], environment)
            finally:
                up.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    up.wait(40)
    TARGET.write_text(render(film), encoding="utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(film.pieces)} pieces, {film.moment:.0f} s")


if __name__ == "__main__":
    main()
