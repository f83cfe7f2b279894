"""What a failure is to a user: one sentence on the error stream and one documented exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Mapping

TRACEBACK_VARIABLE = "ANIMATEDIFF_TRACEBACK"

EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "an unexpected error: a mistake of ours",
    2: "an option, a value or a name that cannot be used",
    3: "a file that is broken, or is not what was asked for",
    4: "not enough memory",
    5: "a result that cannot be written",
    6: "numbers that stopped being numbers (NaN or infinity)",
    7: "another process of the same run is gone",
    130: "stopped by the user (Ctrl-C)",
    143: "stopped by the system (SIGTERM), after saving",
}

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def report(error: BaseException) -> int:
    """Print what went wrong in one sentence, and return the exit code.

    Set ``ANIMATEDIFF_TRACEBACK=1`` to see the traceback as well.
    """
    if os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0"):
        traceback.print_exception(error)
    code, sentence = explain(error)
    # Written as bytes that any terminal can take: a prompt may hold what its encoding lacks.
    encoding = sys.stderr.encoding or "utf-8"
    safe = sentence.encode(encoding, "backslashreplace").decode(encoding)
    print(f"animatediff: {safe}", file=sys.stderr)
    return code


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code and the sentence for an exception."""
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        return code, _one_line(str(error)) or EXIT_CODES[code]
    if isinstance(error, KeyboardInterrupt):
        return 130, "Stopped; nothing was written."
    if _is_out_of_memory(error):
        return 4, "There is not enough memory; ask for fewer frames or a smaller size."
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        place = f" {error.filename}" if error.filename else " the result"
        return 5, f"Cannot write{place}: {error.strerror}."
    what = _one_line(str(error))
    return 1, (
        f"An unexpected {type(error).__name__}{f' ({what})' if what else ''}; run again with "
        f"{TRACEBACK_VARIABLE}=1 for the traceback, and please report it."
    )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")  # if torch never came in, it cannot have run out
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # On a CPU torch raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("can't allocate memory", "not enough memory")
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 500 else f"{line[:497]}..."
