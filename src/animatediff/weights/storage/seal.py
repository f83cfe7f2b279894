"""A hash of a file's tensors, stored in its metadata (ModelSpec 1.0.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

SEAL = "modelspec.hash_sha256"
"""The metadata key of the hash."""


def seal_of(weights: Mapping[str, Tensor]) -> str:
    """Return the hash of names and values, as metadata write it."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"0x{digest.hexdigest()}"


def resealed(metadata: Mapping[str, str], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return metadata for changed tensors: if there was a hash, it is updated."""
    return {**metadata, **({SEAL: seal_of(weights)} if SEAL in metadata else {})}
