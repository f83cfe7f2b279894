"""Every file besides weights that a request is made from, and its hash: pictures, videos and masks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.sampling.control.inputs import control_files
from animatediff.sampling.image_prompts.inputs import image_prompt_files
from animatediff.weights.storage.files import sha256_of

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest


def input_files(request: AnimationRequest) -> dict[str, tuple[Path, ...]]:
    """Every file that a request is made from, by its role.

    Raises:
        FileError: one is missing.
    """
    return {**control_files(request), **image_prompt_files(request)}


def input_digests(request: AnimationRequest) -> dict[str, str]:
    """The SHA-256 of every input; of a folder, that of its files' together.

    Raises:
        FileError: one is missing.
    """
    return {role: _digest(paths) for role, paths in input_files(request).items()}


def _digest(paths: tuple[Path, ...]) -> str:
    if len(paths) == 1:
        return sha256_of(paths[0])
    lines = (f"{path.name} {sha256_of(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
