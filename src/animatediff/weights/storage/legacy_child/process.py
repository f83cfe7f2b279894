"""The child process: limits itself, reads the file once, and reports in one line."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

from animatediff.weights.storage.legacy_child.containers import open_pickle
from animatediff.weights.storage.legacy_child.copies import CHUNK, header_of, write_tensors
from animatediff.weights.storage.legacy_child.described import Refused, shown
from animatediff.weights.storage.legacy_child.tables import find_tensors

SPARE_MEMORY = 1 << 30
SPARE_OUTPUT = 64 << 20


def confine(size: int, *, seconds: int) -> None:
    """Limit this process to what a file of that size can need, before reading any of it."""
    try:
        import resource
    except ImportError:  # Windows: the parent process watches the time
        return
    limits = {
        "RLIMIT_AS": 2 * size + SPARE_MEMORY,
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": 2 * size + 2 * SPARE_OUTPUT,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 16,
        "RLIMIT_NPROC": 0,
    }
    for name, value in limits.items():
        which = getattr(resource, name, None)
        if which is not None:
            _, hard = resource.getrlimit(which)
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (least, least))


def run(action: str, file: BinaryIO, out: BinaryIO) -> dict[str, Any]:
    """Read the file, write the requested output, and return the report."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise Refused("is empty; get the file again")
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed when the process ends
    opened = open_pickle(file, data)
    found = find_tensors(opened.root)
    limit = 2 * size + SPARE_OUTPUT
    texts = {"format": "pt", **found.texts}
    header, names = header_of(found, texts=texts, limit=limit)
    if action == "header":
        for storage in {tensor.storage for tensor in found.tensors.values()}:
            opened.place(storage)  # checks that the values are there
        table = {name: [t.dtype, list(t.shape)] for name, t in found.tensors.items()}
        report = {"tensors": table, "texts": found.texts}
        out.write(json.dumps(report).encode())
    else:
        digest = hashlib.sha256()
        for begin in range(0, size, CHUNK):
            digest.update(data[begin : begin + CHUNK])
        texts |= {"converted_from": "pickle", "source_sha256": digest.hexdigest()}
        header, names = header_of(found, texts=texts, limit=limit)
        out.write(header)
        write_tensors(found, names, opened, data, out)
    out.flush()
    return {"dropped": [shown(name) for name in found.dropped[:20]], "drops": len(found.dropped)}


def main(arguments: Sequence[str]) -> int:
    """Run the process; the report is the only line on standard error."""
    action, seconds = arguments
    file, out = sys.stdin.buffer, sys.stdout.buffer
    report: dict[str, Any]
    try:
        confine(os.fstat(file.fileno()).st_size, seconds=int(seconds))
        report = run(action, file, out)
    except Refused as refusal:
        report = {"refused": str(refusal)}
    except MemoryError:
        report = {"refused": "needs more memory than its size can explain"}
    except RecursionError:
        report = {"refused": "nests its entries deeper than any weights"}
    except OSError as error:
        report = {"unwritable": error.strerror or str(error)}
    sys.stderr.write(json.dumps(report))
    return 0
