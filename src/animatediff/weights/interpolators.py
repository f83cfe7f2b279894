"""Read a user's frame interpolator: RIFE 4.25 or 4.26, or FILM, recognised by their tensors' names."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from animatediff.errors import FileError, reason_of
from animatediff.model.interpolators.film import Film
from animatediff.model.interpolators.rife import SCALES, Rife
from animatediff.weights.upscalers import filled, network_weights, size_of_layer

FILM_MARK = "extract.extract_sublevels.convs.0.0.conv.weight"
RIFE_MARK = "blocks.0.conv0.0.0.weight"
_LEFT_OUT = ("teacher.", "caltime.")
"""Parts of RIFE that only training uses."""
_LEVELS = 4


@dataclass(frozen=True)
class Interpolator:
    """A network that draws frames between two frames.

    Attributes:
        network: called with two frames, ``1 3 h w`` with values from 0 to 1, and a moment between
            0 and 1.
        architecture: ``rife`` or ``film``.
    """

    network: nn.Module
    architecture: str


def read_interpolator(path: Path) -> Interpolator:
    """Read an interpolator; the last one is kept in memory while its file does not change.

    Args:
        path: a safetensors file or a pickle.

    Raises:
        FileError: the file is broken, or is not an interpolator that can be used here.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    return _read(path, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read(path: Path, size: int, time: int) -> Interpolator:
    del size, time  # they identify a version of the file
    try:
        return interpolator_of(network_weights(path))
    except FileError as error:
        raise FileError(f"{path} cannot be used as a frame interpolator: {error}") from None


def interpolator_of(weights: Mapping[str, Tensor]) -> Interpolator:
    """The interpolator that these weights are of, by their names and shapes.

    Raises:
        FileError: they are of no architecture that is known here.
    """
    if FILM_MARK in weights:
        return _film(weights)
    named = {_rife_name(name): value for name, value in weights.items()}
    named = {name: value for name, value in named.items() if not name.startswith(_LEFT_OUT)}
    if RIFE_MARK in named:
        return _rife(named)
    raise FileError("its names are neither those of RIFE 4 nor those of FILM.")


def _rife_name(name: str) -> str:
    """A name without what training put before it, and with the blocks in one list."""
    plain = re.sub(r"^(module\.|flownet\.)+", "", name)
    return re.sub(r"^block(\d)\.", r"blocks.\1.", plain)


def _rife(weights: Mapping[str, Tensor]) -> Interpolator:
    blocks = sorted({int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))})
    head = weights.get("encode.cnn3.weight")
    if blocks != list(range(len(SCALES))) or head is None:
        raise FileError(
            f"it is a RIFE with {len(blocks)} blocks{'' if head is not None else ' and another head'}; "
            "those with five, of version 4.25 and 4.26, are supported."
        )
    widths = tuple(
        size_of_layer(weights, f"blocks.{index}.conv0.1.0.weight", axis=0) for index in blocks
    )
    network = Rife(
        channels=widths,
        head=size_of_layer(weights, "encode.cnn3.weight", axis=0),
        features=size_of_layer(weights, "encode.cnn3.weight", axis=1),
    )
    return Interpolator(filled(network, weights, "RIFE"), "rife")


def _film(weights: Mapping[str, Tensor]) -> Interpolator:
    predictors = [f"predict_flow._predictors.{index}" for index in reversed(range(_LEVELS - 1))]
    predictors.append("predict_flow._predictor")
    widths = tuple(
        size_of_layer(weights, f"{name}._convs.0.conv.weight", axis=0) for name in predictors
    )
    counts = tuple(
        sum(name.startswith(f"{each}._convs.") and name.endswith(".weight") for name in weights) - 2
        for each in predictors
    )
    network = Film(
        width=size_of_layer(weights, FILM_MARK, axis=0), widths=widths, convolutions=counts
    )
    return Interpolator(filled(network, weights, "FILM"), "film")


@torch.inference_mode()
def frame_between(
    interpolator: Interpolator, first: Tensor, second: Tensor, *, moment: float
) -> Tensor:
    """The frame at a moment between two frames, ``1 3 h w``, with values from 0 to 1."""
    return interpolator.network(first, second, moment).clamp(0, 1)
