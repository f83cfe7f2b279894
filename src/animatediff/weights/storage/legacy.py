"""Convert legacy pickles (``.ckpt``, ``.pt``, ``.pth``, ``.bin``) to safetensors without unpickling.

A pickle is a program, and running a stranger's program is how model files do harm. Nothing here
runs one. A confined child process (``legacy_child/``) reads the file as data, from the one
descriptor that was opened here, and returns a table or a safetensors copy.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

from animatediff.errors import FileError, OutputError, reason_of
from animatediff.weights.storage.files import Header, read_header, replace_by

_CHILD = Path(__file__).with_name("legacy_child") / "__main__.py"
_LEAST_SECONDS = 10
_BYTES_A_SECOND = 25_000_000
_MAX_REPORT_BYTES = 64 << 20


def read_legacy_header(path: Path) -> Header:
    """Read the table of tensors in a pickle, as if it were a safetensors header; no values are read.

    Raises:
        FileError: the file is broken, contains no table of tensors, or names a program.
    """
    with _opened(path) as file, tempfile.TemporaryFile() as table:
        _report(path, file, action="header", out=table)
        facts = _json(table, path=path)
    tensors = facts["tensors"]
    return Header(
        path,
        {name: tuple(shape) for name, (_, shape) in tensors.items()},
        facts["texts"],
        {name: dtype for name, (dtype, _) in tensors.items()},
    )


def converted_to_safetensors(path: Path, target: Path) -> Path:
    """Write a safetensors copy of a pickle. The file appears only when it is complete and checked.

    Names, shapes and values stay the same, without the tables that trainers put around them
    (``state_dict`` and the like). Everything else is dropped, except small texts, which become
    metadata. The metadata also contains the SHA-256 of the pickle.

    Returns:
        ``target``.

    Raises:
        FileError: the file is broken, contains no table of tensors, or names a program.
        OutputError: the folder is read-only or full; an existing file is unchanged.
    """
    temporary: Path | None = None
    try:
        with _opened(path) as file:
            try:
                descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            except OSError as error:
                raise _unwritable(target, reason_of(error)) from None
            temporary = Path(name)
            with os.fdopen(descriptor, "wb") as out:
                report = _report(path, file, action="convert", out=out)
        if "unwritable" in report:
            raise _unwritable(target, report["unwritable"])
        read_header(temporary)
        try:
            replace_by(temporary, target)
        except OSError as error:
            raise _unwritable(target, reason_of(error)) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return target


def _unwritable(target: Path, reason: str) -> OutputError:
    return OutputError(f"{target} cannot be written ({reason}); choose another folder.")


@contextlib.contextmanager
def _opened(path: Path) -> Generator[BinaryIO]:
    """Open the file once: the file that is checked is the file that is read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    with file:
        yield file


def _report(
    path: Path, file: BinaryIO, *, action: Literal["header", "convert"], out: IO[bytes]
) -> dict[str, Any]:
    """Run the child on an open file and return its report, if it reports no error."""
    seconds = _LEAST_SECONDS + os.fstat(file.fileno()).st_size // _BYTES_A_SECOND
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_CHILD), action, str(seconds)],
            stdin=file,
            stdout=out,
            stderr=errors,
            env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},
            cwd=tempfile.gettempdir(),
        )
        try:
            code = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise FileError(
                f"Reading {path} was stopped after {seconds} seconds: it does not look like "
                "weights."
            ) from None
        finally:
            child.kill()
            child.wait()
        if code:
            raise FileError(
                f"Reading {path} was stopped: it took more memory or time than weights of its "
                "size need, or the file changed meanwhile."
            )
        report = _json(errors, path=path)
    if "refused" in report:
        raise FileError(f"{path} {report['refused']}.")
    return report


def _json(file: IO[bytes], *, path: Path) -> dict[str, Any]:
    file.seek(0)
    try:
        if os.fstat(file.fileno()).st_size > _MAX_REPORT_BYTES:
            raise ValueError
        return json.loads(file.read())
    except ValueError:
        raise FileError(f"{path} could not be read as a pickle.") from None
