"""``animatediff evaluate frechet FIRST SECOND``: the Fréchet distance of two sets of features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class FrechetOptions:
    """Print the Fréchet video distance between two sets of features, such as those of I3D.

    The features come from any program, as NumPy files (.npy) with one row for each clip.
    """

    first: Annotated[Positional[Path], arg(metavar="FIRST")]
    """Features of the first set."""
    second: Annotated[Positional[Path], arg(metavar="SECOND")]
    """Features of the second set, by the same network."""


def frechet(options: FrechetOptions) -> None:
    """Print the distance.

    Raises:
        InputError, FileError: see ``errors.py``.
    """
    from animatediff.evaluation.frechet import frechet_distance, read_features

    first, second = read_features(options.first), read_features(options.second)
    distance = frechet_distance(first, second)
    print(f"{distance:.4f} ({len(first)} and {len(second)} clips, {first.shape[1]} features)")
