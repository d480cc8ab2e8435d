"""Writes ``docs/reference/plans.md`` and the READMEs' plan from what the commands print; ``--check`` fails when stale.

Each command runs in a pseudo-terminal of 100 columns without colours, in an empty home with nothing configured, so the
page holds what a person sees and nothing of the machine that it was made on.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "plans.md"
COLUMNS, LINES = "100", "60"
PATIENCE = 300.0
"""Seconds for one command; it needs a few."""
FITS, DOES_NOT_FIT = 0, 3
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BIG, _SMALL = "rtx-pro-6000-128g", "rtx-4090-64g"


@dataclass(frozen=True)
class Shown:
    """One command of the page; `exit_code` is what it must end with."""

    title: str
    words: str
    arguments: tuple[str, ...]
    exit_code: int = FITS


def _fit(title: str, words: str, model: str, *more: str, machine: str = _BIG, exit_code: int = FITS) -> Shown:
    return Shown(title, words, ("fit", model, "--machine", machine, *more), exit_code)


SHOWN = (
    Shown(
        "One machine: a 96 GB card and 128 GB of RAM",
        "The recommended option has a star. An option that does not fit says why.",
        ("plan", "--machine", _BIG),
    ),
    Shown(
        "Two machines: a smaller one beside it",
        "The same question with a 24 GB card and 64 GB of RAM added.",
        ("plan", "--machine", _BIG, "--machine", _SMALL),
    ),
    _fit("gpt-oss-120b on 96 GB", "The whole context of 131072 tokens is asked for.", "openai/gpt-oss-120b",
         "--context", "131072"),
    _fit("gpt-oss-120b on 24 GB", "Too large for the card. `n_cpu_moe` under *Settings* says of how many layers the "
         "experts go to RAM.", "openai/gpt-oss-120b", machine=_SMALL),
    _fit("Llama 3.3 70B", "", "Llama-3.3-70B"),
    _fit("Llama 3.3 70B in 16 bits", "It does not fit, and the exit code is 3.", "Llama-3.3-70B", "--quantization",
         "float16", exit_code=DOES_NOT_FIT),
    _fit("Qwen2.5 72B", "", "Qwen2.5-72B"),
    _fit("Yi 34B in 16 bits", "`float16` means the 16 bits that the model has: here bfloat16.", "Yi-34B",
         "--quantization", "float16"),
    _fit("Mixtral 8x7B", "", "Mixtral"),
    _fit("Qwen3 30B A3B", "", "Qwen3-30B-A3B"),
)  # fmt: skip

_INTRODUCTION = """\
# Plans and forecasts, as the commands print them

<!-- Made by tools/plan_pages.py (make docs); change the code, not this page. -->

Nothing here was measured: nobody had these machines at hand. They are some of those that `ansambl machines list` names.
How the figures are worked out, and how far they can be trusted, is in [forecasts](../explanation/forecasts.md);
what to do with them in [plan your machine](../how-to/plan-your-machine.md).
"""


def seen(arguments: tuple[str, ...], language: str, home: Path) -> tuple[str, int]:
    """What a terminal shows of a command, and its exit code.

    Raises:
        TimeoutError: it did not end.
    """
    reading, writing = pty.openpty()
    with subprocess.Popen(
        _argv(arguments, language), cwd=home, env=_environment(home), stdin=subprocess.DEVNULL, stdout=writing,
        stderr=writing,
    ) as process:  # fmt: skip
        os.close(writing)
        # Whatever goes wrong, the command must not stay.
        try:
            written = _read(reading)
            code = process.wait(PATIENCE)
        finally:
            process.kill()
            os.close(reading)
    words = _ESCAPE.sub("", written.decode("utf-8")).replace("\r", "")
    return "\n".join(line.rstrip() for line in words.strip("\n").split("\n")), code


def _read(terminal: int) -> bytes:
    chunks: list[bytes] = []
    while True:
        if not select.select([terminal], [], [], PATIENCE)[0]:
            message = f"a command printed nothing for {PATIENCE:.0f} s"
            raise TimeoutError(message)
        try:
            chunk = os.read(terminal, 65536)
        except OSError as error:
            # Linux says so when the last writer has closed a pseudo-terminal.
            if error.errno != errno.EIO:
                raise
            chunk = b""
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _argv(arguments: tuple[str, ...], language: str) -> list[str]:
    return [sys.executable, "-m", "ansambl", "--lang", language, *arguments]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH", "VIRTUAL_ENV"}}
    return {
        **kept, "HOME": str(home), "ANSAMBL_DATA": str(home / "data"), "COLUMNS": COLUMNS, "LINES": LINES,
        "TERM": "xterm", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip


def shown(one: Shown, home: Path, language: str = "en") -> str:
    """The output of a command of the page.

    Raises:
        SystemExit: it ended otherwise than the page says.
    """
    words, code = seen(one.arguments, language, home)
    if code != one.exit_code:
        message = f"ansambl {' '.join(one.arguments)} ended with {code} instead of {one.exit_code}:\n{words}"
        raise SystemExit(message)
    return words


def page(outputs: dict[Shown, str]) -> str:
    """``docs/reference/plans.md``."""
    parts = [_INTRODUCTION]
    for one in SHOWN:
        words = f"{one.words}\n\n" if one.words else ""
        parts.append(f"\n## {one.title}\n\n{words}```text\n$ ansambl {' '.join(one.arguments)}\n{outputs[one]}\n```\n")
    return "".join(parts)


_HEADERS = {
    "en": ("Option", "What runs, with its expected speed", "recommended"),
    "ru": ("Вариант", "Что работает и с какой ожидаемой скоростью", "рекомендуется"),
}
_SPEED = {"en": "tokens/s", "ru": "токенов/с"}


def excerpt(fit: str, document: dict[str, Any], language: str) -> str:
    """What a README shows: the head of the first forecast, and the options of the first plan as a table."""
    title, content, recommended = _HEADERS[language]
    lines = [
        f"```text\n$ ansambl {' '.join(SHOWN[2].arguments)}", *_head(fit), "```\n",
        f"`ansambl {' '.join(SHOWN[0].arguments)}`:\n", f"| {title} | {content} |", "|---|---|",
    ]  # fmt: skip
    for option in document["options"]:
        mark = f" **({recommended})**" if option["id"] == document["recommended"] else ""
        runs = "; ".join(_placement(one, option["roles"], language) for one in option["placements"])
        lines.append(f"| {option['title']}{mark} | {runs or option['against'][0]['text']} |")
    return "\n".join(lines) + "\n"


def _head(fit: str) -> list[str]:
    """The verdict with context, speed and memory: the first two blocks, without the reasons."""
    return "\n\n".join(fit.split("\n\n")[:2]).split("\n")


def _placement(one: dict[str, Any], roles: dict[str, str], language: str) -> str:
    speed = one["speed"]["decode_tokens_per_second"]
    served = ", ".join(role for role, where in roles.items() if where == one["id"])
    words = f"{one['model'].rpartition('/')[2]} {one['quantization']} ({served})"
    return f"{words}: {speed['expected']:.0f} {_SPEED[language]}" if speed else words


def _document(language: str, home: Path) -> dict[str, Any]:
    argv = _argv((*SHOWN[0].arguments, "--json"), language)
    done = subprocess.run(argv, cwd=home, env=_environment(home), capture_output=True, timeout=PATIENCE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _within(path: Path, words: str) -> str:
    """The file with `words` between its two marks."""
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- plan:begin -->\n")
    _, end, after = rest.partition("<!-- plan:end -->")
    if not begin or not end:
        message = f"{path.name} lacks the marks <!-- plan:begin --> and <!-- plan:end -->"
        raise SystemExit(message)
    return f"{before}{begin}{words}{end}{after}"


def made() -> dict[Path, str]:
    """Every file with what it should hold."""
    # A processor each: one command keeps one busy.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        home = Path(folder)
        outputs = {one: pool.submit(shown, one, home) for one in SHOWN}
        russian = pool.submit(shown, SHOWN[2], home, "ru")
        documents = {language: pool.submit(_document, language, home) for language in _HEADERS}
        english = outputs[SHOWN[2]].result()
        return {
            PAGE: page({one: found.result() for one, found in outputs.items()}),
            **{
                path: _within(path, excerpt(words, documents[language].result(), language))
                for path, words, language in (
                    (ROOT / "README.md", english, "en"), (ROOT / "README.ru.md", russian.result(), "ru"),
                )
            },
        }  # fmt: skip


def main() -> int:
    """Write the files, or compare them."""
    check = "--check" in sys.argv[1:]
    stale = {path: words for path, words in made().items() if not path.is_file() or path.read_text("utf-8") != words}
    for path, words in stale.items():
        if check:
            print(f"{path.relative_to(ROOT)} is stale; run: make docs", file=sys.stderr)
        else:
            path.write_text(words, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
