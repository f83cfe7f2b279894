"""Turn an exception into one sentence for the user and a documented exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping

TRACEBACK_VARIABLE = "ANIMATEDIFF_TRACEBACK"

EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "an unexpected error, which is a bug",
    2: "an option, value or name that cannot be used",
    3: "a file that is broken or of the wrong kind",
    4: "not enough memory",
    5: "the result cannot be written",
    6: "NaN or infinity in the result",
    7: "another process of the same training run ended",
    130: "stopped by the user (Ctrl-C)",
    143: "stopped by the system (SIGTERM) after saving",
}

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def report(error: BaseException) -> int:
    """Print one sentence about an error and return its exit code.

    Set ``ANIMATEDIFF_TRACEBACK=1`` to see the traceback as well.
    """
    if os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(error)
    code, sentence = explain(error)
    # A prompt may contain characters that the terminal's encoding cannot print.
    encoding = sys.stderr.encoding or "utf-8"
    safe = sentence.encode(encoding, "backslashreplace").decode(encoding)
    print(f"animatediff: {safe}", file=sys.stderr)
    return code


def explain(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the sentence for an exception."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code, _one_line(str(error)) or EXIT_CODES[code]
    if isinstance(error, KeyboardInterrupt):
        return 130, "Stopped; nothing was written."
    if _is_out_of_memory(error):
        return 4, "Not enough memory; use fewer frames or a smaller size."
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        place = f" {error.filename}" if error.filename else " the result"
        return 5, f"Cannot write{place}: {error.strerror}."
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 2, f"{error.filename!s:.60}... is longer than a name can be; check the options."
    what = _one_line(str(error))
    return 1, (
        f"An unexpected {type(error).__name__}{f' ({what})' if what else ''}; run again with "
        f"{TRACEBACK_VARIABLE}=1 for the traceback, and please report it."
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # if torch is not imported, it cannot have run out of memory
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory")
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 500 else f"{line[:497]}..."
