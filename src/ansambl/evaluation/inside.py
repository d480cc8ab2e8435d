"""What runs inside the sandbox: limits first, then an answer's code, then its tests. Needs Python 3.8 alone.

It is passed as text to a Python in `ansambl.evaluation.sandbox`; nothing imports it. Arguments: the descriptor of a
pipe that holds the token, then limits: memory in bytes, CPU seconds, processes, bytes of a file. Standard input is one
JSON object ``{"code": …, "tests": …}``. It ends with the token on standard output only when all tests ran through.

The answer's code and its tests share one process, as tests call functions. The token is read after the tests, from a
descriptor that the code is not told of. Code that was written against this very file could still find it.
"""

import json
import os
import resource
import sys
import traceback

_SHOWN = 300


def _limit(memory: int, cpu: int, processes: int, file_size: int) -> None:
    for name, value in (
        ("RLIMIT_CORE", 0), ("RLIMIT_AS", memory), ("RLIMIT_CPU", cpu), ("RLIMIT_NPROC", processes),
        ("RLIMIT_FSIZE", file_size), ("RLIMIT_NOFILE", 64),
    ):  # fmt: skip
        resource.setrlimit(getattr(resource, name), (value, value))


def _main() -> None:
    token, memory, cpu, processes, file_size = (int(one) for one in sys.argv[1:6])
    read, write, leave = os.read, os.write, os._exit
    job = json.load(sys.stdin)
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    sys.argv[1:] = []
    _limit(memory, cpu, processes, file_size)
    space = {"__name__": "answer", "__builtins__": __builtins__}
    try:
        for part in ("code", "tests"):
            # Running the answer's code is what this file is for; the sandbox around it is the protection.
            exec(compile(job[part], "<%s>" % part, "exec"), space)  # noqa: S102, UP031 - see above
    except BaseException as error:  # noqa: BLE001 - SystemExit too: an answer must not end its own tests
        words = traceback.format_exception_only(type(error), error)[-1].strip()
        write(2, words[:_SHOWN].encode("utf-8", "replace"))
        leave(1)
    write(out, read(token, 64))
    leave(0)


_main()
