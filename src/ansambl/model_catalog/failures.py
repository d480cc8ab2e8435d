"""What readers of model files fail with, said in words that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansambl.domain.errors import CheckpointError
from ansambl.domain.text import text
from ansambl.model_catalog.gguf import GgufError
from ansambl.model_catalog.numbers import MissingError, NonsenseError
from ansambl.model_catalog.safetensors import SafetensorsError


@contextmanager
def named(path: object) -> Iterator[None]:
    """Turn what a reader or the system raises into an error about the checkpoint at `path` (or what else names it).

    Raises:
        CheckpointError: a reader refused the file, or it cannot be read.
    """
    try:
        yield
    except (GgufError, SafetensorsError, NonsenseError, MissingError) as failure:
        raise CheckpointError(
            text("the checkpoint {path} cannot be used: {reason}; fetch it again, or give another file",
                 path=str(path), reason=str(failure))
        ) from failure  # fmt: skip
    except OSError as failure:
        raise CheckpointError(
            text("the checkpoint {path} cannot be read ({reason}); make it readable", path=str(path),
                 reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
