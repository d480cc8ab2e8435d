"""``ansambl`` whose engines to install are tiny ones: real installations by the real pip, without a network.

Run as a program, with the arguments of ``ansambl``; `TINY_ENGINES` names a folder for their packages. "Transformers" is
whole in seconds, "llama.cpp" hangs when it is tried until `go` is in that folder.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from engine_packages import tiny, write_wheel

from ansambl.app import engine_book
from ansambl.cli.main import run
from ansambl.engines.install.records import Lock

if __name__ == "__main__":
    folder = Path(os.environ["TINY_ENGINES"])
    packages = folder / "packages"
    for name in [one for one in os.environ if one.startswith("PIP_")]:
        del os.environ[name]
    os.environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages)}
    made, lock = tiny(folder, packages), Lock(str(folder / "locks" / "tiny"))
    # What an environment is known by as Transformers.
    with Path(f"{lock.name}.txt").open("a", encoding="utf-8") as file:
        for name in ("transformers", "torch", "accelerate"):
            digest = write_wheel(packages, name, "5.19.0", {f"{name}.py": b""})
            file.write(f"{name}==5.19.0 \\\n    --hash=sha256:{digest}\n")
    whole = replace(made, engine="transformers", title="Transformers", locks=(lock,))
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(folder / 'go')!r}).exists(): time.sleep(0.1)\n"
    hanging = replace(whole, engine="llama.cpp", title="llama.cpp", check=waits)
    builds = (replace(whole, build="cuda", variant="cuda99"), whole, hanging)
    engine_book.known_builds = lambda: builds
    run()
