"""What the readers of LoRA adapters fail with, said in words that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.text import Text, text
from ansambl.model_catalog.gguf import GgufError
from ansambl.model_catalog.numbers import NonsenseError
from ansambl.model_catalog.safetensors import SafetensorsError


def unusable(path: object, reason: Text | str) -> UsageError:
    """The error about an adapter that is no adapter, or a damaged one."""
    return UsageError(
        text("the LoRA adapter {path} cannot be used: {reason}; give another file, or fetch it again",
             path=str(path), reason=reason)
    )  # fmt: skip


def unsupported(path: object, reason: Text | str) -> NotSupportedError:
    """The error about an adapter that is sound, but of a kind that no engine here loads."""
    return NotSupportedError(
        text("the LoRA adapter {path} is not supported: {reason}; merge it into its model, or give another",
             path=str(path), reason=reason)
    )  # fmt: skip


@contextmanager
def named(path: object) -> Iterator[None]:
    """Turn what the readers of headers or the system raise into an error about the adapter at `path`.

    Raises:
        UsageError: a reader refused the file, or it cannot be read.
    """
    try:
        yield
    except (GgufError, SafetensorsError, NonsenseError) as failure:
        raise unusable(path, str(failure)) from failure
    except OSError as failure:
        raise unusable(
            path, text("it cannot be read ({reason})", reason=failure.strerror or type(failure).__name__)
        ) from failure
