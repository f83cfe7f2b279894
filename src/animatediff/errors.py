"""Errors for users: one class per exit code; every message is one sentence."""


class InputError(ValueError):
    """A value, option or name that cannot be used (exit code 2)."""

    exit_code = 2


class FileError(ValueError):
    """A file that is broken or of the wrong kind (exit code 3)."""

    exit_code = 3


class MemoryLimitError(RuntimeError):
    """The request needs more memory than there is (exit code 4)."""

    exit_code = 4


class OutputError(OSError):
    """The result cannot be written (exit code 5)."""

    exit_code = 5


class NumericalError(ArithmeticError):
    """NaN or infinity in the result (exit code 6)."""

    exit_code = 6


class PeerLost(RuntimeError):
    """Another process of the same training run ended (exit code 7)."""

    exit_code = 7


class Cancelled(Exception):
    """The user stopped the work between two steps (exit code 130)."""

    exit_code = 130


class Interrupted(Exception):
    """The system asked the process to end (SIGTERM) after the work was saved (exit code 143)."""

    exit_code = 143


def reason_of(error: OSError) -> str:
    """Return the system's reason for a file error, in a form that fits into a sentence."""
    return (error.strerror or str(error)).lower()
