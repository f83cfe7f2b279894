"""RAFT as the optical flow of the motion metrics, from the authors' ``raft-things.pth``."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.errors import FileError
from animatediff.evaluation.judges.raft_network import LEAST_SIDE, STRIDE, RaftNetwork
from animatediff.weights.storage.files import is_pickle, read_header, read_weights, sha256_of
from animatediff.weights.storage.legacy import converted_to_safetensors

ITERATIONS = 20
"""As many as VBench takes."""
_PREFIX = "module."
_TWICE = ".norm3."
"""The authors' shortcuts store their norm under two names."""


class Raft:
    """Optical flow by RAFT, for ``FlowBetween``; the file is read at its first use.

    Args:
        path: the authors' checkpoint, as a pickle or as safetensors.
        device: where it runs, in fp32.

    Raises:
        FileError: the file is missing.
    """

    def __init__(self, path: Path, *, device: torch.device | None = None) -> None:
        if not path.is_file():
            raise FileError(f"--raft {path} is not a file; give a RAFT checkpoint.")
        self.path = path
        self.device = device or torch.device("cpu")

    @property
    def name(self) -> str:
        """Name in tables, with the start of the file's hash."""
        return f"RAFT {self.path.name} {sha256_of(self.path)[:12]}"

    @cached_property
    def _network(self) -> RaftNetwork:
        network = RaftNetwork()
        weights = _weights(self.path)
        wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        wrong = [name for name in wanted if found.get(name) != wanted[name]]
        wrong += [name for name in found if name not in wanted]
        if wrong:
            raise FileError(
                f"--raft {self.path} is not a RAFT checkpoint of the larger size ({wrong[0]} is "
                "missing, unknown or has another shape); get raft-things.pth."
            )
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False).to(self.device)

    @torch.inference_mode()
    def __call__(
        self,
        first: UInt8[np.ndarray, "height width 3"],
        second: UInt8[np.ndarray, "height width 3"],
    ) -> Float[np.ndarray, "height width 2"]:
        """Return where each pixel of ``first`` went in ``second``, (x, y) in px.

        Frames are padded at their right and lower edges to sides that RAFT can read.
        """
        height, width = first.shape[:2]
        pictures = [self._padded(frame) for frame in (first, second)]
        flow = self._network(*pictures, iterations=ITERATIONS)[0, :, :height, :width]
        return flow.permute(1, 2, 0).cpu().numpy()

    def _padded(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[Tensor, "1 3 h w"]:
        pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1)[None].float() / 127.5 - 1
        height, width = frame.shape[:2]
        down, right = (max(-side % STRIDE, LEAST_SIDE - side) for side in (height, width))
        return F.pad(pixels, (0, right, 0, down), mode="replicate").to(self.device)


def _weights(path: Path) -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as passing:
        place = path
        if is_pickle(path):
            place = converted_to_safetensors(path, Path(passing) / "raft.safetensors")
        header = read_header(place)
        weights = read_weights(header, dtype=None, device=torch.device("cpu"))
        named = {name.removeprefix(_PREFIX): tensor.clone() for name, tensor in weights.items()}
    return {name: tensor for name, tensor in named.items() if _TWICE not in name}
