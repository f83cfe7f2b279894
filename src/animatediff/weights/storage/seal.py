"""The hash of a file's tensors, which its metadata tell (ModelSpec 1.0.1) and any change breaks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

SEAL = "modelspec.hash_sha256"
"""The key of the hash in a file's metadata."""


def seal_of(weights: Mapping[str, Tensor]) -> str:
    """The hash of names and numbers, as metadata write it."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"0x{digest.hexdigest()}"


def resealed(metadata: Mapping[str, str], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The metadata of changed tensors: a seal, where there is one, is theirs."""
    return {**metadata, **({SEAL: seal_of(weights)} if SEAL in metadata else {})}
