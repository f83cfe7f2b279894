"""Fréchet video distance (Unterthiner et al., arXiv 1812.01717) between two sets of given features.

The network whose features are compared (I3D in the paper) is not part of this package: any program may
compute them. A distance is only comparable with others of the same network and the same counts.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from animatediff.errors import FileError, InputError, reason_of

Features = Float[np.ndarray, "clips d"]


def frechet_distance(first: Features, second: Float[np.ndarray, "others e"]) -> float:
    """Return the Fréchet distance of the Gaussians fitted to two sets of features.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). The trace of the root is computed from the
    eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric, so no complex numbers occur.

    Raises:
        InputError: the widths differ, or a set has fewer than two clips.
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise InputError(
            f"Features of shapes {first.shape} and {second.shape} cannot be compared; both need "
            "the shape (clips, width), with the same width."
        )
    if min(len(first), len(second)) < 2:
        raise InputError(
            "A Fréchet distance needs the features of at least two clips on each side."
        )
    a, b = (features.astype(np.float64) for features in (first, second))
    apart = a.mean(axis=0) - b.mean(axis=0)
    cov_a, cov_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    distance = apart @ apart + np.trace(cov_a) + np.trace(cov_b) - 2 * shared
    return max(0.0, float(distance))  # rounding may leave equal sets a little below


def read_features(path: Path) -> Features:
    """Read the features of clips from a NumPy file (``.npy``), one row for each clip.

    Raises:
        FileError: the file is missing, is not NumPy's, or does not have rows of finite numbers.
    """
    try:
        with path.open("rb") as file:
            features = np.load(file, allow_pickle=False)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (ValueError, EOFError, BadZipFile):
        raise FileError(f"{path} is not an array in NumPy's format (.npy).") from None
    is_table = isinstance(features, np.ndarray) and features.ndim == 2
    if not is_table or features.dtype.kind != "f" or not np.isfinite(features).all():
        raise FileError(f"{path} has no table of finite numbers, one row for each clip.")
    return features
