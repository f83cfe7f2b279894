"""Errors for exhausted memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from animatediff.errors import MemoryLimitError


@contextmanager
def memory_named(what: str) -> Generator[None]:
    """Convert every out-of-memory error to one sentence.

    Raises:
        MemoryLimitError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        out = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not out and "can't allocate memory" not in str(error):
            raise
        raise MemoryLimitError(
            f"{what} needs more memory than there is; ask for fewer frames or a smaller size."
        ) from None
