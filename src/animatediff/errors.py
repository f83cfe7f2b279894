"""What can go wrong for a user, one class for each exit code, each message one clear sentence."""


class InputError(ValueError):
    """A value, option or name that cannot be used (exit code 2)."""

    exit_code = 2


class FileError(ValueError):
    """A file that is broken or is not what was asked for (exit code 3)."""

    exit_code = 3


class MemoryLimitError(RuntimeError):
    """The request needs more memory than there is (exit code 4)."""

    exit_code = 4


class OutputError(OSError):
    """A result that cannot be written (exit code 5)."""

    exit_code = 5


class NumericalError(ArithmeticError):
    """Numbers that stopped being numbers: NaN or infinity (exit code 6)."""

    exit_code = 6


class PeerLost(RuntimeError):
    """Another process of the same run is gone (exit code 7)."""

    exit_code = 7


class Cancelled(Exception):
    """The user stopped the work between two steps (exit code 130)."""

    exit_code = 130


class Interrupted(Exception):
    """The system asked for an end (SIGTERM); what was done is saved (exit code 143)."""

    exit_code = 143


def reason_of(error: OSError) -> str:
    """What the system says of a file that could not be used, to stand inside a sentence."""
    return (error.strerror or str(error)).lower()
