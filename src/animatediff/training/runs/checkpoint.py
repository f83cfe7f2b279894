"""Checkpoints: complete or absent, hashed, never a pickle.

A checkpoint is a folder ``step-00001234`` of safetensors and JSON files. Its ``MANIFEST.json``,
with the size and SHA-256 of every other file, is written last, and the folder gets its name by one
rename. Reading takes the newest folder whose manifest verifies, and reports skipped ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from animatediff.errors import OutputError

MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to continue as if it had never stopped."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write a checkpoint, then delete all but the newest ``keep``.

    Raises:
        OutputError: the disk is full or the folder cannot be written; earlier checkpoints are
            intact.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    temporary = folder / f".{final.name}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".step-*.tmp"):
            shutil.rmtree(stale)
        temporary.mkdir()
        for name, tensors in checkpoint.tensors.items():
            save_file(
                {k: v.contiguous() for k, v in tensors.items()}, temporary / f"{name}.safetensors"
            )
        _write_json(temporary / "state.json", {"step": checkpoint.step, **checkpoint.state})
        _write_json(temporary / MANIFEST, {p.name: _seal(p) for p in sorted(temporary.iterdir())})
        for path in temporary.iterdir():
            _sync(path)
        if final.exists():
            shutil.rmtree(final)
        temporary.replace(final)
        _sync(folder)
    except (OSError, SafetensorError) as error:  # the library has its own error for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"The checkpoint {final} could not be written ({reason}); free some space "
            "or choose another folder, then run the same command to resume."
        ) from error
    # Anything newer was damaged, or this run would have resumed from there.
    others = sorted(folder.glob("step-*"))
    newest = others.index(final) + 1
    for old in (*others[: max(0, newest - keep)], *others[newest:]):
        shutil.rmtree(old)
    return final


def load_checkpoint(
    folder: Path, *, tell: Callable[[str], None] | None = None
) -> Checkpoint | None:
    """Return the newest complete checkpoint, or nothing if there is none.

    Args:
        folder: the run's.
        tell: called with a sentence for every damaged checkpoint that is skipped.
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        if _is_whole(path):
            state = json.loads((path / "state.json").read_text())
            tensors = {p.stem: load_file(p) for p in sorted(path.glob("*.safetensors"))}
            return Checkpoint(state.pop("step"), tensors, state)
        if tell is not None:
            tell(f"{path} is damaged and was skipped")
    return None


def _is_whole(path: Path) -> bool:
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        sealed = {*manifest, MANIFEST} == {p.name for p in path.iterdir()}
        return sealed and all(_seal(path / name) == seal for name, seal in manifest.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _seal(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
